/**
 * `weir cluster drain`: empties a broker that is to be taken away, while clients go on.
 *
 *     drain 2              others lead what it leads, and are preferred from now on: it can be stopped
 *     drain 2 --reassign   others hold what it holds, some partitions at a time: it can be taken away for good
 *
 * It speaks Kafka's protocol only (AlterPartitionReassignments, ElectLeaders), so that it works with any Kafka. What
 * has begun goes on in the cluster when the command is interrupted; to run it again does what is left.
 */

import type { Command } from "commander";
import { ErrorCode } from "../../protocol/errors.ts";
import { formatTopicPartition, type TopicPartition } from "../../protocol/types.ts";
import { Calls } from "../client/calls.ts";
import { alterConfigs, ResourceType } from "../client/config_client.ts";
import { type KafkaClient, KafkaError, throwOnError } from "../client/kafka_client.ts";
import { describeQuorum } from "../client/quorum.ts";
import { nodeId } from "./cluster_quorum.ts";
import { type CommandContext, globalOptions, wholeNumber, withClient } from "./command.ts";
import {
  type DrainInput,
  type DrainMove,
  type DrainPartition,
  planLeaderDrain,
  planReplicaDrain,
} from "./drain_plan.ts";
import { CliError } from "./io.ts";
import { columnsOf, plural, printRows } from "./output.ts";

const TIMEOUT_MS = 30_000;
/** Partitions whose leader changes in one request. */
const LEADERS_AT_ONCE = 500;
/** Partitions that are copied to other brokers at the same time. */
const DEFAULT_MOVES_AT_ONCE = 20;
const TOPICS_AT_ONCE = 200;
const POLL_MS = 500;
/** Time between two lines that say how far it is. */
const TELL_MS = 5_000;
const PREFERRED = 0;
/** Sentences for partitions that are in the way. */
const MAX_TOLD = 5;

interface DrainOptions {
  readonly reassign?: boolean;
  readonly dryRun?: boolean;
  readonly atOnce: number;
}

/** What there was to do, and what is left. */
interface Drained {
  readonly node: number;
  readonly moved: number;
  readonly leads: number;
  readonly replicas: number;
  readonly votes: boolean;
}

/** Adds the command. */
export function addClusterDrainCommand(cluster: Command, context: CommandContext): void {
  cluster.command("drain").argument("<node>", "its node.id", nodeId)
    .description("let others lead all that a broker leads, so that it can be stopped")
    .option(
      "--reassign",
      "let others hold all that it holds, so that it can be taken away for good",
    )
    .option(
      "--at-once <count>",
      "with --reassign: partitions that are copied at the same time",
      wholeNumber("--at-once", 1),
      DEFAULT_MOVES_AT_ONCE,
    )
    .option("--dry-run", "print what would be moved where, and move nothing")
    .action(async (node: number, options: DrainOptions, command: Command) => {
      const globals = globalOptions(command);
      await withClient(context, globals, `Cannot drain broker ${node}`, async (client) => {
        const moves = await plan(client, node, options);
        if (options.dryRun) return await printMoves(context, moves, globals.json);
        if (options.reassign) await cordon(client, context, node);
        if (options.reassign) await reassign(client, context, moves, options.atOnce);
        else await moveLeaders(client, context, node, moves);
        const drained = await look(client, node, moves.length);
        if (globals.json) await context.io.write(`${JSON.stringify(drained)}\n`);
        else context.io.writeError(tell(drained, options));
      });
    });
}

async function plan(
  client: KafkaClient,
  node: number,
  { reassign }: DrainOptions,
): Promise<readonly DrainMove[]> {
  const { brokers, partitions } = await readCluster(client);
  const held = partitions.filter(({ replicas }) => replicas.includes(node));
  const takesPart = brokers.some(({ id }) => id === node);
  if (!takesPart && held.length === 0) throw new CliError("there is no such broker");
  if (!takesPart && !reassign) {
    throw new CliError(
      "it does not run, or is fenced, and leads nothing; --reassign gives to others what it holds",
    );
  }
  await refuseWhileMoving(client, node, held);
  const minInsyncReplicas = await readMinInsyncReplicas(
    client,
    [...new Set(held.map(({ topic }) => topic))],
  );
  const cordoned = reassign ? await readCordoned(client, brokers) : new Set();
  const input: DrainInput = {
    node,
    brokers: brokers.filter(({ id }) => id === node || !cordoned.has(id)),
    partitions,
    minInsyncReplicas: (topic) => minInsyncReplicas.get(topic) ?? 1,
  };
  const { moves, problems } = reassign ? planReplicaDrain(input) : planLeaderDrain(input);
  if (problems.length === 0) return moves;
  const advice = reassign
    ? "add a broker, take back the cordon of one, or delete topics"
    : "wait until the other replicas are in sync, or use --reassign";
  throw new CliError(`${listed(problems)}; ${advice}`);
}

