/** `weir consume TOPIC`: records to standard output. */

import type { Command } from "commander";
import type { TopicPartition } from "../../protocol/types.ts";
import { Consumer, type Polled } from "../client/consumer.ts";
import { GroupMember, type GroupOffset } from "../client/group_member.ts";
import type { KafkaClient } from "../client/kafka_client.ts";
import { listOffsets, type Place, resolvePlace, SpecialTimestamp } from "../client/offsets.ts";
import {
  type CommandContext,
  globalOptions,
  oneOf,
  readPlace,
  wholeNumber,
  withClient,
} from "./command.ts";
import { CliError, type CliIo } from "./io.ts";
import { type RecordPrinter, recordPrinter } from "./output_formats.ts";

const COMMIT_EVERY_MS = 5000;
const LEAVE_TIMEOUT_MS = 2000;
const ISOLATIONS = ["read_uncommitted", "read_committed"] as const;

interface ConsumeOptions {
  readonly from: Place;
  readonly group?: string;
  readonly count?: number;
  readonly follow?: boolean;
  readonly partition: readonly number[];
  readonly format: string;
  readonly separator: string;
  readonly isolation: (typeof ISOLATIONS)[number];
}

/** Adds the command. */
export function addConsumeCommand(program: Command, context: CommandContext): void {
  program.command("consume").argument("<topic>", "topic to read")
    .description("write the records of a topic to standard output")
    .option(
      "--from <place>",
      "beginning (the default), end, an offset (-10: the last ten of each partition), an ISO 8601 time " +
        "or -1h: an hour ago",
      (text) => readPlace("--from", text),
      { kind: "beginning" },
    )
    .option("-g, --group <id>", "read as a member of a group: go on at its commits, and commit")
    .option("-n, --count <count>", "stop after so many records", wholeNumber("--count", 0))
    .option("--follow", "wait for more at the end instead of stopping there")
    .option(
      "-p, --partition <number>",
      "read this partition only; repeatable",
      (text: string, before: readonly number[]) => [
        ...before,
        wholeNumber("--partition", 0)(text),
      ],
      [],
    )
    .option("-f, --format <format>", "value, json, or a template (below)", "value")
    .option("--separator <text>", "what is printed after each record", "\\n")
    .option(
      "--isolation <level>",
      ISOLATIONS.join(" or "),
      oneOf("--isolation", ISOLATIONS),
      ISOLATIONS[0],
    )
    .addHelpText("after", HELP)
    .action(async (topic: string, options: ConsumeOptions, command: Command) => {
      const globals = globalOptions(command);
      const print = recordPrinter(globals.json ? "json" : options.format, options.separator);
      await withClient(context, globals, `Cannot consume ${topic}`, async (client) => {
        const reading = new Reading(context.io, client, topic, options, print);
        await (options.group === undefined ? reading.alone() : reading.inGroup(options.group));
      });
    });
}

const HELP = `
Without --follow it reads up to the end that each partition has when it starts, and stops.
With --group, --from counts for partitions without a commit; offsets are committed once the records are written.

Formats:
  value      the value and a line feed, so that a text file that was produced comes back byte for byte
  json       one object a line: {"topic", "partition", "offset", "timestamp", "key", "value", "headers"};
             bytes that are no UTF-8 are in keyBase64 and valueBase64. --json is the same.
  template   %k key, %v value, %t topic, %T timestamp (ms), %p partition, %o offset, %h headers, %% percent;
             escapes: \\n \\t \\r \\0. Null prints as nothing.

Examples:
  weir consume logs > app.log
  weir consume orders --from 2026-01-31T12:00:00Z --format '%T %k %v'
  weir consume orders --group billing --follow --json`;

/** One run of the command. */
class Reading {
  readonly #io: CliIo;
  readonly #client: KafkaClient;
  readonly #topic: string;
  readonly #options: ConsumeOptions;
  readonly #print: RecordPrinter;
  readonly #consumer: Consumer;
  /** Offsets at which a partition is done; none with --follow. */
  #ends = new Map<number, number>();
  /** Next offsets, of what has been written. */
  readonly #written = new Map<number, number>();
  #left: number;

