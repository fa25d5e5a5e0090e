import { expect, test } from "bun:test";
import assert from "node:assert/strict";
import { ConsumerGroup, JOIN_EPOCH } from "../../../broker/groups/consumer_group.ts";
import { combinedHash, ImageTopics, topicHash } from "../../../broker/groups/group_topics.ts";
import { timestampMs, type Uuid } from "../../../protocol/types.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { Harness, newTopic, NODE_ID, registerBroker } from "../controller/harness.ts";
import { heartbeatOf } from "./members.ts";

function uuid(high: bigint, low: bigint): Uuid {
  const bytes = new DataView(new ArrayBuffer(16));
  bytes.setBigInt64(0, high);
  bytes.setBigInt64(8, low);
  return new Uint8Array(bytes.buffer)
    .toBase64({ alphabet: "base64url", omitPadding: true }) as Uuid;
}

// Computed with the steps of Kafka's Utils.computeTopicHash by the hash library that Kafka has.
test.each<[string, bigint, bigint, number, string[][], bigint]>([
  ["a", 1n, 2n, 1, [[]], -4984864069450367815n],
  [
    "orders",
    0x0123456789abcdefn,
    -0x123456789abcdf0n,
    3,
    [["r1", "r2"], ["r2"]],
    -3553852224298264517n,
  ],
  [
    "Ünï-✓",
    -1n,
    5n,
    10,
    [["eu-west-1a", "eu-west-1b", "eu-west-1c"]],
    -4244284030164215488n,
  ],
  ["big", 7n, 8n, 2000, [["a", "b", "c"], []], 4088188574024529724n],
])(
  "topicHash: %s has the hash that Kafka writes",
  (name, high, low, partitionCount, racks, hash) => {
    const racksOf = (partition: number) => racks[partition % racks.length]!;
    expect(topicHash({ id: uuid(high, low), name, partitionCount, racksOf })).toBe(hash);
  },
);

test.each([
  [0, 0n],
  [1, -4072596861322023719n],
  [2, 6474677130954818427n],
  [40, -8206696101380364437n],
  [200, -6784067509512140777n],
])("combinedHash: of %p topics it is what Kafka's library gives", (length, hash) => {
  const hashes = Array.from(
    { length },
    (_, index) => BigInt.asIntN(64, BigInt(index) * 0x9e3779b97f4a7c15n),
  );
  expect(combinedHash(hashes)).toBe(hash);
});

const OTHERS = [{ id: NODE_ID + 1, rack: "a" }, { id: NODE_ID + 2, rack: "b" }];

/** A cluster whose topic has a replica at one of the other brokers each, as groups see it. */
async function striped() {
  const harness = await Harness.start({ others: OTHERS });
  const { controller } = harness;
  const topics = new ImageTopics(() => controller.image());
  controller.subscribe((image, changes) => topics.follow(image, changes));
  const assignments = OTHERS.map(({ id }, index) => ({ partition: index, replicas: [id] }));
  const [made] = await controller.createTopics([
    newTopic("t", { partitionCount: -1, replicationFactor: -1, assignments }),
  ]);
  assert.equal(made?.error, ErrorCode.NONE);
  return { harness, topics, topicId: controller.image().topicByName("t")!.id };
}

/** A broker is started again with another rack. */
async function restart(harness: Harness, brokerId: number, rack: string | null): Promise<void> {
  const { controller, random } = harness;
  const { logDirs } = controller.image().brokers.get(brokerId)!;
  await registerBroker(controller, { brokerId, rack, random, logDirs });
}

test("ImageTopics: another rack of a broker, and a replica elsewhere, are another hash", async () => {
  const { harness, topics, topicId } = await striped();
  const racks = () => [0, 1].map((partition) => topics.racksOf(topicId, partition));
  const seen = [{ hash: topics.hashOf(["t"]), changeCount: topics.changeCount }];
  const expectOther = () => {
    const now = { hash: topics.hashOf(["t"]), changeCount: topics.changeCount };
    expect(seen.map(({ hash }) => hash)).not.toContain(now.hash);
    expect(now.changeCount).toBeGreaterThan(seen.at(-1)!.changeCount);
    seen.push(now);
  };
  expect(racks()).toEqual([["a"], ["b"]]);
  expect(topics.racksOf(topicId, 2)).toEqual([]);
  expect(topics.racksOf("AAAAAAAAAAAAAAAAAAAAAQ" as Uuid, 0)).toEqual([]);
  await restart(harness, NODE_ID + 2, "c");
  expect(racks()).toEqual([["a"], ["c"]]);
  expectOther();
  const [moved] = await harness.controller.alterPartitionReassignments(
    [{ topic: "t", partition: 0, replicas: [NODE_ID + 2] }],
    { allowReplicationFactorChange: false },
  );
  expect(moved?.error).toBe(ErrorCode.NONE);
  expect(racks()).toEqual([["a", "c"], ["c"]]);
  expectOther();
  await restart(harness, NODE_ID + 2, null);
  expect(racks()).toEqual([["a"], []]);
  expectOther();
  harness.controller.stop();
});

test("ConsumerGroup: racks of replicas that change cause a target, made with the racks that there are now", async () => {
  const { harness, topics, topicId } = await striped();
  let nowMs = 0;
  const context = () => ({
    now: { monotonicMs: nowMs, wallMs: timestampMs(nowMs) },
    topics,
    settings: {
      maxSize: 8,
      allowsUpgrade: true,
      allowsDowngrade: true,
      classicMaxSize: 8,
      sessionTimeoutMs: 45_000,
      heartbeatIntervalMs: 5_000,
      assignmentIntervalMs: 0,
      assignors: ["range"],
    },
  });
  const group = new ConsumerGroup("g");
  const beat = (memberId: string, memberEpoch: number, rackId: string | null) => {
    const outcome = group.heartbeat(
      heartbeatOf(memberId, memberEpoch, {
        rackId,
        ...(memberEpoch === JOIN_EPOCH && {
          rebalanceTimeoutMs: 60_000,
          subscribedTopicNames: ["t"],
          owned: new Map(),
        }),
      }),
      context(),
    );
    assert("answer" in outcome);
    return outcome;
  };
  const targets = () =>
    group.members().map(({ memberId, target }) => [memberId, target.get(topicId)?.[0]]);
  beat("m1", JOIN_EPOCH, "b");
  beat("m2", JOIN_EPOCH, "a");
  expect(targets()).toEqual([["m1", 1], ["m2", 0]]);
  const { epoch } = group;
  const rebalance = () => beat("m2", group.members()[1]!.memberEpoch, null).write.rebalance;
  expect(rebalance()).toBeNull();
  await restart(harness, NODE_ID + 1, "b");
  await restart(harness, NODE_ID + 2, "a");
  nowMs += 1;
  expect(rebalance()?.cause).toBe("topics_changed");
  expect(group.epoch).toBe(epoch + 1);
  expect(group.targetEpoch).toBe(epoch + 1);
  expect(targets()).toEqual([["m1", 0], ["m2", 1]]);
  harness.controller.stop();
});