function listed(sentences: readonly string[]): string {
  const more = sentences.length - MAX_TOLD;
  const told = sentences.slice(0, MAX_TOLD).join("; ");
  return more > 0 ? `${told}; and ${more} more` : told;
}

async function readCluster(client: KafkaClient) {
  const { brokers, topics } = await client.retry(() => client.metadata(null));
  const partitions: DrainPartition[] = topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionIndex, leaderId, replicaNodes, isrNodes }) => ({
      topic: name ?? "",
      partition: partitionIndex,
      leader: leaderId,
      replicas: replicaNodes,
      isr: isrNodes,
    }))
  );
  return { brokers: brokers.map(({ nodeId: id, rack }) => ({ id, rack })), partitions };
}

/** Brokers that are to get no new partitions: others may be drained at the same time. */
async function readCordoned(
  client: KafkaClient,
  brokers: DrainInput["brokers"],
): Promise<Set<number>> {
  const cordoned = new Set<number>();
  for (const { id } of brokers) {
    const { results } = await client.retry(async () =>
      await (await client.broker(id)).request(Calls.describeLogDirs, { topics: [] })
    );
    if (results.length > 0 && results.every(({ isCordoned }) => isCordoned)) cordoned.add(id);
  }
  return cordoned;
}

/** Errors: CliError when partitions of the broker are on their way already. */
async function refuseWhileMoving(
  client: KafkaClient,
  node: number,
  held: readonly DrainPartition[],
): Promise<void> {
  const mine = namesOf(held);
  const moving = (await readMoving(client)).filter((name) => mine.has(name));
  if (moving.length === 0) return;
  throw new CliError(
    `partitions of broker ${node} are being moved already (${
      listed(moving)
    }); wait until that is done`,
  );
}

function namesOf(partitions: readonly TopicPartition[]): Set<string> {
  return new Set(partitions.map(({ topic, partition }) => formatTopicPartition(topic, partition)));
}

/** Partitions whose reassignment is under way, as topic-partition. */
async function readMoving(client: KafkaClient): Promise<string[]> {
  const { errorCode, errorMessage, topics } = await client.ask(Calls.listPartitionReassignments, {
    timeoutMs: TIMEOUT_MS,
    topics: null,
  });
  throwOnError(errorCode, errorMessage);
  return topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionIndex }) => formatTopicPartition(name, partitionIndex))
  );
}

async function readMinInsyncReplicas(
  client: KafkaClient,
  topics: readonly string[],
): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (let at = 0; at < topics.length; at += TOPICS_AT_ONCE) {
    const { results } = await client.ask(Calls.describeConfigs, {
      resources: topics.slice(at, at + TOPICS_AT_ONCE).map((resourceName) => ({
        resourceType: ResourceType.topic,
        resourceName,
        configurationKeys: ["min.insync.replicas"],
      })),
      includeSynonyms: false,
      includeDocumentation: false,
    });
    for (const { resourceName, configs } of results) {
      const value = configs[0]?.value;
      if (value !== undefined && value !== null) found.set(resourceName, Number(value));
    }
  }
  return found;
}

async function printMoves(
  { io }: CommandContext,
  moves: readonly DrainMove[],
  json: boolean,
): Promise<void> {
  await printRows(io, {
    json,
    columns: columnsOf("topic", "partition", "before", "replicas"),
    rows: moves.map((move) => ({ ...move })),
    empty: "There is nothing to move.",
  });
}

/** Keeps new partitions off the broker, if it knows how (KIP-1066). */
async function cordon(client: KafkaClient, { io }: CommandContext, node: number): Promise<void> {
  try {
    await alterConfigs(client, ResourceType.broker, String(node), {
      set: [["cordoned.log.dirs", "*"]],
      remove: [],
    });
  } catch (error) {
    if (!(error instanceof KafkaError)) throw error;
    io.writeError(
      `New partitions may be placed on broker ${node} meanwhile: it cannot be cordoned (${error.message}).\n`,
    );
  }
}

