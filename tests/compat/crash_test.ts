/**
 * The broker is killed again and again under load, and the history is checked: what librdkafka was told and what
 * it saw, against what is in the logs at the end.
 *
 * Nothing acknowledged is lost, doubled or moved; nobody saw an offset whose value changed; a committed offset
 * never goes back. Every other round leaves half a batch at the end of a log, as a machine does that stops while
 * it writes. `WEIR_CRASH_ROUNDS` says how often it is killed.
 */

import { describe, expect } from "bun:test";
import { appendFileSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ErrorCode } from "../../protocol/errors.ts";
import { batches, readLastOffset } from "../../protocol/record_batch.ts";
import { buildBatch } from "../../protocol/records.ts";
import { offsetFetchRequest, offsetFetchResponse } from "../../protocol/schemas/offset_fetch.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { runCommand } from "./command_line.ts";
import {
  eventually,
  partitionDirectories,
  type RunningBroker,
  scratchDirectory,
  startWeir,
  testWith,
} from "./harness.ts";
import { linesOf } from "./lines_of.ts";
import { Wire } from "./wire.ts";

const ROUNDS = Number(process.env["WEIR_CRASH_ROUNDS"] ?? 5);
const SEED = Number(process.env["WEIR_SEED"] ?? Date.now() % 2 ** 31);
const PARTITIONS = 3;
const TOPIC = "crashes";
const GROUP = "crash-group";
const SETTINGS = {
  "group.initial.rebalance.delay.ms": "0",
  // Several segments a run, so that recovery meets closed ones, indexes and producer snapshots.
  "log.segment.bytes": String(1024 * 1024),
};
const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;

type Row = readonly [partition: number, first: number, second: number];

/** What the client prints at its end; see crash_client.py. */
interface Report {
  readonly acknowledged: readonly Row[];
  readonly sent: readonly number[];
  readonly failed: readonly unknown[];
  readonly fatal: readonly string[];
  readonly seen: readonly Row[];
  readonly group: readonly Row[];
  readonly commits: readonly (readonly [what: string, partition: number, offset: number])[];
}

/** The numbers in the logs, by partition and offset. */
type Truth = readonly ReadonlyMap<number, number>[];

async function readAll(broker: RunningBroker): Promise<Truth> {
  const output = join(scratchDirectory("crash-read"), "all");
  const words = ["-b", broker.bootstrap, "consume", TOPIC, "--format", "%p %o %v"];
  await runCommand(words, { output });
  const truth = Array.from({ length: PARTITIONS }, () => new Map<number, number>());
  for (const line of readFileSync(output, "utf8").trimEnd().split("\n")) {
    const [partition, offset, number] = line.split(" ", 3).map(Number) as [number, number, number];
    if (truth[partition]!.has(offset)) throw new Error(`Offset ${offset} was read twice: ${line}`);
    truth[partition]!.set(offset, number);
  }
  return truth;
}

/** Each partition holds every number once, in order. */
function expectEverySentOnce(truth: Truth, sent: readonly number[]): void {
  for (const [partition, numbers] of truth.entries()) {
    const found = [...numbers].sort(([a], [b]) => a - b);
    const wrong = found.find(([offset, number], index) => offset !== index || number !== index);
    expect({ partition, wrong, count: found.length }).toEqual({
      partition,
      wrong: undefined,
      count: sent[partition]!,
    });
  }
}

/** What was told of an offset is what the logs hold there. */
function expectAsInLogs(truth: Truth, rows: readonly Row[], offsetAt: 1 | 2): void {
  const numberAt = offsetAt === 1 ? 2 : 1;
  expect(rows.find((row) => truth[row[0]]!.get(row[offsetAt]) !== row[numberAt])).toBeUndefined();
}

/** A reader without a group gets each offset once and in order, whatever happens to the broker. */
function expectSteadyReading(rows: readonly Row[], sent: readonly number[]): void {
  const next = sent.map(() => 0);
  const jump = rows.find(([partition, offset]) => offset !== next[partition]!++);
  expect(jump).toBeUndefined();
  expect(next).toEqual([...sent]);
}

/** Once a commit was answered, no answer tells of an earlier one. */
function expectCommitsOnlyGrow(commits: Report["commits"]): void {
  const latest = Array.from({ length: PARTITIONS }, () => -1);
  const back = commits.find(([, partition, offset]) => {
    if (offset < latest[partition]!) return true;
    latest[partition] = offset;
    return false;
  });
  expect({ back, latest }).toEqual({ back: undefined, latest });
}

