import { describe, expect, test } from "bun:test";
import { METADATA_TOPIC_ID, offset, type Uuid } from "../../protocol/types.ts";
import { textBytes } from "../../storage/checkpoint.ts";
import { DEFAULT_LOG_CONFIG } from "../../storage/log.ts";
import { LogDirectoryError } from "../../storage/directory_meta.ts";
import { LogDirectory } from "../../storage/log_directory.ts";
import type { Clock } from "../../storage/platform.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import { Fixture, ORDERS } from "./log_fixture.ts";
import { SimWorkers } from "../sim/sim_workers.ts";

function text(fixture: Fixture, path: string): string {
  return new TextDecoder().decode(fixture.disk.bytesOf(path));
}

describe("LogDirectory.open: refuses, and says what to do, a directory", () => {
  test("that another process uses", async () => {
    const fixture = await Fixture.open();
    const opening = fixture.openDirectory();
    expect(opening).rejects.toBeInstanceOf(LogDirectoryError);
    expect(opening).rejects.toThrow(
      "Cannot use log directory /data: another process is using it; stop that",
    );
    await opening.catch(() => {});
    await fixture.directory.close();
    await (await fixture.openDirectory()).close();
  });

  test("of another cluster", async () => {
    const fixture = await Fixture.open({}, { clusterId: "here" });
    await fixture.directory.close();
    expect(fixture.openDirectory({ clusterId: "there" })).rejects
      .toThrow("it belongs to the cluster here, not there; choose another log.dirs");
    // A refusal gives the lock back.
    expect((await fixture.openDirectory({ clusterId: "here" })).clusterId).toBe("here");
  });

  test("of another node", async () => {
    const fixture = await Fixture.open();
    await fixture.directory.close();
    expect(fixture.openDirectory({ nodeId: 2 })).rejects.toThrow("it belongs to node 1, not 2");
  });

  test("of a version that is not known", async () => {
    const fixture = await Fixture.open();
    await fixture.directory.close();
    fixture.disk.plant("/data/meta.properties", textBytes("version=7\nnode.id=1\ncluster.id=a\n"));
    expect(fixture.openDirectory()).rejects.toThrow(
      'meta.properties has the version "7"; restore the file',
    );
  });

  test("that cannot be read", async () => {
    const fixture = await Fixture.open();
    await fixture.directory.close();
    fixture.disk.faults = { read: () => "EACCES" };
    expect(fixture.openDirectory()).rejects.toThrow("check its owner and its disk");
  });
});

test("LogDirectory: writes Kafka's files", async () => {
  const fixture = await Fixture.open({}, { clusterId: "Av_kWk73PcUbbSQiOENkzQ" });
  fixture.append(3);
  await fixture.log.whenSynced(offset(3));
  fixture.log.updateHighWatermark(offset(2));
  fixture.log.deleteRecordsBefore(offset(1));
  await fixture.clock.advance(1);
  expect(await fixture.directory.checkpoint()).toBe(true);
  const { directoryId } = fixture.directory;
  expect(text(fixture, "/data/meta.properties")).toBe(
    `cluster.id=Av_kWk73PcUbbSQiOENkzQ\ndirectory.id=${directoryId}\nnode.id=1\nversion=1\n`,
  );
  expect(text(fixture, "/data/orders-0/partition.metadata"))
    .toBe("version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ");
  expect(text(fixture, "/data/recovery-point-offset-checkpoint")).toBe("0\n1\norders 0 3\n");
  expect(text(fixture, "/data/replication-offset-checkpoint")).toBe("0\n1\norders 0 2\n");
  expect(text(fixture, "/data/log-start-offset-checkpoint")).toBe("0\n1\norders 0 1\n");
  expect(text(fixture, "/data/orders-0/leader-epoch-checkpoint")).toBe("0\n1\n0 0\n");
  await fixture.directory.close();
  expect(text(fixture, "/data/.kafka_cleanshutdown")).toBe('{"version":0,"brokerEpoch":-1}');
  await fixture.reopen();
  expect(fixture.directory.directoryId).toBe(directoryId);
  expect([fixture.log.logStartOffset, fixture.log.highWatermark]).toEqual([offset(1), offset(2)]);
});