async function moveLeaders(
  client: KafkaClient,
  context: CommandContext,
  node: number,
  moves: readonly DrainMove[],
): Promise<void> {
  for (let at = 0; at < moves.length; at += LEADERS_AT_ONCE) {
    const part = moves.slice(at, at + LEADERS_AT_ONCE);
    await alter(client, part);
    const answer = await client.ask(Calls.electLeaders, {
      electionType: PREFERRED,
      topicPartitions: byTopic(part).map(([topic, ofTopic]) => (
        { topic, partitions: ofTopic.map(({ partition }) => partition) }
      )),
      timeoutMs: TIMEOUT_MS,
    });
    throwOnError(answer.errorCode);
  }
  const isLed = async () => {
    const { partitions } = await readCluster(client);
    return partitions.filter(({ leader }) => leader === node).length;
  };
  await progress(client, context, isLed, (left) => `${plural(left, "partition")} still led there`);
}

async function reassign(
  client: KafkaClient,
  context: CommandContext,
  moves: readonly DrainMove[],
  atOnce: number,
): Promise<void> {
  for (let at = 0; at < moves.length; at += atOnce) {
    const part = moves.slice(at, at + atOnce);
    await alter(client, part);
    const mine = namesOf(part);
    const left = async () => (await readMoving(client)).filter((name) => mine.has(name)).length;
    await progress(client, context, left, (count) => (
      `${at + part.length - count} of ${plural(moves.length, "partition")} moved`
    ));
  }
}

/** Errors: KafkaError for the first partition that is refused. */
async function alter(client: KafkaClient, moves: readonly DrainMove[]): Promise<void> {
  const answer = await client.ask(Calls.alterPartitionReassignments, {
    timeoutMs: TIMEOUT_MS,
    topics: byTopic(moves).map(([name, ofTopic]) => ({
      name,
      partitions: ofTopic.map(({ partition, replicas }) => (
        { partitionIndex: partition, replicas: [...replicas] }
      )),
    })),
  });
  throwOnError(answer.errorCode, answer.errorMessage);
  for (const { partitions } of answer.responses) {
    for (const { errorCode, errorMessage } of partitions) throwOnError(errorCode, errorMessage);
  }
}

function byTopic(moves: readonly DrainMove[]): [string, DrainMove[]][] {
  return [...Map.groupBy(moves, ({ topic }) => topic)];
}

/** Waits until nothing is left, and says now and then how far it is. */
async function progress(
  client: KafkaClient,
  { io }: CommandContext,
  countLeft: () => Promise<number>,
  text: (left: number) => string,
): Promise<void> {
  let toldMs = io.clock.monotonicMs();
  for (;;) {
    const left = await countLeft();
    if (left === 0) return;
    if (client.interrupted.aborted) {
      throw new CliError(`interrupted, ${text(left)}; the cluster goes on with what has begun`);
    }
    if (io.clock.monotonicMs() - toldMs >= TELL_MS) {
      toldMs = io.clock.monotonicMs();
      io.writeError(`${text(left)}\n`);
    }
    await client.clock.sleep(POLL_MS, client.interrupted);
  }
}

async function look(client: KafkaClient, node: number, moved: number): Promise<Drained> {
  const { partitions } = await readCluster(client);
  return {
    node,
    moved,
    leads: partitions.filter(({ leader }) => leader === node).length,
    replicas: partitions.filter(({ replicas }) => replicas.includes(node)).length,
    votes: await hasVote(client, node),
  };
}

async function hasVote(client: KafkaClient, node: number): Promise<boolean> {
  try {
    const { replicas } = await describeQuorum(client);
    return replicas.some((replica) => replica.node === node && replica.status !== "observer");
  } catch (error) {
    // A cluster that tells nothing of its quorum has been drained all the same.
    if (error instanceof KafkaError && error.code === ErrorCode.UNSUPPORTED_VERSION) return false;
    throw error;
  }
}

function tell({ node, moved, leads, replicas, votes }: Drained, options: DrainOptions): string {
  const lines = options.reassign
    ? [
      `Broker ${node} holds ${replicas === 0 ? "nothing" : plural(replicas, "replica")}: ${
        plural(moved, "partition")
      } moved.`,
      replicas > 0
        ? "Some were placed there meanwhile: run this again."
        : "It can be stopped for good; new partitions are kept off it (cordoned.log.dirs=*; " +
          `"weir config set broker ${node} --delete cordoned.log.dirs" takes that back).`,
    ]
    : [
      `Broker ${node} leads ${leads === 0 ? "nothing" : plural(leads, "partition")}: ` +
      `${plural(moved, "partition")} moved.`,
      replicas > 0
        ? `It can be stopped for a while: others have the ${
          plural(replicas, "replica")
        } that it holds. ` +
          "--reassign moves these, too."
        : "It holds nothing, and can be stopped.",
    ];
  if (votes) {
    lines.push(
      `It is a controller with a vote: "weir cluster remove-controller ${node}" before it goes for good.`,
    );
  }
  return `${lines.join("\n")}\n`;
}
