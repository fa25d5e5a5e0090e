/** What a log knows of its producers across its life: restarts, truncations, deletions, expiry. */

import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../protocol/errors.ts";
import { buildBatch } from "../../protocol/records.ts";
import { offset } from "../../protocol/types.ts";
import { snapshotEntries } from "../../storage/producer_snapshot.ts";
import { ProducerExpiry } from "../../storage/producer_expiry.ts";
import { ProducerTable } from "../../storage/producer_table.ts";
import { Fixture } from "./log_fixture.ts";

const ABORT = 0;
const COMMIT = 1;

function data(fixture: Fixture, producerId: number, baseSequence: number, transactional = false) {
  return fixture.append(1, { producerId, producerEpoch: 0, baseSequence, transactional });
}

function mark(fixture: Fixture, producerId: number, type: number, producerEpoch = 0) {
  const key = new Uint8Array([0, 0, 0, type]);
  const timestamp = fixture.clock.wallMs();
  const bytes = buildBatch({
    records: [{ key, value: new Uint8Array(6), timestamp }],
    producerId,
    producerEpoch,
    transactional: true,
    control: true,
  });
  return fixture.log.appendAsLeader(bytes, { leaderEpoch: 0, origin: "coordinator" });
}

function known(fixture: Fixture): number[] {
  return [...fixture.log.producers()].map(({ producerId }) => producerId).sort((a, b) => a - b);
}

describe("Log.truncateFullyAndStartAt", () => {
  test("forgets the producers, even where snapshots of them lie before the new start", async () => {
    const fixture = await Fixture.open();
    data(fixture, 1, 0, true);
    fixture.log.roll();
    data(fixture, 2, 0);
    await fixture.log.whenSynced(fixture.log.endOffset);
    await fixture.directory.close();
    await fixture.reopen();
    expect(known(fixture)).toEqual([1, 2]);
    await fixture.log.truncateFullyAndStartAt(offset(100));
    expect(known(fixture)).toEqual([]);
    expect(fixture.log.lastStableOffset(offset(100))).toBe(offset(100));
    expect(fixture.disk.files().filter((path) => path.endsWith(".snapshot"))).toEqual([]);
    fixture.append(1);
    await fixture.directory.close();
    await fixture.reopen();
    expect(known(fixture)).toEqual([]);
  });
});

test("Log.roll: the snapshot of many producers is of its offset, although appends go on", async () => {
  const fixture = await Fixture.open();
  for (let id = 0; id < 5000; id++) data(fixture, id, 0);
  fixture.log.roll();
  for (let id = 0; id < 5000; id += 3) data(fixture, id, 1);
  await fixture.clock.run(fixture.log.whenSynced(fixture.log.endOffset));
  await fixture.clock.advance(1);
  const bytes = fixture.disk.bytesOf(fixture.path(5000, ".snapshot"));
  const entries = [...snapshotEntries(bytes)];
  expect(entries).toHaveLength(5000);
  expect(entries.every(({ lastSequence }) => lastSequence === 0)).toBe(true);
});

test("Log.lastStableOffset: not before the first record, if an open transaction is deleted", async () => {
  const fixture = await Fixture.open();
  data(fixture, 1, 0, true);
  fixture.append(1);
  await fixture.log.whenSynced(fixture.log.endOffset);
  expect(fixture.log.deleteRecordsBefore(offset(1)).error).toBe(ErrorCode.NONE);
  expect(fixture.log.lastStableOffset(offset(2))).toBe(offset(1));
  mark(fixture, 1, COMMIT);
  expect(fixture.log.lastStableOffset(offset(3))).toBe(offset(3));
});

test("Log.open: a snapshot older than the first segment is not used", async () => {
  const fixture = await Fixture.open();
  data(fixture, 1, 0, true);
  await fixture.directory.close();
  // The snapshot at offset 1 says that a transaction is open.
  const open = fixture.disk.bytesOf(fixture.path(1, ".snapshot"));
  await fixture.reopen();
  mark(fixture, 1, ABORT);
  fixture.log.roll();
  fixture.append(1);
  await fixture.log.whenSynced(fixture.log.endOffset);
  fixture.log.deleteRecordsBefore(offset(2));
  await fixture.directory.close();
  const snapshots = fixture.disk.files().filter((path) => /0000[23]\.snapshot$/.test(path));
  expect(snapshots).toHaveLength(2);
  for (const path of snapshots) {
    const file = fixture.disk.open(path, "write");
    file.write(12, new Uint8Array([0xff]));
    file.close();
  }
  fixture.disk.plant(fixture.path(1, ".snapshot"), open);
  await fixture.reopen();
  expect(fixture.log.lastStableOffset(offset(3))).toBe(offset(3));
});

