/**
 * How long a coordinator takes until it answers for every partition of `__consumer_offsets`, over a lot of records.
 *
 * The segments are written as files, in the form that commits leave them in: a batch for each commit, and now and then
 * the record of a classic group. A first start recovers them, as those of a crash, and stops cleanly; the starts that
 * are timed have nothing to recover, and only load. What a group answers is compared with the last that was written.
 */

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { encodeGroupMetadata, encodeOffsetCommit } from "../../broker/groups/group_records.ts";
import { partitionForKey } from "../../broker/coordination/led_shards.ts";
import { type KeyValue, recordsOf } from "../../broker/coordination/coordinator_records.ts";
import { patchAsLeader, readLastOffset } from "../../protocol/record_batch.ts";
import { buildBatch } from "../../protocol/records.ts";
import { leaderEpoch, offset, timestampMs, type Uuid } from "../../protocol/types.ts";
import { segmentPath } from "../../storage/segment_name.ts";
import { type RunningBroker, scratchDirectory, startWeir } from "../compat/harness.ts";
import {
  cpuSecondsOf,
  loadAverage,
  longestHoldMs,
  metricsOf,
  peakResidentBytes,
} from "./broker_figures.ts";
import {
  createBenchTopic,
  groupName,
  groupsApart,
  OFFSETS_PARTITIONS,
  whenCoordinated,
} from "./groups_bench_setup.ts";

const TOPIC = "orders";
/** One commit in so many is followed by the record of its group. */
const GROUP_RECORD_EVERY = 100;
const WRITE_BYTES = 1024 * 1024;

/** How much, and with what. */
export interface LoadBenchOptions {
  readonly megabytes: number;
  readonly groups: number;
  /** Offsets in one commit, and partitions that each group reads. */
  readonly partitions: number;
  readonly runs: number;
  /** Brokers that are timed in turns, over the same records; this one's sources where none is given. */
  readonly commands?: readonly (readonly string[])[];
  readonly dataDirectory?: string;
}

/** One start. */
export interface LoadFigures {
  /** From the start of the process until every coordinator answers. */
  readonly loadedMs: number;
  readonly listeningMs: number;
  readonly peakResidentBytes: number;
  readonly cpuSeconds: number;
  /** The longest that the event loop was held, as a bound of the histogram. */
  readonly longestHoldMs: number;
}

function start(dataDirectory: string, command?: readonly string[]): Promise<RunningBroker> {
  return startWeir({ dataDirectory, ...(command !== undefined && { command }) });
}

/** Commits of one partition of `__consumer_offsets`, group after group, over and over. */
class SegmentWriter {
  readonly groups: number[] = [];
  readonly #directory: string;
  readonly #topicId: Uuid;
  readonly #partitions: number;
  #baseOffset = 0;
  #commits = 0;

  constructor(directory: string, topicId: Uuid, partitions: number) {
    this.#directory = directory;
    this.#topicId = topicId;
    this.#partitions = partitions;
  }

  /** Writes so many bytes. Returns: how many records they hold. */
  async write(bytes: number): Promise<number> {
    const file = Bun.file(segmentPath(this.#directory, 0, ".log")).writer({
      highWaterMark: WRITE_BYTES,
    });
    for (let written = 0; written < bytes;) {
      const batch = this.#next();
      await file.write(batch);
      written += batch.length;
    }
    await file.end();
    return this.#baseOffset;
  }

