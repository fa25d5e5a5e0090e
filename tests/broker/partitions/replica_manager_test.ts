import { describe, expect, test } from "bun:test";
import { Partition } from "../../../broker/partitions/partition.ts";
import { isRefusal, ReplicaManager } from "../../../broker/partitions/replica_manager.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { SimWorkers } from "../../sim/sim_workers.ts";
import { newTopic, NODE_ID } from "../controller/harness.ts";
import { batch, DataHarness, METADATA_DIRECTORY, NO_PEERS, UNKNOWN_TOPIC_ID } from "./harness.ts";

function errorOf(found: Partition | { readonly error: number }): number {
  return found instanceof Partition ? ErrorCode.NONE : found.error;
}

function remove(node: DataHarness, name: string): Promise<unknown> {
  const id = node.controller.image().topicByName(name)!.id;
  return node.controller.deleteTopics([{ id }]);
}

function create(node: DataHarness, name: string, partitionCount = 1): Promise<unknown> {
  return node.controller.createTopics([newTopic(name, { partitionCount })]);
}

describe("ReplicaManager lookup", () => {
  test("by name and by id, with Kafka's errors", async () => {
    const node = await DataHarness.start();
    const id = await node.makeTopic("a", { partitionCount: 2 });
    const { replicaManager } = node;
    expect(replicaManager.partition("a", 1)).toBe(replicaManager.partitionById(id, 1));
    const cases: readonly [Partition | { readonly error: number }, keyof typeof ErrorCode][] = [
      [replicaManager.partition("a", 0), "NONE"],
      [replicaManager.partition("a", 2), "UNKNOWN_TOPIC_OR_PARTITION"],
      [replicaManager.partition("a", -1), "UNKNOWN_TOPIC_OR_PARTITION"],
      [replicaManager.partition("b", 0), "UNKNOWN_TOPIC_OR_PARTITION"],
      [replicaManager.partitionById(id, 2), "UNKNOWN_TOPIC_OR_PARTITION"],
      [replicaManager.partitionById(UNKNOWN_TOPIC_ID, 0), "UNKNOWN_TOPIC_ID"],
    ];
    cases.forEach(([found, expected], index) => {
      expect([index, errorOf(found)]).toEqual([index, ErrorCode[expected]]);
    });
  });

  test("a partition led by another node answers NOT_LEADER_OR_FOLLOWER, and who leads", async () => {
    const node = await DataHarness.start();
    await node.makeTopic("a");
    const partition = node.partition("a");
    partition.updateImage({ ...partition.image, leader: 2 });
    const found = node.replicaManager.partition("a", 0);
    expect(errorOf(found)).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    expect(isRefusal(found) && found.image?.leader).toBe(2);
    const answer = await node.produced("a", batch(), { version: 10 });
    expect(answer.errorCode).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    expect(answer.currentLeader).toEqual({ leaderId: 2, leaderEpoch: 0 });
    const asked = node.fetch({ topics: [{ topic: "a", partitions: [{}] }] }, 16);
    expect((await asked.answer)!.responses[0]!.partitions[0]!.currentLeader.leaderId).toBe(2);
  });

  test("a partition that is not open yet asks its client to try again; whenReady waits", async () => {
    const node = await DataHarness.start();
    await node.run(create(node, "a"));
    const now = node.replicaManager.partition("a", 0);
    expect(errorOf(now)).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    const ready = await node.run(node.replicaManager.whenReady("a", 0));
    expect(errorOf(ready)).toBe(ErrorCode.NONE);
    expect(errorOf(await node.replicaManager.whenReady("b", 0)))
      .toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  });

  test("a log that cannot be opened answers KAFKA_STORAGE_ERROR; the others are served", async () => {
    const node = await DataHarness.start();
    await node.makeTopic("b");
    node.disk.faults.sync = (path) => path.includes("/a-0/") ? "EIO" : null;
    await node.run(create(node, "a"));
    const ready = await node.run(node.replicaManager.whenReady("a", 0));
    await node.run(node.replicaManager.settled());
    expect(errorOf(ready)).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    expect(errorOf(node.replicaManager.partition("a", 0))).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  });
});

describe("ReplicaManager opens again", () => {
  const cases = [{ code: "ENOSPC", comesBack: true }, { code: "EIO", comesBack: false }] as const;
  for (const { code, comesBack } of cases) {
    test(`a partition whose directory could not be made (${code}): ${comesBack}`, async () => {
      const node = await DataHarness.start();
      node.disk.faults.write = (path) => path.includes("/a-0/") ? code : null;
      await node.run(create(node, "a"));
      await node.run(node.replicaManager.whenReady("a", 0));
      await node.clock.advance(3000);
      expect(errorOf(node.replicaManager.partition("a", 0))).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
      node.disk.faults.write = () => null;
      await node.clock.advance(1500);
      await node.run(node.replicaManager.settled());
      const expected = comesBack ? ErrorCode.NONE : ErrorCode.KAFKA_STORAGE_ERROR;
      expect(errorOf(node.replicaManager.partition("a", 0))).toBe(expected);
    });
  }
});