test("LogDirectory: a clean stop survives a power cut right after it", async () => {
  for (let round = 0; round < 20; round++) {
    const fixture = await Fixture.open();
    for (let i = 0; i < round; i++) fixture.append(2);
    await fixture.directory.close();
    fixture.disk.crash();
    await fixture.reopen();
    expect(fixture.directory.hadCleanShutdown).toBe(true);
    expect(fixture.log.endOffset).toBe(offset(2 * round));
    fixture.append(1);
    fixture.disk.crash();
    // The mark of the stop before must not be believed again.
    expect((await fixture.openDirectory()).hadCleanShutdown).toBe(false);
  }
});

test("LogDirectory.found: lists partitions, not what waits for deletion", async () => {
  const fixture = await Fixture.open();
  const id = "z1yHB6PEQAmy_Ty2vmsQRA" as Uuid;
  await fixture.directory.createLog({ topic: "a-b.c_d-7", partition: 12 }, id, DEFAULT_LOG_CONFIG);
  fixture.disk.plant("/data/notes.txt", new Uint8Array(1));
  fixture.disk.makeDirectory("/data/old-3.0123456789abcdef-delete");
  fixture.disk.makeDirectory("/data/nothing");
  expect(fixture.directory.found()).toEqual([
    { topicPartition: ORDERS, topicId: METADATA_TOPIC_ID },
    { topicPartition: { topic: "a-b.c_d-7", partition: 12 }, topicId: id },
  ]);
});

test("LogDirectory.deleteLog: renames at once, removes after file.delete.delay.ms, forgets offsets", async () => {
  const fixture = await Fixture.open({ fileDeleteDelayMs: 1000 });
  fixture.append(5);
  await fixture.log.whenSynced(offset(5));
  await fixture.directory.checkpoint();
  await fixture.directory.deleteLog(ORDERS);
  expect(fixture.directory.log("orders", 0)).toBeUndefined();
  const names = () =>
    fixture.disk.list("/data").filter(({ kind }) => kind === "directory").map(({ name }) => name);
  expect(names()).toHaveLength(1);
  expect(names()[0]).toMatch(/^orders-0\.[0-9a-f]{32}-delete$/);
  const again = await fixture.directory.createLog(ORDERS, METADATA_TOPIC_ID, DEFAULT_LOG_CONFIG);
  expect(again.endOffset).toBe(offset(0));
  await fixture.clock.advance(1001);
  expect(names()).toEqual(["orders-0"]);
});

test("LogDirectory: what a deletion left behind goes at the next start", async () => {
  const fixture = await Fixture.open();
  await fixture.directory.deleteLog(ORDERS);
  await fixture.directory.close();
  const directory = await fixture.openDirectory();
  await fixture.clock.advance(1);
  expect(fixture.disk.list("/data").filter(({ kind }) => kind === "directory")).toEqual([]);
  await directory.close();
  expect(fixture.clock.pendingTimers).toBe(0);
});

test("LogDirectory: a damaged checkpoint means a scan, not a loss", async () => {
  const fixture = await Fixture.open();
  for (let i = 0; i < 4; i++) fixture.append(1);
  await fixture.log.whenSynced(offset(4));
  await fixture.directory.checkpoint();
  fixture.disk.kill();
  fixture.disk.plant("/data/recovery-point-offset-checkpoint", textBytes("0\n2\norders 0"));
  fixture.disk.plant("/data/orders-0/leader-epoch-checkpoint", textBytes("x"));
  await fixture.reopen();
  expect(fixture.log.endOffset).toBe(offset(4));
  expect(fixture.log.endOffsetForEpoch(0)).toEqual({ leaderEpoch: 0, endOffset: 4 });
  const warnings = fixture.logger.lines.filter(({ level }) => level === "warn").map(({ message }) =>
    message
  );
  expect(warnings).toEqual([
    "Checkpoint is damaged and is not used",
    "Leader epoch checkpoint is damaged and is rebuilt from the log",
  ]);
});