/** What the group has committed, by partition; -1 for nothing. Waits while the coordinator loads. */
async function committedOffsets(broker: RunningBroker): Promise<number[]> {
  const wire = await Wire.connect(broker.bootstrap);
  const partitionIndexes = Array.from({ length: PARTITIONS }, (_, index) => index);
  const answer = await eventually("the group's offsets", async () => {
    const found = await wire.send(offsetFetchRequest, offsetFetchResponse, 7, {
      groupId: GROUP,
      topics: [{ name: TOPIC, partitionIndexes }],
    });
    return found.errorCode === ErrorCode.NONE ? found : undefined;
  });
  wire.close();
  const offsets = partitionIndexes.map(() => -1);
  for (const { partitionIndex, committedOffset } of answer.topics[0]!.partitions) {
    offsets[partitionIndex] = committedOffset;
  }
  return offsets;
}

/** A batch that did not come to its end: what is left of a write when the machine stops in the middle of it. */
function tear(broker: RunningBroker, random: SimRandom): void {
  const directory = random.pick(partitionDirectories(broker.dataDirectory, TOPIC));
  const last = readdirSync(directory).filter((name) => name.endsWith(".log")).sort().at(-1)!;
  const path = join(directory, last);
  const bytes = readFileSync(path);
  let baseOffset = Number(last.slice(0, -".log".length));
  for (const at of batches(bytes)) baseOffset = readLastOffset(bytes, at) + 1;
  const value = new Uint8Array(random.between(1, 100_000)).fill(0x30);
  const records = [{ key: null, value, headers: [], timestamp: 0 }];
  const batch = buildBatch({ baseOffset, records });
  appendFileSync(path, batch.subarray(0, random.between(1, batch.length - 1)));
}

describe.skipIf(isExternal)("kill -9 under load", () => {
  testWith(
    "python confluent-kafka",
    `${ROUNDS} times: nothing acknowledged is lost, doubled or moved, no commit goes back`,
    async () => {
      console.log(`WEIR_SEED=${SEED}`);
      const random = new SimRandom(SEED);
      let broker = await startWeir({ settings: SETTINGS });
      const { dataDirectory, port } = broker;
      const create = ["topic", "create", TOPIC, "--partitions", String(PARTITIONS)];
      await runCommand(["-b", broker.bootstrap, ...create]);
      const script = join(import.meta.dir, "crash_client.py");
      const client = Bun.spawn(
        ["python3", script, broker.bootstrap, TOPIC, String(PARTITIONS), GROUP],
        { stdin: "pipe", stdout: "pipe", stderr: "inherit" },
      );
      process.on("exit", () => client.kill("SIGKILL"));
      const output = linesOf(client.stdout);
      expect(await output.next()).toEqual({ value: "ready", done: false });
      for (let round = 0; round < ROUNDS; round++) {
        await Bun.sleep(random.between(100, 1200));
        const before = await committedOffsets(broker);
        await broker.kill();
        // The client is held up, so that the member does not commit anew before the broker is asked.
        client.kill("SIGSTOP");
        if (round % 2 === 1) tear(broker, random);
        broker = await startWeir({ dataDirectory, port, settings: SETTINGS });
        const after = await committedOffsets(broker);
        client.kill("SIGCONT");
        expect({ round, before, after, back: after.findIndex((it, p) => it < before[p]!) })
          .toEqual({ round, before, after, back: -1 });
      }
      await Bun.sleep(300);
      await client.stdin.write("\n");
      await client.stdin.end();
      const report: Report = JSON.parse((await output.next()).value ?? "{}");
      const truth = await readAll(broker);
      expect(await broker.stop()).toBe(0);

      expect({ fatal: report.fatal, failed: report.failed }).toEqual({ fatal: [], failed: [] });
      const total = report.sent.reduce((sum, count) => sum + count, 0);
      expect(report.acknowledged).toHaveLength(total);
      expectEverySentOnce(truth, report.sent);
      expectAsInLogs(truth, report.acknowledged, 2);
      expectAsInLogs(truth, report.seen, 1);
      expectAsInLogs(truth, report.group, 1);
      expectSteadyReading(report.seen, report.sent);
      expectCommitsOnlyGrow(report.commits);
      console.log(
        `${ROUNDS} crashes: ${total} records, ${report.commits.length} answers about commits`,
      );
    },
    30_000 + 5_000 * ROUNDS,
  );
});
