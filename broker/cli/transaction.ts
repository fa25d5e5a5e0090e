/** `weir transaction list|describe|abort`. */

import type { Command } from "commander";
import { ErrorCode } from "../../protocol/errors.ts";
import { Calls } from "../client/calls.ts";
import { type KafkaClient, KafkaError, throwOnError } from "../client/kafka_client.ts";
import {
  type CommandContext,
  gathered,
  globalOptions,
  parseDuration,
  wholeNumber,
  withClient,
} from "./command.ts";
import { CliError } from "./io.ts";
import { columnsOf, plural, printRows } from "./output.ts";

/** As in Kafka's tool: the marker ends whatever this producer has open there. */
const TRANSACTION_VERSION = 0;

interface ListOptions {
  readonly state?: readonly string[];
  readonly longerThan?: number;
}

interface AbortOptions {
  readonly producerId: number;
}

/** Adds the command with its subcommands. */
export function addTransactionCommand(program: Command, context: CommandContext): void {
  const transaction = program.command("transaction").description(
    "look at transactions, and end those that hang",
  );
  addList(transaction, context);
  addDescribe(transaction, context);
  addAbort(transaction, context);
}

/** Asks every broker: each knows the transactional ids that it coordinates. */
async function askAll<T>(
  client: KafkaClient,
  ask: (connection: Awaited<ReturnType<KafkaClient["broker"]>>, nodeId: number) => Promise<T>,
): Promise<T[]> {
  const { brokers } = await client.retry(() => client.metadata([]));
  return await Promise.all(
    brokers.map(({ nodeId }) =>
      client.retry(async () => await ask(await client.broker(nodeId), nodeId))
    ),
  );
}

function addList(parent: Command, context: CommandContext): void {
  parent.command("list").description("list the transactional ids")
    .option("--state <state>", "only those in this state; may be given again", gathered, [])
    .option(
      "--longer-than <duration>",
      "only those whose transaction began longer ago, such as 10m",
      parseDuration,
    )
    .action(async ({ state = [], longerThan }: ListOptions, command: Command) => {
      const globals = globalOptions(command);
      await withClient(context, globals, "Cannot list transactions", async (client) => {
        const answers = await askAll(client, async (connection, nodeId) => {
          const answer = await connection.request(Calls.listTransactions, {
            stateFilters: state,
            producerIdFilters: [],
            ...(longerThan !== undefined && { durationFilter: longerThan }),
          });
          throwOnError(answer.errorCode);
          const [unknown] = answer.unknownStateFilters;
          if (unknown !== undefined) throw new CliError(`"${unknown}" is not a state`);
          return answer.transactionStates.map((
            { transactionalId, producerId, transactionState },
          ) => (
            { transactionalId, coordinator: nodeId, producerId, state: transactionState }
          ));
        });
        await printRows(context.io, {
          json: globals.json,
          columns: columnsOf("transactionalId", "coordinator", "producerId", "state"),
          rows: answers.flat().sort((a, b) => (a.transactionalId < b.transactionalId ? -1 : 1)),
          empty: "There are no transactional ids.",
        });
      });
    });
}

function addDescribe(parent: Command, context: CommandContext): void {
  parent.command("describe").argument("<ids...>", "transactional ids")
    .description("show the producer, the state and the partitions of transactions")
    .action(async (ids: string[], _options: unknown, command: Command) => {
      const globals = globalOptions(command);
      const what = `Cannot describe ${ids.join(", ")}`;
      await withClient(context, globals, what, async (client) => {
        const found = await describe(client, ids);
        for (const id of ids) {
          const one = found.get(id);
          if (one === undefined) throw new CliError(`there is no transactional id ${id}`);
          if (globals.json) {
            await context.io.write(`${JSON.stringify(one)}\n`);
            continue;
          }
          const partitions = one.topics.map(({ topic, partitions: numbers }) =>
            `  ${topic}: ${numbers.join(", ")}\n`
          );
          await context.io.write(
            `Transactional id ${id}, ${one.state}, on broker ${one.coordinator}\n` +
              `  producer ${one.producerId}, epoch ${one.producerEpoch}, times out after ${one.timeoutMs} ms\n` +
              (one.startedAt === null ? "" : `  began ${one.startedAt}\n`) + partitions.join(""),
          );
        }
      });
    });
}