test("Log.close, LogDirectory.deleteLog: give back what the producers took", async () => {
  const producerTable = new ProducerTable();
  const fixture = await Fixture.open({}, { producerTable });
  data(fixture, 1, 0);
  data(fixture, 2, 0, true);
  expect(producerTable.count).toBe(2);
  await fixture.directory.close();
  expect(producerTable.count).toBe(0);
  await fixture.reopen({}, { producerTable });
  expect(producerTable.count).toBe(2);
  await fixture.directory.deleteLog(fixture.log.topicPartition);
  expect(producerTable.count).toBe(0);
});

test("ProducerExpiry: forgets at its interval, in slices, and not for a clock that goes back", async () => {
  const table = new ProducerTable();
  const fixture = await Fixture.open({}, { producerTable: table });
  const { clock } = fixture;
  const expiry = new ProducerExpiry({ clock, table, expirationMs: 1000, checkIntervalMs: 600 });
  for (let id = 0; id < 2000; id++) data(fixture, id, 0);
  data(fixture, 2000, 0, true);
  clock.jumpWall(-1_000_000);
  await clock.advance(2000);
  expect(table.count).toBe(2001);
  clock.jumpWall(1_000_000);
  data(fixture, 7, 1);
  await clock.advance(601);
  expect(known(fixture)).toEqual([7, 2000]);
  // Whoever is forgotten goes on anywhere; whoever is not, does not.
  expect(data(fixture, 8, 55).error).toBe(ErrorCode.NONE);
  expect(data(fixture, 7, 55).error).toBe(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
  await clock.run(expiry.stop());
  await clock.advance(5000);
  expect(known(fixture)).toEqual([7, 8, 2000]);
  await clock.run(fixture.directory.close());
  expect(clock.pendingTimers).toBe(0);
});

describe("Log.open after a clean stop: the last five batches are answered as they were", () => {
  const sizes = [1, 3, 2, 4, 1, 2, 5];
  /** Batches of producers 1 and 2 in turn. Returns: what sends one of them again. */
  function write(fixture: Fixture, padding = 0) {
    const sent: (() => ReturnType<typeof data>)[] = [];
    const next = new Map<number, number>();
    for (const count of sizes) {
      for (const producerId of [1, 2]) {
        const baseSequence = next.get(producerId) ?? 0;
        next.set(producerId, baseSequence + count);
        const again = () => fixture.append(count, { producerId, producerEpoch: 0, baseSequence });
        sent.push(again);
        expect(again()).toMatchObject({ duplicate: false });
        for (let i = 0; i < padding; i++) fixture.append(1);
      }
    }
    return sent;
  }

  test.each([
    ["where they lie together", 0, false],
    ["where others lie between", 8, false],
    ["where a segment ends among them", 3, true],
  ])("%s", async (_, padding, isRolled) => {
    const fixture = await Fixture.open({ indexIntervalBytes: 500 });
    const sent = write(fixture, padding);
    if (isRolled) {
      fixture.log.roll();
      const again = () => fixture.append(1, { producerId: 1, producerEpoch: 0, baseSequence: 18 });
      expect(again()).toMatchObject({ duplicate: false });
      sent.push(again);
    }
    // Five of each are remembered, of producer 1 the last one of which may be in another segment.
    const recent = sent.slice(isRolled ? -9 : -10);
    const before = recent.map((again) => again());
    expect(before.every((result) => "duplicate" in result && result.duplicate)).toBe(true);
    await fixture.directory.close();
    await fixture.reopen({ indexIntervalBytes: 500 });
    expect(recent.map((again) => again())).toEqual(before);
    // Nor does a crash lose them, of which the snapshot of that stop knows one each.
    fixture.disk.kill();
    await fixture.reopen({ indexIntervalBytes: 500 });
    expect(recent.map((again) => again())).toEqual(before);
    // What is older is neither written again nor taken for something else.
    expect(sent[0]!().error).toBe(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
  });

  test("and after a truncation", async () => {
    const fixture = await Fixture.open();
    const sent = write(fixture);
    fixture.log.roll();
    const endOffset = fixture.log.endOffset;
    const before = sent.slice(-10).map((again) => again());
    fixture.append(3);
    await fixture.clock.run(fixture.log.whenSynced(fixture.log.endOffset));
    await fixture.clock.run(fixture.log.truncateTo(endOffset));
    expect(sent.slice(-10).map((again) => again())).toEqual(before);
  });
});
