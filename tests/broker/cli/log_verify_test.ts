/** `weir log verify` on what a simulated broker has left, whole and damaged in every way that it tells apart. */

import { describe, expect, test } from "bun:test";
import { CompressionCodec } from "../../../protocol/compression.ts";
import { buildControlBatch } from "../../../protocol/control_records.ts";
import { sealCrc } from "../../../protocol/record_batch.ts";
import { buildBatch } from "../../../protocol/records.ts";
import { METADATA_TOPIC_ID } from "../../../protocol/types.ts";
import { DEFAULT_LOG_CONFIG, type Log } from "../../../storage/log.ts";
import { LogDirectory } from "../../../storage/log_directory.ts";
import { SimLogger } from "../../sim/sim_logger.ts";
import { SimWorkers } from "../../sim/sim_workers.ts";
import { TestMachine } from "./test_io.ts";

const DATA = "/data";
const FIRST = `${DATA}/orders-0/00000000000000000000.log`;

async function openDirectory({ disk, clock, random }: TestMachine): Promise<LogDirectory> {
  const logger = new SimLogger();
  const workers = new SimWorkers({ disk, clock, logger });
  return await LogDirectory.open({ disk, clock, random, logger, workers, path: DATA, nodeId: 1 });
}

function append(log: Log, count: number, compression: CompressionCodec): void {
  const records = Array.from({ length: count }, (_, i) => ({
    key: null,
    value: new Uint8Array(20 + i).fill(7),
    timestamp: 1_700_000_000_000 + log.endOffset + i,
  }));
  const options = { leaderEpoch: 0, origin: "client" } as const;
  expect(log.appendAsLeader(buildBatch({ records, compression }), options).error).toBe(0);
}

/** An aborted transaction. */
function abort(log: Log): void {
  const producerId = log.endOffset;
  const records = [{ key: null, value: null, timestamp: 1_700_000_000_000 }];
  const producer = { producerId, producerEpoch: 0 };
  const batch = buildBatch({ records, ...producer, baseSequence: 0, transactional: true });
  const marker = buildControlBatch({
    ...producer,
    timestamp: 1_700_000_000_000,
    records: [{ type: "abort", coordinatorEpoch: 0 }],
  });
  expect(log.appendAsLeader(batch, { leaderEpoch: 0, origin: "client" }).error).toBe(0);
  expect(log.appendAsLeader(marker, { leaderEpoch: 0, origin: "coordinator" }).error).toBe(0);
}

/** A directory with two partitions; orders-0 has two closed segments (from 0 and 18) and an active one. */
async function machineWithData(stop: "clean" | "crash" = "clean"): Promise<TestMachine> {
  const machine = new TestMachine();
  const { clock } = machine;
  const directory = await clock.run(openDirectory(machine));
  const config = {
    ...DEFAULT_LOG_CONFIG,
    indexIntervalBytes: 150,
    messageTimestampAfterMaxMs: Number.MAX_SAFE_INTEGER,
  };
  for (const partition of [0, 1]) {
    const topicPartition = { topic: "orders", partition };
    const log = await clock.run(directory.createLog(topicPartition, METADATA_TOPIC_ID, config));
    for (let segment = 0; segment < 3; segment++) {
      for (let i = 0; i < 8; i++) append(log, 2, i % 5 as CompressionCodec);
      abort(log);
      if (segment < 2) log.roll();
    }
    log.sync();
  }
  await clock.advance(10_000);
  if (stop === "clean") await clock.run(directory.close());
  else {
    machine.disk.kill();
    clock.dropTimers();
  }
  return machine;
}

interface Told {
  readonly kind: string;
  readonly file: string;
  readonly position: number;
  readonly endPosition: number;
  readonly expectedOffset: number;
  readonly found: string;
}

async function verify(machine: TestMachine, ...paths: string[]) {
  const { out, error, exitCode } = await machine.run(["log", "verify", "--json", ...paths]);
  const lines = out.trim().split("\n").filter((line) => line !== "").map((line) => {
    return JSON.parse(line);
  });
  const summary = lines.pop();
  return { told: lines as Told[], summary, error, exitCode };
}

function batchStarts(bytes: Uint8Array): number[] {
  const starts: number[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; at += 12 + view.getInt32(at + 8)) starts.push(at);
  return starts;
}