test("ReplicaManager: who waits for a partition goes on while the controller changes", async () => {
  const node = await DataHarness.start();
  const { controller } = node;
  const assign = controller.assignReplicasToDirs.bind(controller);
  let refusals = 2;
  controller.assignReplicasToDirs = async (brokerId, assignments) => {
    if (refusals-- <= 0) return await assign(brokerId, assignments);
    return assignments.map((assignment) => ({ assignment, error: ErrorCode.NOT_CONTROLLER }));
  };
  await node.run(create(node, "a"));
  const ready = node.replicaManager.whenReady("a", 0);
  await node.clock.advance(1500);
  expect(errorOf(node.replicaManager.partition("a", 0))).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  await node.clock.advance(1500);
  expect(errorOf(await node.run(ready))).toBe(ErrorCode.NONE);
  expect(errorOf(node.replicaManager.partition("a", 0))).toBe(ErrorCode.NONE);
});

describe("ReplicaManager follows the metadata", () => {
  test("through a restart", async () => {
    const node = await DataHarness.start();
    await node.makeTopic("a", { partitionCount: 3 });
    await node.produced("a", batch(5), { index: 2 });
    await node.stop();
    await node.openWhole();
    expect(node.partition("a", 2).log.endOffset).toBe(5 as never);
    expect(node.partition("a", 2).highWatermark).toBe(5 as never);
    expect([...node.replicaManager.partitions()]).toHaveLength(3);
  });

  test("a deleted topic is gone at once, its waits are answered, its directories move away", async () => {
    const node = await DataHarness.start();
    const id = await node.makeTopic("a", { partitionCount: 40 });
    const asked = node.produce("a", batch());
    await node.run(remove(node, "a"));
    expect(errorOf(node.replicaManager.partition("a", 0)))
      .toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    expect(errorOf(node.replicaManager.partitionById(id, 0))).toBe(ErrorCode.UNKNOWN_TOPIC_ID);
    const answer = await node.run(asked.answer);
    expect([ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION] as number[])
      .toContain(answer!.responses[0]!.partitionResponses[0]!.errorCode);
    await node.run(node.replicaManager.settled());
    const left = node.disk.list("/data").filter(({ name }) => /^a-\d+$/.test(name));
    expect(left).toEqual([]);
    await node.clock.advance(120_000);
    expect(node.disk.list("/data").filter(({ name }) => name.startsWith("a-"))).toEqual([]);
  });

  test("a topic made again under its name starts empty", async () => {
    const node = await DataHarness.start();
    const before = await node.makeTopic("a");
    await node.produced("a", batch(5));
    await node.run(remove(node, "a"));
    const after = await node.makeTopic("a");
    expect(after).not.toBe(before);
    expect(node.partition("a").log.endOffset).toBe(0 as never);
    expect((await node.produced("a", batch())).baseOffset).toBe(0);
  });

  test("a topic deleted while its log opens is not served", async () => {
    const node = await DataHarness.start();
    for (let round = 0; round < 20; round++) {
      await node.run(create(node, "a"));
      for (let turn = 0; turn < round; turn++) await node.clock.advance(0.3);
      await node.run(remove(node, "a"));
      await node.run(node.replicaManager.settled());
      expect(errorOf(node.replicaManager.partition("a", 0)))
        .toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
      expect([...node.replicaManager.partitions()]).toEqual([]);
    }
  });

  test("records of a deleted topic do not come back in the topic made after it, crash or not", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const node = await DataHarness.start({ seed });
      await node.makeTopic("a");
      await node.produced("a", batch(5));
      // The deletion and the new topic are in the metadata log; the directory has not moved yet.
      node.disk.faults.syncDirectory = (path) => path === "/data" ? "EIO" : null;
      await node.run(remove(node, "a"));
      await node.run(create(node, "a"));
      node.disk.faults = {};
      node.crash();
      await node.openWhole();
      expect(node.partition("a").log.endOffset).toBe(0 as never);
      expect((await node.produced("a", batch())).baseOffset).toBe(0);
      await node.stop();
      await node.openWhole();
      expect(node.partition("a").log.endOffset).toBe(1 as never);
    }
  });

  test("records that the metadata has lost are kept aside when their name is taken again", async () => {
    const node = await DataHarness.start();
    await node.makeTopic("a");
    await node.produced("a", batch(5));
    await node.stop();
    node.disk.removeDirectory(METADATA_DIRECTORY);
    node.disk.makeDirectory(METADATA_DIRECTORY);
    await node.openWhole();
    await node.register();
    await node.makeTopic("a");
    expect(node.partition("a").log.endOffset).toBe(0 as never);
    await node.run(node.clock.sleep(10 * 60_000));
    const kept = node.disk.list("/data").filter(({ name }) => /^a-0\..*-stray$/.test(name));
    expect(kept).toHaveLength(1);
    const log = node.disk.open(`/data/${kept[0]!.name}/00000000000000000000.log`, "read");
    expect(log.sizeBytes).toBeGreaterThan(5 * 5);
  });

  test("a directory that belongs to no topic is kept, and named", async () => {
    const node = await DataHarness.start();
    await node.makeTopic("a");
    await node.stop();
    node.disk.plant("/data/stray-0/partition.metadata", new TextEncoder().encode("version: 0\n"));
    await node.openWhole();
    expect(node.disk.exists("/data/stray-0")).toBe(true);
    expect(JSON.stringify(node.logger.lines)).toContain("stray-0");
  });

  test("settings of a topic reach its log", async () => {
    const node = await DataHarness.start();
    await node.makeTopic("a");
    expect((await node.produced("a", batch(1, { valueBytes: 2000 }))).errorCode).toBe(0);
    await node.run(node.controller.incrementalAlterConfigs([{
      resource: { type: "topic", name: "a" },
      operations: [{ name: "max.message.bytes", operation: "set", value: "1000" }],
    }]));
    expect((await node.produced("a", batch(1, { valueBytes: 2000 }))).errorCode)
      .toBe(ErrorCode.MESSAGE_TOO_LARGE);
  });

  test("hundreds of partitions open, are deleted and leave nothing behind", async () => {
    const node = await DataHarness.start();
    await node.makeTopic("many", { partitionCount: 300 });
    expect([...node.replicaManager.partitions()]).toHaveLength(300);
    await node.stop();
    await node.openWhole();
    expect([...node.replicaManager.partitions()]).toHaveLength(300);
    await node.run(remove(node, "many"));
    await node.run(node.replicaManager.settled());
    await node.stop();
    expect(node.process.pendingTimers).toBe(0);
  });
});