  constructor(
    io: CliIo,
    client: KafkaClient,
    topic: string,
    options: ConsumeOptions,
    print: RecordPrinter,
  ) {
    this.#io = io;
    this.#client = client;
    this.#topic = topic;
    this.#options = options;
    this.#print = print;
    this.#left = options.count ?? Infinity;
    this.#consumer = new Consumer(client, {
      readCommitted: options.isolation === "read_committed",
      onReset: (name, partition, from, to) =>
        io.writeError(
          `Partition ${partition} of ${name} no longer has offset ${from}; going on at ${to}.\n`,
        ),
    });
  }

  /** Without a group: every partition, or those that were named. */
  async alone(): Promise<void> {
    const known = (await this.#client.leaders(this.#topic)).map(({ partition }) => partition);
    const unknown = this.#options.partition.find((partition) => !known.includes(partition));
    if (unknown !== undefined) {
      throw new CliError(
        `partition ${unknown} does not exist; the topic has 0 to ${known.length - 1}`,
      );
    }
    const wanted = this.#options.partition.length > 0 ? this.#options.partition : known;
    const positions = await resolvePlace(this.#client, this.#topic, wanted, this.#options.from);
    await this.#begin(wanted, positions);
    while (!this.#isFinished(wanted)) await this.#step();
  }

  /** As a member of a group, which says what to read. */
  async inGroup(groupId: string): Promise<void> {
    if (this.#options.partition.length > 0) {
      throw new CliError("the group decides on partitions; leave --partition or --group out");
    }
    await this.#client.leaders(this.#topic);
    const member = new GroupMember(this.#client, { groupId, topic: this.#topic });
    try {
      await this.#runInGroup(member);
    } finally {
      // A coordinator that is gone must not keep the command from ending.
      const left = new AbortController();
      await Promise.race([
        member.leave().catch(() => undefined),
        this.#client.clock.sleep(LEAVE_TIMEOUT_MS, left.signal),
      ]);
      left.abort();
    }
  }

  async #runInGroup(member: GroupMember): Promise<void> {
    let wanted: number[] = [];
    let committedAtMs = this.#client.clock.monotonicMs();
    for (;;) {
      if (member.mustRejoin) {
        await this.#commit(member);
        const assigned = await this.#unlessInterrupted(member.join());
        if (assigned === null) return;
        wanted = assigned.map(({ partition }) => partition);
        this.#written.clear();
        await this.#begin(wanted, await this.#groupPositions(member, assigned));
      }
      if (this.#isFinished(wanted)) break;
      if (wanted.length === 0) await this.#client.clock.sleep(100, this.#io.interrupted);
      else await this.#step();
      if (this.#client.clock.monotonicMs() - committedAtMs >= COMMIT_EVERY_MS) {
        await this.#commit(member);
        committedAtMs = this.#client.clock.monotonicMs();
      }
    }
    await this.#commit(member);
  }

  async #groupPositions(
    member: GroupMember,
    assigned: readonly TopicPartition[],
  ): Promise<Map<number, number>> {
    if (assigned.length === 0) return new Map();
    const positions = new Map<number, number>();
    for (const { partition, offset } of await member.committed(assigned)) {
      if (offset >= 0) positions.set(partition, offset);
    }
    const fresh = assigned.map(({ partition }) => partition).filter((it) => !positions.has(it));
    if (fresh.length === 0) return positions;
    const found = await resolvePlace(this.#client, this.#topic, fresh, this.#options.from);
    for (const [partition, offset] of found) positions.set(partition, offset);
    return positions;
  }

  async #commit(member: GroupMember): Promise<void> {
    const offsets: GroupOffset[] = [...this.#written].map(([partition, offset]) => ({
      topic: this.#topic,
      partition,
      offset,
    }));
    await member.commit(offsets);
    this.#written.clear();
  }

  async #begin(
    partitions: readonly number[],
    positions: ReadonlyMap<number, number>,
  ): Promise<void> {
    this.#ends.clear();
    if (!this.#options.follow && partitions.length > 0) {
      const readCommitted = this.#options.isolation === "read_committed";
      const { latest } = SpecialTimestamp;
      const ends = await listOffsets(this.#client, this.#topic, partitions, latest, {
        readCommitted,
      });
      for (const [partition, { offset }] of ends) this.#ends.set(partition, offset);
    }
    const assigned = partitions.map((partition) => {
      const position = positions.get(partition)!;
      const end = this.#ends.get(partition) ?? Infinity;
      if (position > end) {
        throw new CliError(`offset ${position} is past the end of partition ${partition}, ${end}`);
      }
      return { topic: this.#topic, partition, position };
    });
    this.#consumer.assign(assigned);
    for (const { partition } of assigned) this.#finishWhenDone(partition);
  }

  #finishWhenDone(partition: number): void {
    const end = this.#ends.get(partition);
    if (end !== undefined && this.#consumer.position(this.#topic, partition) >= end) {
      this.#consumer.finish(this.#topic, partition);
    }
  }

  #isFinished(partitions: readonly number[]): boolean {
    if (this.#left <= 0 || this.#io.interrupted.aborted) return true;
    if (this.#options.follow) return false;
    return partitions.every((partition) =>
      this.#consumer.position(this.#topic, partition) >= (this.#ends.get(partition) ?? Infinity)
    );
  }

  async #unlessInterrupted<T>(work: Promise<T>): Promise<T | null> {
    const { interrupted } = this.#io;
    if (interrupted.aborted) return null;
    let stop: () => void = () => undefined;
    const stopped = new Promise<null>((resolve) => stop = () => resolve(null));
    interrupted.addEventListener("abort", stop, { once: true });
    try {
      work.catch(() => undefined);
      return await Promise.race([work, stopped]);
    } finally {
      interrupted.removeEventListener("abort", stop);
    }
  }

  async #step(): Promise<void> {
    const polled = await this.#unlessInterrupted(this.#consumer.poll());
    for (const part of polled ?? []) await this.#write(part);
  }

  async #write({ partition, records, nextOffset }: Polled): Promise<void> {
    const end = this.#ends.get(partition) ?? Infinity;
    const pieces: Uint8Array[] = [];
    const origin = { topic: this.#topic, partition };
    let writtenUpTo = Math.min(nextOffset, end);
    for (const record of records) {
      if (record.offset >= end) break;
      if (this.#left <= 0) {
        writtenUpTo = record.offset;
        break;
      }
      this.#left--;
      for (const piece of this.#print(record, origin)) pieces.push(piece);
    }
    if (pieces.length > 0) await this.#io.write(Buffer.concat(pieces));
    this.#written.set(partition, writtenUpTo);
    this.#finishWhenDone(partition);
  }
}
