import { describe, expect, test } from "bun:test";
import { reachableBrokers, viewPartition } from "../../../broker/controller/cluster_view.ts";
import { watchDirectories } from "../../../broker/partitions/directory_watch.ts";
import { isRefusal } from "../../../broker/partitions/replica_manager.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import {
  describeLogDirsRequest,
  describeLogDirsResponse,
} from "../../../protocol/schemas/describe_log_dirs.ts";
import { newTopic, NODE_ID } from "../controller/harness.ts";
import { batch, DataHarness, type HarnessOptions } from "./harness.ts";

const MIB = 1024 * 1024;
const MOUNTS = { "/a": 100 * MIB, "/b": 100 * MIB };
const PARTITIONS = 8;

/** A node with a topic `t` over two disks, five records in each partition. */
async function start(options: HarnessOptions = {}): Promise<DataHarness> {
  const node = await DataHarness.start({ mounts: MOUNTS, ...options });
  await node.makeTopic("t", { partitionCount: PARTITIONS });
  for (let index = 0; index < PARTITIONS; index++) await node.produced("t", batch(5), { index });
  return node;
}

function onDisk(node: DataHarness, path: string): number[] {
  return node.disks!.at(path).list(path)
    .flatMap(({ name }) => /^t-(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number).sort();
}

/** The error of each partition when it is looked for. */
function errors(node: DataHarness): number[] {
  return Array.from({ length: PARTITIONS }, (_, index) => {
    const found = node.replicaManager.partition("t", index);
    return isRefusal(found) ? found.error : ErrorCode.NONE;
  });
}

/** What `errors` gives when exactly `failed` are offline. */
function offline(failed: readonly number[]): number[] {
  return Array.from(
    { length: PARTITIONS },
    (_, index) => failed.includes(index) ? ErrorCode.KAFKA_STORAGE_ERROR : ErrorCode.NONE,
  );
}

function endOffsets(node: DataHarness): number[] {
  return Array.from({ length: PARTITIONS }, (_, index) => node.partition("t", index).log.endOffset);
}

const WHOLE = Array.from({ length: PARTITIONS }, () => 5);

describe("ReplicaManager with several log directories", () => {
  test("spreads the partitions, notes where each lies, and finds them again", async () => {
    for (const how of ["stop", "crash", "kill"] as const) {
      const node = await start();
      const before = { a: onDisk(node, "/a"), b: onDisk(node, "/b") };
      expect([before.a.length, before.b.length]).toEqual([4, 4]);
      for (const path of ["/a", "/b"]) {
        const { directoryId } = node.logDirectories.online().find((one) => one.path === path)!;
        const assigned = node.controller.image().topicByName("t")!.partitions
          .filter(({ directories }) => directories[0] === directoryId)
          .map(({ partition }) => partition);
        expect(assigned).toEqual(onDisk(node, path));
      }
      await node[how]();
      await node.openWhole();
      expect(endOffsets(node)).toEqual(WHOLE);
      expect({ a: onDisk(node, "/a"), b: onDisk(node, "/b") }).toEqual(before);
    }
  });

  test("a partition is not served before its place is stable in the metadata", async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const node = await DataHarness.start({ seed, mounts: MOUNTS });
      const made = node.makeTopic("t", { partitionCount: PARTITIONS });
      made.catch(() => {});
      await node.clock.advance(seed / 3);
      const served = errors(node).map((error) => error === ErrorCode.NONE);
      node.crash();
      await node.openWhole();
      const partitions = node.controller.image().topicByName("t")?.partitions ?? [];
      for (const [index, wasServed] of served.entries()) {
        const lies = node.logDirectories.directoryOf({ topic: "t", partition: index });
        if (wasServed) expect(partitions[index]!.directories).toEqual([lies!.directoryId]);
      }
      expect(errors(node).slice(0, partitions.length)).toEqual(
        offline([]).slice(0, partitions.length),
      );
    }
  });
});