describe("ReplicaManager: a topic whose log could not be opened", () => {
  test("is deleted with its directory, and the topic made after it starts empty", async () => {
    const node = await DataHarness.start();
    await node.makeTopic("a");
    await node.produced("a", batch(5));
    await node.stop();
    node.disk.faults.read = (path) => path.includes("/a-0/") ? "EIO" : null;
    await node.openWhole();
    expect(errorOf(node.replicaManager.partition("a", 0))).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    node.disk.faults = {};
    await node.run(remove(node, "a"));
    await node.makeTopic("a");
    await node.run(node.replicaManager.settled());
    expect(errorOf(node.replicaManager.partition("a", 0))).toBe(ErrorCode.NONE);
    expect(node.partition("a").log.endOffset).toBe(0 as never);
  });
});

test("ReplicaManager: a partition that changes while it opens is opened once, its waits are kept", async () => {
  const node = await DataHarness.start();
  await node.makeTopic("a");
  const image = node.controller.image();
  const topic = image.topicByName("a")!;
  const quiet = {
    createdTopics: [],
    deletedTopics: [],
    changedPartitions: [],
    changedConfigs: [],
    changedBrokers: [],
    changedFeatures: [],
  };
  const manager = new ReplicaManager({
    peers: NO_PEERS,
    proposeIsr: () => {},
    nodeId: NODE_ID,
    clock: node.process,
    logger: node.logger,
    config: node.config,
    logDirectories: node.logDirectories,
    workers: new SimWorkers({ disk: node.disk, clock: node.process, logger: node.logger }),
    controller: {
      image: () => image,
      assignReplicasToDirs: (...asked) => node.controller.assignReplicasToDirs(...asked),
      subscribe(listener) {
        const [after] = topic.partitions;
        listener(image, { ...quiet, createdTopics: [topic] });
        listener(image, {
          ...quiet,
          changedPartitions: [{ topic, before: after!, after: after! }],
        });
        return () => {};
      },
    },
  });
  manager.start();
  const first = await node.run(manager.whenReady("a", 0));
  await node.run(manager.settled());
  expect(errorOf(first)).toBe(ErrorCode.NONE);
  expect(manager.partition("a", 0) === first).toBe(true);
  await node.run(manager.close());
});