describe("log verify", () => {
  test("a sound directory, a partition, a file: nothing is damaged, all is counted, nothing changes", async () => {
    const machine = await machineWithData();
    const before = machine.disk.files().map((path) => [
      path,
      Buffer.from(machine.disk.bytesOf(path)).toString("hex"),
    ]);
    expect(await verify(machine, DATA)).toMatchObject({
      told: [],
      exitCode: 0,
      summary: {
        kind: "summary",
        partitions: 2,
        segments: 6,
        batches: 60,
        records: 108,
        damaged: 0,
        torn: 0,
      },
    });
    const partition = await verify(machine, `${DATA}/orders-1/`);
    expect(partition).toMatchObject({ exitCode: 0, summary: { partitions: 1, segments: 3 } });
    expect(await verify(machine, FIRST)).toMatchObject({ exitCode: 0, summary: { segments: 1 } });
    const human = await machine.run(["log", "verify", DATA]);
    expect(human.out).toMatch(
      /^2 partitions, 6 segments, [\d.]+ kB, 60 batches, 108 records in .*: nothing is damaged\n$/,
    );
    const after = machine.disk.files().map((path) => [
      path,
      Buffer.from(machine.disk.bytesOf(path)).toString("hex"),
    ]);
    expect(after).toEqual(before);
  });

  test("flipped bits: each batch is named with its bytes and offset, and what lies behind is looked at", async () => {
    const machine = await machineWithData();
    const starts = batchStarts(machine.disk.bytesOf(FIRST));
    const hit = [starts[1]!, starts[4]!, starts[8]!];
    for (const start of hit) machine.disk.flipBit(FIRST, start + 65, 2);
    const { told, exitCode, summary, error } = await verify(machine, DATA);
    expect(told.map(({ kind, file, position }) => ({ kind, file, position }))).toEqual(
      hit.map((position) => ({ kind: "damage", file: FIRST, position })),
    );
    expect(told.map(({ expectedOffset }) => expectedOffset)).toEqual([2, 8, 16]);
    expect(told[0]!.endPosition).toBe(starts[2]!);
    expect({ exitCode, damaged: summary.damaged, batches: summary.batches })
      .toEqual({ exitCode: 1, damaged: 3, batches: 57 });
    expect(error).toBe("3 damaged places found\n");
    const human = await machine.run(["log", "verify", `${DATA}/orders-0`]);
    expect(human.out).toContain(
      `${FIRST}: bytes ${starts[1]} to ${starts[2]}: damaged, offset 2 should come: the checksum`,
    );
  });

  test("an end that a crash has torn is told apart from damage, and is none", async () => {
    const machine = await machineWithData("crash");
    const active = `${DATA}/orders-0/00000000000000000036.log`;
    const bytes = machine.disk.bytesOf(active);
    machine.disk.plant(active, Buffer.concat([bytes, bytes.subarray(0, 50)]));
    expect(await verify(machine, DATA)).toMatchObject({
      exitCode: 0,
      told: [{
        kind: "torn",
        file: active,
        position: bytes.length,
        endPosition: bytes.length + 50,
        expectedOffset: 54,
      }],
      summary: { damaged: 0, torn: 1 },
    });
  });

  test("the same bytes are damage where all had been on stable storage", async () => {
    for (const stop of ["clean", "crash"] as const) {
      const machine = await machineWithData(stop);
      const active = `${DATA}/orders-0/00000000000000000036.log`;
      const bytes = machine.disk.bytesOf(active);
      const last = batchStarts(bytes).at(-1)!;
      machine.disk.plant(active, bytes.slice(0, -3));
      expect(await verify(machine, DATA)).toMatchObject({
        exitCode: 1,
        told: [{ kind: "damage", position: last, expectedOffset: 53 }],
      });
    }
  });

  test("other files that lie: indexes, snapshots, checkpoints, ids", async () => {
    const cases: readonly [string, (bytes: Uint8Array) => Uint8Array, RegExp][] = [
      ["orders-0/00000000000000000000.index", flipAt(7), /its entry 0 names byte/],
      ["orders-0/00000000000000000000.index", (b) => b.slice(0, -3), /no whole number/],
      ["orders-0/00000000000000000000.timeindex", (b) => b.slice(0, -12), /its last entry says/],
      ["orders-0/00000000000000000000.timeindex", flipAt(2), /its/],
      ["orders-0/00000000000000000000.txnindex", flipAt(9), /has aborted nothing/],
      ["orders-0/00000000000000000018.snapshot", flipAt(20), /checksum/],
      ["orders-0/leader-epoch-checkpoint", () => text("0\n2\n1 5\n0 9\n"), /behind the one before/],
      ["orders-0/leader-epoch-checkpoint", () => text("7\n"), /version/],
      ["orders-0/partition.metadata", () => text("version: 0\n"), /topic id/],
      ["recovery-point-offset-checkpoint", () => text("0\n3\norders 0 1\n"), /announces 3/],
      ["replication-offset-checkpoint", () => text("0\n1\norders 0 x\n"), /not a number/],
      ["meta.properties", () => text("version=1\n"), /cluster\.id/],
    ];
    for (const [name, change, found] of cases) {
      const machine = await machineWithData();
      const path = `${DATA}/${name}`;
      machine.disk.plant(path, change(machine.disk.bytesOf(path)));
      const { told, exitCode } = await verify(machine, DATA);
      expect({ name, exitCode, told }).toEqual({
        name,
        exitCode: 1,
        told: [expect.objectContaining({
          kind: "damage",
          file: path,
          found: expect.stringMatching(found),
        })],
      });
    }
  });

  test("room at the end of indexes, as Apache Kafka leaves it, is no damage", async () => {
    const machine = await machineWithData("crash");
    for (const [suffix, entryBytes] of [[".index", 8], [".timeindex", 12]] as const) {
      const path = `${DATA}/orders-0/00000000000000000036${suffix}`;
      const bytes = machine.disk.exists(path) ? machine.disk.bytesOf(path) : new Uint8Array(0);
      machine.disk.plant(path, Buffer.concat([bytes, new Uint8Array(100 * entryBytes)]));
    }
    expect(await verify(machine, DATA)).toMatchObject({ told: [], exitCode: 0 });
  });

  test("a missing index of a closed segment is told", async () => {
    const machine = await machineWithData();
    machine.disk.remove(`${DATA}/orders-1/00000000000000000018.index`);
    const { told } = await verify(machine, DATA);
    expect(told.map(({ file }) => file)).toEqual([`${DATA}/orders-1/00000000000000000018.index`]);
  });

  test("a batch whose checksum fits and whose records cannot be read", async () => {
    const machine = await machineWithData();
    const batch = buildBatch({
      baseOffset: 0,
      records: [{ key: null, value: null, timestamp: 1 }],
    });
    batch[61] = 0x7e;
    sealCrc(batch, 0);
    machine.disk.plant(`/alone/00000000000000000000.log`, batch);
    expect(await verify(machine, "/alone")).toMatchObject({
      exitCode: 1,
      told: [{ kind: "damage", position: 0, found: expect.stringContaining("checksum fits, but") }],
    });
  });

  test("paths that are nothing to verify: an error that says so", async () => {
    const machine = await machineWithData();
    machine.disk.makeDirectory("/empty");
    for (const path of ["/none", "/empty", `${DATA}/meta.properties`]) {
      const { exitCode, error } = await machine.run(["log", "verify", path]);
      expect({ path, exitCode }).toEqual({ path, exitCode: 1 });
      expect(error).toStartWith(`Cannot verify ${path}: `);
    }
  });

  test("any bytes: it ends, and says something", async () => {
    const machine = await machineWithData();
    const files = machine.disk.files().filter((path) => path.startsWith(`${DATA}/orders-0/`));
    for (let round = 0; round < 60; round++) {
      const path = machine.random.pick(files);
      const original = machine.disk.bytesOf(path);
      const bytes = Uint8Array.from(
        { length: machine.random.below(3000) },
        () => machine.random.chance(0.5) ? 0 : machine.random.below(256),
      );
      machine.disk.plant(path, bytes);
      const { exitCode, summary } = await verify(machine, DATA);
      expect([0, 1]).toContain(exitCode);
      expect(summary.kind).toBe("summary");
      const dump = await machine.run(["log", "dump", "-r", path]);
      expect([0, 1]).toContain(dump.exitCode);
      machine.disk.plant(path, original);
    }
  });
});

function flipAt(position: number): (bytes: Uint8Array) => Uint8Array {
  return (bytes) => bytes.map((byte, at) => at === position ? byte ^ 1 : byte);
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}