  /** The offset of a group's first partition that was committed last; −1 for none. */
  lastOffsetOf(group: number): number {
    const round = Math.floor((this.#commits - 1 - this.groups.indexOf(group)) / this.groups.length);
    return round < 0 ? -1 : round * this.groups.length + this.groups.indexOf(group);
  }

  #next(): Uint8Array {
    const commit = this.#commits++;
    const groupId = groupName(this.groups[commit % this.groups.length]!);
    const now = 1_800_000_000_000 + commit;
    const records: KeyValue[] = Array.from({ length: this.#partitions }, (_, partition) => (
      encodeOffsetCommit(groupId, TOPIC, partition, {
        offset: offset(commit),
        leaderEpoch: leaderEpoch(0),
        metadata: "",
        commitTimestampMs: timestampMs(now),
        expireTimestampMs: timestampMs(-1),
        topicId: this.#topicId,
      })
    ));
    if (commit % GROUP_RECORD_EVERY === 0) records.push(groupRecord(groupId, now));
    const batch = buildBatch({ records: recordsOf(records, now) });
    patchAsLeader(batch, 0, { baseOffset: this.#baseOffset, partitionLeaderEpoch: 0 });
    this.#baseOffset = readLastOffset(batch, 0) + 1;
    return batch;
  }
}

/** A group that has no members now: it expects none, and may be committed to by anybody. */
function groupRecord(groupId: string, now: number): KeyValue {
  return encodeGroupMetadata(groupId, {
    protocolType: "consumer",
    generationId: 7,
    protocolName: null,
    leader: null,
    currentStateTimestamp: timestampMs(now),
    members: [],
  });
}

/** Makes the topics, and fills `__consumer_offsets`. Returns: what each asked group has to answer. */
async function fill(
  { megabytes, groups, partitions, commands }: LoadBenchOptions,
  dataDirectory: string,
): Promise<Map<string, number>> {
  const broker = await start(dataDirectory, commands?.[0]);
  const topicId = await createBenchTopic(broker, TOPIC, partitions);
  await whenCoordinated(broker, groupsApart(groups));
  await broker.stop();
  const writers = Array.from({ length: OFFSETS_PARTITIONS }, (_, partition) => (
    new SegmentWriter(join(dataDirectory, `__consumer_offsets-${partition}`), topicId, partitions)
  ));
  for (let group = 0; group < groups; group++) {
    writers[partitionForKey(groupName(group), OFFSETS_PARTITIONS)]!.groups.push(group);
  }
  const filled = writers.filter((writer) => writer.groups.length > 0);
  let records = 0;
  for (const writer of filled) records += await writer.write((megabytes * 1e6) / filled.length);
  const expected = new Map(filled.map((writer) => {
    const group = writer.groups[0]!;
    return [groupName(group), writer.lastOffsetOf(group)];
  }));
  // Without the mark of a clean stop it looks at what it finds.
  rmSync(join(dataDirectory, ".kafka_cleanshutdown"));
  const second = await start(dataDirectory, commands?.[0]);
  await whenCoordinated(second, [...expected.keys()]);
  await second.stop();
  console.log(
    `written: ${megabytes} MB, ${records} records, ${groups * partitions} keys, ` +
      `${partitions} offsets a commit`,
  );
  return expected;
}

async function timedStart(
  dataDirectory: string,
  command: readonly string[] | undefined,
  expected: ReadonlyMap<string, number>,
): Promise<LoadFigures> {
  const beganMs = performance.now();
  const broker = await start(dataDirectory, command);
  const listeningMs = performance.now() - beganMs;
  const answered = await whenCoordinated(broker, [...expected.keys()]);
  const figures = {
    loadedMs: performance.now() - beganMs,
    listeningMs,
    peakResidentBytes: peakResidentBytes(broker.pid),
    cpuSeconds: cpuSecondsOf(broker.pid),
    longestHoldMs: longestHoldMs(await metricsOf(broker)),
  };
  await broker.stop();
  for (const [group, last] of expected) {
    if (answered.get(group) === last) continue;
    throw new Error(`Cannot measure loading: ${group} has ${answered.get(group)}, not ${last}`);
  }
  console.log(
    `${command?.join(" ") ?? "main.ts"}: every coordinator answers in ${
      figures.loadedMs.toFixed(0)
    } ms (listening in ` +
      `${listeningMs.toFixed(0)} ms), ${figures.cpuSeconds.toFixed(2)} s of CPU, at most ` +
      `${(figures.peakResidentBytes / 1e6).toFixed(0)} MB resident, event loop held up to ` +
      `${figures.longestHoldMs.toFixed(0)} ms; ${loadAverage()}`,
  );
  return figures;
}

/** Fills `__consumer_offsets`, and times starts. Returns: the fastest of each command. */
export async function loadBench(options: LoadBenchOptions): Promise<LoadFigures[]> {
  const dataDirectory = options.dataDirectory ?? scratchDirectory("load");
  mkdirSync(dataDirectory, { recursive: true });
  const expected = await fill(options, dataDirectory);
  const commands = options.commands ?? [undefined];
  const runs: LoadFigures[][] = commands.map(() => []);
  for (let run = 0; run < options.runs; run++) {
    for (const [at, command] of commands.entries()) {
      runs[at]!.push(await timedStart(dataDirectory, command, expected));
    }
  }
  return runs.map((figures) => figures.toSorted((a, b) => a.loadedMs - b.loadedMs)[0]!);
}