describe("ReplicaManager: a log directory fails while it runs", () => {
  test("its partitions answer KAFKA_STORAGE_ERROR, the others go on, and all are back later", async () => {
    const node = await start();
    const failures: string[] = [];
    const { logger, config, logDirectories, controller } = node;
    watchDirectories({
      logger,
      config,
      logDirectories,
      changed: () => node.broker.lifecycle.directoriesChanged(),
      onFailure: (message) => failures.push(message),
    });
    const lost = onDisk(node, "/b");
    node.disks!.fail("/b");
    for (let index = 0; index < PARTITIONS; index++) {
      const { errorCode } = await node.produced("t", batch(), { index });
      expect(errorCode).toBe(offline(lost)[index]!);
    }
    expect(errors(node)).toEqual(offline(lost));
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const found = await node.fetched("t", { partition }, { maxWaitMs: 0 });
      expect(found.errorCode).toBe(offline(lost)[partition]!);
    }
    await node.clock.advance(100);
    const [a, b] = logDirectories.states();
    const image = controller.image();
    expect(image.brokers.get(NODE_ID)!.logDirs).toEqual([a!.directory!.directoryId]);
    const viewer = {
      listenerName: "PLAINTEXT",
      nodeId: NODE_ID,
      advertisedHost: "h",
      advertisedPort: 1,
    };
    for (const partition of image.topicByName("t")!.partitions) {
      const view = viewPartition(image, partition, reachableBrokers(image, viewer));
      expect(view.offlineReplicas).toEqual(lost.includes(partition.partition) ? [NODE_ID] : []);
    }
    const asked = node.ask(
      node.apis.describeLogDirs,
      [describeLogDirsRequest, describeLogDirsResponse],
      5,
      { topics: null },
    );
    const { results } = (await asked.answer)!;
    expect(results.map(({ errorCode, logDir, topics }) => [errorCode, logDir, topics.length]))
      .toEqual([[ErrorCode.NONE, "/a", 1], [ErrorCode.KAFKA_STORAGE_ERROR, "/b", 0]]);
    expect(b!.offlineReason).toContain("log directory /b is offline after a disk failure");
    expect(failures).toEqual([]);
    // New partitions go to what is left.
    await node.makeTopic("u", { partitionCount: 3 });
    expect(node.partition("u", 2).log.directory).toBe("/a/u-2");
    await node.stop();
    node.disks!.mend("/b");
    await node.openWhole();
    expect(errors(node)).toEqual(offline([]));
    const ends = endOffsets(node);
    for (let index = 0; index < PARTITIONS; index++) {
      if (lost.includes(index)) expect(ends[index]).toBeGreaterThanOrEqual(5);
      else expect(ends[index]).toBe(6);
    }
  });

  test("the last one that fails is the end", async () => {
    const node = await start();
    const failures: string[] = [];
    const { logger, config, logDirectories } = node;
    const onFailure = (message: string) => failures.push(message);
    const changed = () => node.broker.lifecycle.directoriesChanged();
    watchDirectories({ logger, config, logDirectories, changed, onFailure });
    for (const path of ["/a", "/b"]) {
      node.disks!.fail(path);
      await node.produced("t", batch(), { index: onDisk(node, path)[0]! });
    }
    expect(failures).toHaveLength(1);
    expect(failures[0]).toContain("No log directory can be used any more: log directory /b");
  });
});

test("cordoned.log.dirs: no new partitions there; none at all when all are cordoned", async () => {
  const node = await DataHarness.start({ mounts: MOUNTS });
  const { logger, config, logDirectories, controller } = node;
  const cordon = async (value: string) => {
    config.setDynamic({ perBroker: new Map([["cordoned.log.dirs", value]]) });
    await node.clock.advance(10);
  };
  const onFailure = () => {};
  const changed = () => node.broker.lifecycle.directoriesChanged();
  const stop = watchDirectories({ logger, config, logDirectories, changed, onFailure });
  await cordon("/a");
  await node.makeTopic("t", { partitionCount: 4 });
  expect([onDisk(node, "/a"), onDisk(node, "/b")]).toEqual([[], [0, 1, 2, 3]]);
  await cordon("/a,/b");
  const [refused] = await node.run(controller.createTopics([newTopic("u")]));
  expect(refused).toMatchObject({ error: ErrorCode.INVALID_REPLICATION_FACTOR });
  expect(refused).toMatchObject({ message: expect.stringContaining("cordoned") });
  // What is there goes on.
  expect((await node.produced("t", batch())).errorCode).toBe(ErrorCode.NONE);
  await cordon("/b");
  await node.makeTopic("v", { partitionCount: 2 });
  expect(node.partition("v", 1).log.directory).toBe("/a/v-1");
  const asked = node.ask(
    node.apis.describeLogDirs,
    [describeLogDirsRequest, describeLogDirsResponse],
    5,
    { topics: null },
  );
  expect((await asked.answer)!.results.map(({ isCordoned }) => isCordoned)).toEqual([false, true]);
  stop();
});

