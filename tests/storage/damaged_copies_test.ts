/** A log that is found damaged, and what is kept of one in whose place another was begun. */

import { expect, test } from "bun:test";
import { ErrorCode } from "../../protocol/errors.ts";
import { METADATA_TOPIC_ID, offset } from "../../protocol/types.ts";
import { Fixture, ORDERS } from "./log_fixture.ts";

const READ = { maxBytes: 1_000_000, minOneMessage: true };

/** A log of three segments that was closed and opened again, with a bit of the first one flipped. */
async function damagedFixture(): Promise<Fixture> {
  const fixture = await Fixture.open({ segmentBytes: 300 });
  for (let count = 0; count < 3; count++) fixture.append(1, { valueBytes: 150 });
  await fixture.log.flush();
  await fixture.directory.close();
  fixture.disk.flipBit(fixture.path(0), 100);
  await fixture.reopen({ segmentBytes: 300 });
  return fixture;
}

const kept = ({ disk }: Fixture) =>
  disk.list("/data").filter(({ name }) => name.endsWith("-stray")).map(({ name }) => name);

test("Log.damage: is what a reader comes upon, until it is deleted", async () => {
  const { log } = await damagedFixture();
  let told = 0;
  log.onDamaged(() => told++);
  expect(log.damage).toBeNull();
  expect(log.read(offset(0), READ).error).toBe(ErrorCode.CORRUPT_MESSAGE);
  expect(log.read(offset(0), READ).error).toBe(ErrorCode.CORRUPT_MESSAGE);
  expect(told).toBe(1);
  expect(log.damage).toMatchObject({ offset: 0 });
  log.updateHighWatermark(log.endOffset);
  expect(log.deleteRecordsBefore(offset(2)).error).toBe(ErrorCode.NONE);
  expect(log.damage).toBeNull();
});

test("Log.damage: is what a recovery comes upon", async () => {
  const fixture = await Fixture.open({ segmentBytes: 1000 });
  for (let count = 0; count < 3; count++) fixture.append(1, { valueBytes: 150 });
  await fixture.log.flush();
  fixture.disk.crash();
  fixture.disk.flipBit(fixture.path(0), 100);
  const log = await fixture.reopen();
  expect(log.offlineReason).not.toBeNull();
  expect(log.damage?.found).toContain("are damaged");
});

test("LogDirectory.setDamagedAside: keeps the log over restarts, until it is dropped", async () => {
  const fixture = await damagedFixture();
  const keeps = () => fixture.directory.keepsDamaged(ORDERS, METADATA_TOPIC_ID);
  await fixture.directory.setDamagedAside(ORDERS, METADATA_TOPIC_ID);
  expect(keeps()).toBe(true);
  const [name] = kept(fixture);
  expect(fixture.directory.found()).toEqual([]);
  await fixture.directory.close();
  expect((await fixture.reopen()).endOffset).toBe(offset(0));
  expect(keeps()).toBe(true);
  // One more is not kept: the first is the one that was in sync.
  await fixture.directory.setDamagedAside(ORDERS, METADATA_TOPIC_ID);
  expect(kept(fixture)).toEqual([name!]);
  fixture.directory.dropDamaged(ORDERS, METADATA_TOPIC_ID);
  await fixture.clock.advance(10);
  expect(keeps()).toBe(false);
  expect(kept(fixture)).toEqual([]);
});

test("LogDirectory.setDamagedAside: keeps nothing of it where there is no room for both", async () => {
  const fixture = await damagedFixture();
  fixture.disk.capacityBytes = fixture.disk.usedBytes + 100;
  await fixture.directory.setDamagedAside(ORDERS, METADATA_TOPIC_ID);
  expect(kept(fixture)).toEqual([]);
  expect(fixture.directory.holds(ORDERS)).toBe(false);
});

test("LogDirectory.deleteLog: waits for the truncation under way, and the directory goes on", async () => {
  const fixture = await Fixture.open({ segmentBytes: 300 });
  for (let count = 0; count < 4; count++) fixture.append(1, { valueBytes: 150 });
  await fixture.log.flush();
  const { log, directory } = fixture;
  const truncating = log.truncateTo(offset(1));
  const deleting = directory.deleteLog(ORDERS);
  await fixture.clock.run(Promise.all([truncating, deleting]));
  expect(directory.offlineReason).toBeNull();
  expect(log.offlineReason).toBeNull();
  // Nor does one begin that comes too late.
  expect(log.truncateTo(offset(0))).rejects.toThrow("is closed");
  expect(directory.offlineReason).toBeNull();
});