/** What the coordinators say of these ids; those that nobody knows are left out. */
async function describe(client: KafkaClient, ids: readonly string[]) {
  const answers = await askAll(client, async (connection, coordinator) => {
    const { transactionStates } = await connection.request(Calls.describeTransactions, {
      transactionalIds: [...ids],
    });
    return transactionStates.flatMap(({ errorCode, ...state }) => {
      const isElsewhere = errorCode === ErrorCode.NOT_COORDINATOR ||
        errorCode === ErrorCode.TRANSACTIONAL_ID_NOT_FOUND;
      if (isElsewhere) return [];
      throwOnError(errorCode);
      return [{
        transactionalId: state.transactionalId,
        coordinator,
        state: state.transactionState,
        producerId: state.producerId,
        producerEpoch: state.producerEpoch,
        timeoutMs: state.transactionTimeoutMs,
        startedAt: state.transactionStartTimeMs < 0
          ? null
          : new Date(state.transactionStartTimeMs).toISOString(),
        topics: state.topics.map(({ topic, partitions }) => ({ topic, partitions })),
      }];
    });
  });
  return new Map(answers.flat().map((one) => [one.transactionalId, one]));
}

function addAbort(parent: Command, context: CommandContext): void {
  parent.command("abort").argument("<topic>", "name of the topic")
    .argument("<partition>", "number of the partition", wholeNumber("partition", 0))
    .requiredOption(
      "--producer-id <id>",
      "the producer whose transaction hangs there",
      wholeNumber("--producer-id", 0),
    )
    .description("end a transaction in one partition that no coordinator knows of any more")
    .action(
      async (
        topic: string,
        partition: number,
        { producerId }: AbortOptions,
        command: Command,
      ) => {
        const globals = globalOptions(command);
        const what =
          `Cannot abort the transaction of producer ${producerId} in ${topic}-${partition}`;
        await withClient(context, globals, what, async (client) => {
          const offset = await abort(client, { topic, partition, producerId });
          context.io.writeError(
            `Aborted the transaction of producer ${producerId} that began at offset ${offset}.\n`,
          );
        });
      },
    );
}

/** Writes the marker. Returns: where the transaction began. */
async function abort(
  client: KafkaClient,
  { topic, partition, producerId }: {
    readonly topic: string;
    readonly partition: number;
    readonly producerId: number;
  },
): Promise<number> {
  return await client.retry(async () => {
    const leaders = await client.leaders(topic);
    const leader = leaders.find((one) => one.partition === partition);
    if (leader === undefined) {
      throw new CliError(`it has ${plural(leaders.length, "partition")}`);
    }
    if (leader.leaderId < 0) throw new KafkaError(ErrorCode.LEADER_NOT_AVAILABLE);
    const connection = await client.broker(leader.leaderId);
    const asked = { topics: [{ name: topic, partitionIndexes: [partition] }] };
    const described = await connection.request(Calls.describeProducers, asked);
    const { errorCode, errorMessage, activeProducers } = described.topics[0]!.partitions[0]!;
    throwOnError(errorCode, errorMessage);
    const producer = activeProducers.find((one) => one.producerId === producerId);
    if (producer === undefined || producer.currentTxnStartOffset < 0) {
      throw new CliError("it has none open there");
    }
    const { markers } = await connection.request(Calls.writeTxnMarkers, {
      markers: [{
        producerId,
        producerEpoch: producer.producerEpoch,
        transactionResult: false,
        ...asked,
        coordinatorEpoch: Math.max(producer.coordinatorEpoch, 0),
        transactionVersion: TRANSACTION_VERSION,
      }],
    });
    throwOnError(markers[0]!.topics[0]!.partitions[0]!.errorCode);
    return producer.currentTxnStartOffset;
  });
}