test("LogDirectory: an empty checkpoint, as Apache Kafka makes it, is not damage", async () => {
  const fixture = await Fixture.open();
  for (let i = 0; i < 4; i++) fixture.append(1);
  await fixture.log.whenSynced(offset(4));
  fixture.disk.kill();
  for (const name of ["recovery-point", "log-start", "replication", "cleaner"]) {
    fixture.disk.plant(`/data/${name}-offset-checkpoint`, new Uint8Array());
  }
  await fixture.reopen();
  expect(fixture.log.endOffset).toBe(offset(4));
  expect(fixture.logger.lines.filter(({ level }) => level === "warn")).toEqual([]);
});

test("LogDirectory.close: empty partitions cost a stop no sync of their own", async () => {
  const fixture = await Fixture.open();
  for (let partition = 1; partition < 50; partition++) {
    await fixture.directory.createLog(
      { topic: "orders", partition },
      METADATA_TOPIC_ID,
      DEFAULT_LOG_CONFIG,
    );
  }
  const before = fixture.disk.calls.sync;
  await fixture.directory.close();
  expect(fixture.disk.calls.sync - before).toBeLessThan(6);
});

test("LogDirectory: a start and a stop write nothing into an empty partition's directory", async () => {
  const fixture = await Fixture.open();
  fixture.log.leaderEpochs.assign(0, 0);
  await fixture.directory.close();
  const { disk } = fixture;
  const renamed: string[] = [];
  const rename = disk.rename.bind(disk);
  disk.rename = (from, to) => {
    renamed.push(to);
    rename(from, to);
  };
  const log = await fixture.reopen();
  // What becoming the leader does.
  log.leaderEpochs.assign(0, log.endOffset);
  await fixture.directory.close();
  expect(renamed.filter((path) => path.startsWith("/data/orders-0/"))).toEqual([]);
});

test("LogDirectory.openLog: many logs are opened without holding the loop", async () => {
  const fixture = await Fixture.open();
  const { clock, random, logger } = fixture;
  const disk = new SimDisk({ random });
  let nowMs = 0;
  let turnBeganMs = 0;
  let longestMs = 0;
  const slowClock: Clock = {
    monotonicMs: () => nowMs,
    wallMs: () => clock.wallMs(),
    timer: () => ({ cancel() {} }),
    async sleep() {
      longestMs = Math.max(longestMs, nowMs - turnBeganMs);
      turnBeganMs = nowMs;
      await Promise.resolve();
    },
  };
  const openFile = disk.open.bind(disk);
  disk.open = (path, mode) => {
    nowMs += 0.1;
    return openFile(path, mode);
  };
  async function openAll(): Promise<LogDirectory> {
    const workers = new SimWorkers({ disk, clock: slowClock, logger });
    const options = { disk, clock: slowClock, random, logger, workers, path: "/data", nodeId: 1 };
    const directory = await LogDirectory.open(options);
    await Promise.all(Array.from({ length: 200 }, (_, partition) => {
      const topicPartition = { topic: "many", partition };
      return directory.createLog(topicPartition, METADATA_TOPIC_ID, DEFAULT_LOG_CONFIG);
    }));
    return directory;
  }
  await (await openAll()).close();
  turnBeganMs = nowMs;
  longestMs = 0;
  const directory = await openAll();
  expect(directory.hadCleanShutdown).toBe(true);
  expect(nowMs - turnBeganMs).toBeLessThan(30);
  expect(longestMs).toBeLessThan(30);
  expect(longestMs).toBeGreaterThan(0);
});

test("LogDirectory.openLog: two calls at once give the same log", async () => {
  const fixture = await Fixture.open();
  fixture.append(1);
  fixture.disk.kill();
  const directory = await fixture.openDirectory();
  const calls = Array.from(
    { length: 20 },
    () => directory.createLog(ORDERS, METADATA_TOPIC_ID, DEFAULT_LOG_CONFIG),
  );
  const logs = await Promise.all(calls);
  expect(new Set(logs).size).toBe(1);
  expect(logs[0]!.endOffset).toBe(offset(1));
});