describe("ReplicaManager: a log directory is away at the start", () => {
  const aways: readonly {
    readonly title: string;
    readonly leave: (node: DataHarness) => void;
    readonly comeBack: (node: DataHarness) => void;
  }[] = [
    {
      title: "its disk fails",
      leave: (node) => node.disks!.fail("/b"),
      comeBack: (node) => node.disks!.mend("/b"),
    },
    {
      title: "its disk is not mounted",
      leave: (node) => node.disks!.unmount("/b"),
      comeBack: (node) => node.disks!.remount("/b"),
    },
  ];
  for (const { title, leave, comeBack } of aways) {
    for (const how of ["stop", "crash", "kill"] as const) {
      test(`${title} (${how}): its partitions are refused, and made anew nowhere`, async () => {
        const node = await start();
        const lost = onDisk(node, "/b");
        const kept = onDisk(node, "/a");
        await node[how]();
        leave(node);
        for (let round = 0; round < 2; round++) {
          await node.openWhole();
          expect(errors(node)).toEqual(offline(lost));
          for (const index of lost) {
            const { errorCode } = await node.produced("t", batch(), { index });
            expect(errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
          }
          await node.clock.advance(60_000);
          expect(onDisk(node, "/a")).toEqual(kept);
          await node.stop();
        }
        expect(JSON.stringify(node.logger.lines)).toContain("which is missing or offline");
        comeBack(node);
        await node.openWhole();
        expect(endOffsets(node)).toEqual(WHOLE);
      });
    }
  }

  test("its topics can be deleted, and what comes back with the disk is a stray that is kept", async () => {
    const node = await start();
    const lost = onDisk(node, "/b");
    await node.stop();
    node.disks!.unmount("/b");
    await node.openWhole();
    const { id } = node.controller.image().topicByName("t")!;
    await node.run(node.controller.deleteTopics([{ id }]));
    await node.makeTopic("t", { partitionCount: PARTITIONS });
    expect(errors(node)).toEqual(offline([]));
    expect(endOffsets(node)).toEqual(WHOLE.map(() => 0));
    const { errorCode } = await node.produced("t", batch(3), { index: lost[0]! });
    expect(errorCode).toBe(ErrorCode.NONE);
    await node.stop();
    node.disks!.remount("/b");
    await node.openWhole();
    // Those made on the disk that took its place are away now; the old ones must not stand in for them.
    for (const [index, error] of errors(node).entries()) {
      const { log } = error === ErrorCode.NONE ? node.partition("t", index) : { log: null };
      if (log !== null) expect(log.directory).toBe(`/a/t-${index}`);
    }
    const names = node.disks!.list("/b").map(({ name }) => name).filter((name) => /^t-/.test(name));
    expect(names).toHaveLength(lost.length);
  });
});

describe("ReplicaManager: what lies where it should not", () => {
  test("a partition that is gone from its directory is refused, not made anew", async () => {
    const node = await start();
    const [index] = onDisk(node, "/b");
    await node.stop();
    node.disks!.removeDirectory(`/b/t-${index}`);
    await node.openWhole();
    expect(errors(node)).toEqual(offline([index!]));
    expect(JSON.stringify(node.logger.lines)).toContain("should lie in /b and are gone");
  });

  test("a partition moved by hand is served where it is, and the metadata follows", async () => {
    const node = await start();
    const [index] = onDisk(node, "/b");
    await node.stop();
    copyDirectory(node, `/b/t-${index}`, `/a/t-${index}`);
    node.disks!.removeDirectory(`/b/t-${index}`);
    await node.openWhole();
    expect(endOffsets(node)).toEqual(WHOLE);
    const { directoryId } = node.logDirectories.online().find(({ path }) => path === "/a")!;
    const image = node.controller.image().topicByName("t")!.partitions[index!]!;
    expect(image.directories).toEqual([directoryId]);
  });

  test("of two copies the one that the metadata names is served; the other is kept aside", async () => {
    const node = await start();
    const [index] = onDisk(node, "/b");
    await node.stop();
    copyDirectory(node, `/b/t-${index}`, `/a/t-${index}`);
    await node.openWhole();
    await node.produced("t", batch(2), { index: index! });
    expect(node.partition("t", index).log.directory).toBe(`/b/t-${index}`);
    const aside = node.disks!.list("/a").filter(({ name }) => name.startsWith(`t-${index}.`));
    expect(aside.map(({ name }) => name.endsWith("-stray"))).toEqual([true]);
    // It does not come back when its better is away.
    await node.stop();
    node.disks!.fail("/b");
    await node.openWhole();
    expect(errors(node)).toEqual(offline(onDisk(node, "/b")));
  });

  test("a copy in another directory is not served in place of one that is away", async () => {
    const node = await start();
    const [index] = onDisk(node, "/b");
    await node.stop();
    copyDirectory(node, `/b/t-${index}`, `/a/t-${index}`);
    node.disks!.fail("/b");
    await node.openWhole();
    expect(errors(node)[index!]).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    expect(JSON.stringify(node.logger.lines)).toContain("lies in /a may be an old copy");
    expect(onDisk(node, "/a")).toContain(index!);
  });
});

function copyDirectory(node: DataHarness, from: string, to: string): void {
  const disks = node.disks!;
  const source = disks.at(from.slice(0, 2));
  for (const path of source.files().filter((file) => file.startsWith(`${from}/`))) {
    disks.at(to.slice(0, 2)).plant(to + path.slice(from.length), source.bytesOf(path));
  }
}
