import { expect, test } from "bun:test";
import { GROUP_METADATA_TOPIC } from "../../../broker/controller/internal_topics.ts";
import { partitionForKey } from "../../../broker/coordination/led_shards.ts";
import { GroupCoordinator } from "../../../broker/groups/coordinator.ts";
import { coordinatorLogOpener } from "../../../broker/coordination/partition_log.ts";
import { groupCoordinatorSettings } from "../../../broker/groups/settings.ts";
import { offsetSamples } from "../../../broker/telemetry/broker_samples.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { buildBatch } from "../../../protocol/records.ts";
import { leaderEpoch, offset, ZERO_UUID } from "../../../protocol/types.ts";
import { NODE_ID } from "../controller/harness.ts";
import { GroupHarness } from "./harness.ts";

const NO_MEMBER = { memberId: "", groupInstanceId: null, generationId: -1 };

function commitOf(
  groupId: string,
  partition: number,
  value: number,
  metadata: string | null = null,
) {
  return {
    groupId,
    ...NO_MEMBER,
    knowsGroupIdNotFound: true,
    retentionTimeMs: -1,
    offsets: [{
      topic: "t",
      topicId: ZERO_UUID,
      partition,
      offset: offset(value),
      leaderEpoch: leaderEpoch(5),
      metadata,
    }],
  };
}

async function commit(harness: GroupHarness, groupId: string, partition: number, value: number) {
  return await harness.run(
    Promise.resolve(harness.coordinator.commitOffsets(commitOf(groupId, partition, value))),
  );
}

function fetched(harness: GroupHarness, groupId: string, partition: number) {
  const answer = harness.coordinator.fetchOffsets(
    groupId,
    [{ topic: "t", topicId: ZERO_UUID, partitions: [partition] }],
    false,
  );
  return "topics" in answer ? answer.topics[0]?.partitions[0]?.offset : answer.error;
}

// Computed by Java: Math.abs(groupId.hashCode()) % 50, with 0 for the one int that has no absolute value.
test.each([
  ["", 0],
  ["a", 47],
  ["group", 47],
  ["my-consumer-group", 13],
  ["polygenelubricants", 0],
  ["console-consumer-12345", 6],
  ["Ünïcödé ✓", 30],
])("partitionForKey: %p goes where Kafka puts it", (groupId, partition) => {
  expect(partitionForKey(groupId, 50)).toBe(partition);
});

test("GroupCoordinator: before the topic exists this is not the coordinator", async () => {
  const harness = await GroupHarness.start();
  expect(fetched(harness, "g", 0)).toBe(ErrorCode.NOT_COORDINATOR);
  expect(harness.coordinator.heartbeat("g", NO_MEMBER)).toBe(ErrorCode.NOT_COORDINATOR);
  expect(await commit(harness, "g", 0, 1)).toEqual({ error: ErrorCode.NOT_COORDINATOR });
});

test("GroupCoordinator: finding a group makes the topic once, and names its leader", async () => {
  const harness = await GroupHarness.start();
  const both = await harness.run(
    Promise.all([harness.coordinator.find("a"), harness.coordinator.find("b")]),
  );
  expect(both).toEqual([{ error: ErrorCode.NONE, leader: 1 }, {
    error: ErrorCode.NONE,
    leader: 1,
  }]);
  const topic = harness.controller.image().topicByName("__consumer_offsets");
  expect(topic?.partitions.length).toBe(4);
  expect(Object.fromEntries(harness.controller.image().configs("topic", "__consumer_offsets")))
    .toEqual({
      "cleanup.policy": "compact",
      "compression.type": "producer",
      "segment.bytes": "104857600",
    });
  expect(fetched(harness, "a", 0)).toBe(offset(-1));
});

test("GroupCoordinator: a commit is answered when it is on stable storage, and seen then", async () => {
  const harness = await GroupHarness.start({ maxSyncMs: 50 });
  await harness.ready();
  let answer: unknown = null;
  void Promise.resolve(harness.coordinator.commitOffsets(commitOf("g", 3, 42))).then((errors) => {
    answer = errors;
  });
  await harness.clock.advance(0);
  expect(answer).toBeNull();
  expect(fetched(harness, "g", 3)).toBe(offset(-1));
  await harness.clock.advance(200);
  expect(answer).toEqual([ErrorCode.NONE]);
  expect(fetched(harness, "g", 3)).toBe(offset(42));
});

test("GroupCoordinator: what was acknowledged survives a power cut; loading is never empty", async () => {
  const harness = await GroupHarness.start();
  await harness.ready();
  for (let i = 0; i < 40; i++) {
    expect(await commit(harness, `g${i}`, 1, i)).toEqual([ErrorCode.NONE]);
  }
  harness.crash();
  await harness.open();
  expect(fetched(harness, "g7", 1)).toBe(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
  expect(harness.coordinator.listGroups().error).toBe(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
  expect(await commit(harness, "g7", 1, 9)).toEqual({
    error: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  });
  // A member that lives need not rejoin only because we load.
  expect(harness.coordinator.heartbeat("g7", NO_MEMBER)).toBe(ErrorCode.NONE);
  await harness.run(harness.coordinator.loaded());
  for (let i = 0; i < 40; i++) expect(fetched(harness, `g${i}`, 1)).toBe(offset(i));
  expect(harness.coordinator.listGroups().groups.length).toBe(40);
});

test("GroupCoordinator: many partitions are opened at once, and read a few at a time", async () => {
  const harness = await GroupHarness.start({ flags: { "offsets.topic.num.partitions": "50" } });
  await harness.ready();
  for (let i = 0; i < 100; i++) await commit(harness, `g${i}`, 1, i);
  await harness.run(harness.coordinator.stop());
  const { clock } = harness;
  const opening = { now: 0, most: 0 };
  const reading = { now: 0, most: 0 };
  const during = async <T>(count: typeof opening, work: () => T | Promise<T>): Promise<T> => {
    count.most = Math.max(count.most, ++count.now);
    // A follower has to say how far it is; a disk has to be read.
    await clock.sleep(20);
    const result = await work();
    count.now--;
    return result;
  };
  const openLog = coordinatorLogOpener(harness.replicaManager, GROUP_METADATA_TOPIC);
  const coordinator = new GroupCoordinator({
    nodeId: NODE_ID,
    clock,
    random: harness.random.fork("another"),
    logger: harness.logger,
    settings: groupCoordinatorSettings(harness.config),
    controller: harness.controller,
    holdsLease: () => true,
    openLog: async (partition) => {
      const log = await during(opening, () => openLog(partition));
      if (log === null) return null;
      const read = log.read.bind(log);
      log.read = (...range) => during(reading, () => read(...range));
      return log;
    },
  });
  coordinator.start();
  expect(coordinator.fetchOffsets("g7", null, false)).toEqual({
    error: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  });
  const sinceMs = clock.monotonicMs();
  await harness.run(coordinator.loaded());
  expect(clock.monotonicMs() - sinceMs).toBeLessThan(20 + (50 / 4 + 1) * 21);
  expect([opening.most, reading.most]).toEqual([50, 4]);
  for (let i = 0; i < 100; i++) {
    expect(coordinator.fetchOffsets(`g${i}`, null, false)).toMatchObject({
      topics: [{ partitions: [{ offset: i }] }],
    });
  }
  await harness.run(coordinator.stop());
});

test("GroupCoordinator: metadata and leader epoch come back as committed", async () => {
  const harness = await GroupHarness.start();
  await harness.ready();
  await harness.run(
    Promise.resolve(harness.coordinator.commitOffsets(commitOf("g", 0, 7, "Grüße"))),
  );
  harness.kill();
  await harness.open();
  await harness.run(harness.coordinator.loaded());
  expect(harness.coordinator.fetchOffsets("g", null, true)).toEqual({
    error: ErrorCode.NONE,
    topics: [{
      topic: "t",
      topicId: ZERO_UUID,
      partitions: [{
        partition: 0,
        offset: offset(7),
        leaderEpoch: leaderEpoch(5),
        metadata: "Grüße",
        error: ErrorCode.NONE,
      }],
    }],
  });
});

test("GroupCoordinator.commitOffsets: refusals leave nothing behind", async () => {
  const harness = await GroupHarness.start();
  await harness.ready();
  const tooLarge = harness.coordinator.commitOffsets(commitOf("g", 0, 7, "x".repeat(4097)));
  expect(tooLarge).toEqual([ErrorCode.OFFSET_METADATA_TOO_LARGE]);
  const member = { ...commitOf("g", 0, 7), memberId: "m", generationId: 3 };
  expect(harness.coordinator.commitOffsets(member)).toEqual({
    error: ErrorCode.GROUP_ID_NOT_FOUND,
  });
  expect(harness.coordinator.commitOffsets({ ...member, knowsGroupIdNotFound: false })).toEqual({
    error: ErrorCode.ILLEGAL_GENERATION,
  });
  expect(harness.coordinator.listGroups().groups).toEqual([]);
});

test("GroupCoordinator.deleteGroups: takes a group with its offsets, and what is on its way", async () => {
  const harness = await GroupHarness.start();
  await harness.ready();
  await commit(harness, "g", 0, 1);
  const late = harness.coordinator.commitOffsets(commitOf("g", 1, 2));
  const deleted = harness.coordinator.deleteGroups(["g", "nobody"]);
  expect(await harness.run(deleted)).toEqual([ErrorCode.NONE, ErrorCode.GROUP_ID_NOT_FOUND]);
  expect(await late).toEqual([ErrorCode.NONE]);
  expect(harness.coordinator.describeGroup("g").error).toBe(ErrorCode.GROUP_ID_NOT_FOUND);
  harness.crash();
  await harness.open();
  await harness.run(harness.coordinator.loaded());
  expect(fetched(harness, "g", 0)).toBe(offset(-1));
  expect(fetched(harness, "g", 1)).toBe(offset(-1));
  expect(harness.coordinator.listGroups().groups).toEqual([]);
});

test("GroupCoordinator.deleteOffsets: takes single offsets for good", async () => {
  const harness = await GroupHarness.start();
  await harness.ready();
  await commit(harness, "g", 0, 1);
  await commit(harness, "g", 1, 2);
  const errors = await harness.run(
    harness.coordinator.deleteOffsets("g", [{ topic: "t", partition: 0 }, {
      topic: "t",
      partition: 9,
    }]),
  );
  expect(errors).toEqual([ErrorCode.NONE, ErrorCode.NONE]);
  harness.crash();
  await harness.open();
  await harness.run(harness.coordinator.loaded());
  expect(fetched(harness, "g", 0)).toBe(offset(-1));
  expect(fetched(harness, "g", 1)).toBe(offset(2));
});

test("GroupCoordinator: deleting a topic deletes its offsets for good", async () => {
  const harness = await GroupHarness.start();
  await harness.ready();
  await commit(harness, "g", 0, 1);
  await harness.run(harness.controller.deleteTopics([{ name: "t" }]));
  await harness.clock.advance(100);
  expect(fetched(harness, "g", 0)).toBe(offset(-1));
  await harness.makeTopic("t", 1);
  harness.crash();
  await harness.open();
  await harness.run(harness.coordinator.loaded());
  expect(fetched(harness, "g", 0)).toBe(offset(-1));
});

test("GroupCoordinator: offsets expire after their retention, and the group with them", async () => {
  const harness = await GroupHarness.start({ flags: { "offsets.retention.minutes": "60" } });
  await harness.ready();
  await commit(harness, "old", 0, 1);
  await harness.clock.advance(45 * 60_000);
  await commit(harness, "young", 0, 2);
  await harness.run(Promise.resolve(
    harness.coordinator.commitOffsets({ ...commitOf("own", 0, 3), retentionTimeMs: 7_200_000 }),
  ));
  await harness.clock.advance(25 * 60_000);
  const groups = () => harness.coordinator.listGroups().groups.map(({ groupId }) => groupId).sort();
  expect(groups()).toEqual(["own", "young"]);
  expect(fetched(harness, "old", 0)).toBe(offset(-1));
  expect(fetched(harness, "young", 0)).toBe(offset(2));
  await harness.clock.advance(60 * 60_000);
  expect(groups()).toEqual(["own"]);
  harness.crash();
  await harness.open();
  await harness.run(harness.coordinator.loaded());
  expect(groups()).toEqual(["own"]);
  await harness.clock.advance(60 * 60_000);
  expect(groups()).toEqual([]);
});

test("GroupCoordinator: a log that cannot be read is not taken for empty", async () => {
  const harness = await GroupHarness.start();
  await harness.ready();
  await commit(harness, "g", 0, 1);
  const partition = partitionForKey("g", 4);
  harness.kill();
  harness.disk.faults.read = (path) => (
    path.includes(`__consumer_offsets-${partition}/`) && path.endsWith(".log") ? "EIO" : null
  );
  await harness.open();
  await harness.run(harness.coordinator.loaded());
  expect(fetched(harness, "g", 0)).toBe(ErrorCode.NOT_COORDINATOR);
  expect(await commit(harness, "g", 0, 2)).toEqual({ error: ErrorCode.NOT_COORDINATOR });
  expect(harness.logger.lines.filter(({ level }) => level === "error").length).toBeGreaterThan(0);
});

/** No sync ends from now on until the returned function is called. */
function holdDisk({ disk }: GroupHarness): () => void {
  let release = () => {};
  const held = new Promise<void>((resolve) => release = resolve);
  const latency = disk.latency.bind(disk);
  disk.latency = () => held.then(() => latency());
  return release;
}

test("GroupCoordinator.commitOffsets: a disk that takes too long is answered for in time", async () => {
  const flags = { "offsets.commit.timeout.ms": "2000" };
  const harness = await GroupHarness.start({ flags });
  await harness.ready();
  const release = holdDisk(harness);
  const first = Promise.resolve(harness.coordinator.commitOffsets(commitOf("g", 0, 1)));
  await harness.clock.advance(1_500);
  const second = Promise.resolve(harness.coordinator.commitOffsets(commitOf("g", 1, 2)));
  await harness.clock.advance(1_000);
  expect(await first).toEqual([ErrorCode.COORDINATOR_NOT_AVAILABLE]);
  expect(fetched(harness, "g", 0)).toBe(offset(-1));
  release();
  // What was written counts when the disk is done with it, and who still waits is told so.
  expect(await harness.run(second)).toEqual([ErrorCode.NONE]);
  expect(fetched(harness, "g", 0)).toBe(offset(1));
  expect(fetched(harness, "g", 1)).toBe(offset(2));
});

/** Brings a group with one member to its first generation. */
async function joinAlone(harness: GroupHarness, groupId: string, sessionTimeoutMs: number) {
  const { coordinator } = harness;
  const joined = await harness.run(Promise.resolve(coordinator.joinGroup({
    groupId,
    memberId: "",
    groupInstanceId: null,
    clientId: "client",
    clientHost: "/127.0.0.1",
    sessionTimeoutMs,
    rebalanceTimeoutMs: sessionTimeoutMs,
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: new Uint8Array([0, 0, 0, 0, 0, 1, 0, 1, 116]) }],
    requiresKnownMemberId: false,
    supportsSkippingAssignment: false,
    reason: null,
  })));
  expect(joined.error).toBe(ErrorCode.NONE);
  const claim = {
    memberId: joined.memberId,
    groupInstanceId: null,
    generationId: joined.generationId,
  };
  const synced = await harness.run(Promise.resolve(coordinator.syncGroup({
    groupId,
    ...claim,
    protocolType: "consumer",
    protocolName: "range",
    assignments: new Map([[joined.memberId, new Uint8Array([1, 2, 3])]]),
  })));
  expect(synced).toEqual({
    error: ErrorCode.NONE,
    protocolType: "consumer",
    protocolName: "range",
    assignment: new Uint8Array([1, 2, 3]),
  });
  return claim;
}

test("GroupCoordinator: members go on with heartbeats after a power cut, and commit", async () => {
  const harness = await GroupHarness.start();
  await harness.ready();
  const claim = await joinAlone(harness, "g", 10_000);
  const before = harness.coordinator.describeGroup("g");
  expect(before.state).toBe("Stable");
  expect(before.members[0]?.assignment).toEqual(new Uint8Array([1, 2, 3]));
  expect(before.members[0]?.memberId).toMatch(/^client-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  harness.crash();
  await harness.clock.advance(60_000);
  await harness.open();
  await harness.run(harness.coordinator.loaded());
  expect(harness.coordinator.describeGroup("g")).toEqual(before);
  await harness.clock.advance(9_000);
  expect(harness.coordinator.heartbeat("g", claim)).toBe(ErrorCode.NONE);
  const committed = harness.coordinator.commitOffsets({ ...commitOf("g", 0, 5), ...claim });
  expect(await harness.run(Promise.resolve(committed))).toEqual([ErrorCode.NONE]);
  await harness.clock.advance(10_001);
  expect(harness.coordinator.heartbeat("g", claim)).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
  expect(harness.coordinator.describeGroup("g").state).toBe("Empty");
});

test("GroupCoordinator: a short session ends in time although a long one was there before", async () => {
  const harness = await GroupHarness.start();
  await harness.ready();
  await joinAlone(harness, "long", 1_800_000);
  await joinAlone(harness, "short", 6_000);
  await harness.clock.advance(5_900);
  expect(harness.coordinator.describeGroup("short").state).toBe("Stable");
  await harness.clock.advance(200);
  expect(harness.coordinator.describeGroup("short").state).toBe("Empty");
  expect(harness.coordinator.describeGroup("long").state).toBe("Stable");
});

test("GroupCoordinator.deleteOffsets: what members read is not deleted, nor is their group", async () => {
  const harness = await GroupHarness.start();
  await harness.ready();
  const claim = await joinAlone(harness, "g", 10_000);
  await harness.run(
    Promise.resolve(harness.coordinator.commitOffsets({ ...commitOf("g", 0, 5), ...claim })),
  );
  const keys = [{ topic: "t", partition: 0 }, { topic: "other", partition: 0 }];
  expect(await harness.run(harness.coordinator.deleteOffsets("g", keys))).toEqual([
    ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC,
    ErrorCode.NONE,
  ]);
  expect(await harness.run(harness.coordinator.deleteGroups(["g"]))).toEqual([
    ErrorCode.NON_EMPTY_GROUP,
  ]);
  expect(fetched(harness, "g", 0)).toBe(offset(5));
});

test("GroupCoordinator: a group's offsets are kept for the whole retention after its members left", async () => {
  const harness = await GroupHarness.start({ flags: { "offsets.retention.minutes": "60" } });
  await harness.ready();
  const claim = await joinAlone(harness, "g", 1_800_000);
  await harness.run(
    Promise.resolve(harness.coordinator.commitOffsets({ ...commitOf("g", 0, 5), ...claim })),
  );
  for (let i = 0; i < 5; i++) {
    await harness.clock.advance(1_500_000);
    expect(harness.coordinator.heartbeat("g", claim)).toBe(ErrorCode.NONE);
  }
  expect(fetched(harness, "g", 0)).toBe(offset(5));
  harness.coordinator.leaveGroup("g", [{ ...claim, reason: null }]);
  await harness.clock.advance(45 * 60_000);
  expect(fetched(harness, "g", 0)).toBe(offset(5));
  await harness.clock.advance(30 * 60_000);
  expect(harness.coordinator.listGroups().groups).toEqual([]);
});

test("GroupCoordinator: a commit that is on its way does not fall to the old one's expiry", async () => {
  const harness = await GroupHarness.start({ flags: { "offsets.retention.minutes": "60" } });
  await harness.ready();
  await commit(harness, "g", 0, 1);
  await commit(harness, "other", 0, 1);
  await harness.clock.advance(59 * 60_000);
  const release = holdDisk(harness);
  const late = Promise.resolve(harness.coordinator.commitOffsets(commitOf("g", 0, 2)));
  // In this time comes the look that finds both offsets too old.
  await harness.clock.advance(12 * 60_000);
  release();
  expect(await harness.run(late)).toEqual([ErrorCode.COORDINATOR_NOT_AVAILABLE]);
  await harness.clock.advance(1_000);
  expect(fetched(harness, "other", 0)).toBe(offset(-1));
  expect(fetched(harness, "g", 0)).toBe(offset(2));
});

test("offsetSamples: lag where this node leads the partition, and none where nobody here knows its end", async () => {
  const harness = await GroupHarness.start();
  await harness.ready();
  const led = harness.replicaManager.partition("t", 0);
  if ("error" in led) throw new Error("nobody leads t-0");
  const value = new Uint8Array(1);
  const records = [1, 2, 3].map(() => ({ key: null, value, timestamp: harness.clock.wallMs() }));
  led.append(buildBatch({ records }), { origin: "client", requiredAcks: -1 });
  await harness.clock.advance(1000);
  for (const [groupId, partition, committed] of [["g", 0, 1], ["g", 99, 1], ["h", 0, 7]] as const) {
    await commit(harness, groupId, partition, committed);
  }
  const { coordinator, replicaManager } = harness;
  const samples = [...offsetSamples(coordinator, replicaManager)];
  expect(samples.map(({ group, partition, lag }) => [group, partition, lag]).toSorted()).toEqual([
    ["g", 0, 2],
    ["g", 99, null],
    ["h", 0, 0],
  ]);
  const types = [...coordinator.groups()].map(({ type, state }) => `${type} ${state}`);
  expect(types).toEqual(["classic Empty", "classic Empty"]);
});

/** JoinGroup and SyncGroup of members whose sessions take minutes. */
function patientMembers({ coordinator }: GroupHarness, rebalanceTimeoutMs: number) {
  const join = async (memberId: string) =>
    await coordinator.joinGroup({
      groupId: "g",
      memberId,
      groupInstanceId: null,
      clientId: "c",
      clientHost: "/h",
      sessionTimeoutMs: 300_000,
      rebalanceTimeoutMs,
      protocolType: "consumer",
      protocols: [{ name: "range", metadata: new Uint8Array(0) }],
      requiresKnownMemberId: false,
      supportsSkippingAssignment: false,
      reason: null,
    });
  const sync = async (memberId: string, generationId: number, assigned: readonly string[] = []) =>
    await coordinator.syncGroup({
      groupId: "g",
      memberId,
      groupInstanceId: null,
      generationId,
      protocolType: "consumer",
      protocolName: "range",
      assignments: new Map(assigned.map((one) => [one, new Uint8Array([1])])),
    });
  return { join, sync };
}

test("GroupCoordinator: who never syncs or joins again is waited for no longer than the rebalance timeout", async () => {
  const harness = await GroupHarness.start({
    flags: { "group.initial.rebalance.delay.ms": "1000" },
  });
  await harness.ready();
  const { coordinator, clock } = harness;
  const { join, sync } = patientMembers(harness, 20_000);
  const [one, two] = await harness.run(Promise.all([join(""), join("")]));
  const leader = one!.leader;
  const other = [one!, two!].map(({ memberId }) => memberId).find((id) => id !== leader)!;
  // The leader joins and never syncs, and its session is not over for minutes.
  const began = clock.monotonicMs();
  const synced = await harness.run(sync(other, one!.generationId));
  expect(synced.error).toBe(ErrorCode.REBALANCE_IN_PROGRESS);
  expect(clock.monotonicMs() - began).toBeWithin(19_900, 20_100);
  expect(coordinator.describeGroup("g").members.map(({ memberId }) => memberId)).toEqual([other]);
  // The other goes on. Who joins it and never syncs keeps nobody waiting.
  const again = await harness.run(join(other));
  expect((await harness.run(sync(other, again.generationId, [other]))).error).toBe(ErrorCode.NONE);
  const joining = join("");
  const rejoined = await harness.run(join(other));
  const late = await harness.run(joining);
  expect(late.error).toBe(ErrorCode.NONE);
  await harness.run(sync(other, rejoined.generationId, [other, late.memberId]));
  expect(coordinator.describeGroup("g").state).toBe("Stable");
  await clock.advance(20_100);
  expect(coordinator.describeGroup("g").members.map(({ memberId }) => memberId)).toEqual([other]);
  // It does not join again: a newcomer waits for it as long, and goes on without it.
  const since = clock.monotonicMs();
  const alone = await harness.run(join(""));
  expect(clock.monotonicMs() - since).toBeLessThan(20_100);
  expect(alone.leader).toBe(alone.memberId);
  expect(coordinator.waitingCount).toBe(0);
});

test("GroupCoordinator.stop: answers who waits and leaves no timer", async () => {
  const harness = await GroupHarness.start({
    flags: { "group.initial.rebalance.delay.ms": "3000" },
  });
  await harness.ready();
  const join = harness.coordinator.joinGroup({
    groupId: "g",
    memberId: "",
    groupInstanceId: null,
    clientId: "c",
    clientHost: "/h",
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 10_000,
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: new Uint8Array(0) }],
    requiresKnownMemberId: false,
    supportsSkippingAssignment: false,
    reason: null,
  });
  expect(harness.coordinator.waitingCount).toBe(1);
  await harness.run(harness.coordinator.stop());
  expect((await join).error).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  expect(harness.coordinator.waitingCount).toBe(0);
  expect(harness.coordinatorClock.pendingTimers).toBe(0);
  expect(harness.coordinator.heartbeat("g", NO_MEMBER)).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
});

test("GroupCoordinator: a disk that fails is not acknowledged, and nothing of it is seen", async () => {
  const harness = await GroupHarness.start();
  await harness.ready();
  await commit(harness, "g", 0, 1);
  const claim = await joinAlone(harness, "member", 10_000);
  harness.disk.faults.sync = (path) => path.includes("__consumer_offsets") ? "EIO" : null;
  expect(await commit(harness, "g", 0, 2)).toEqual([ErrorCode.NOT_COORDINATOR]);
  expect(await commit(harness, "g", 0, 3)).toEqual([ErrorCode.NOT_COORDINATOR]);
  expect(fetched(harness, "g", 0)).toBe(offset(1));
  const committed = harness.coordinator.commitOffsets({ ...commitOf("member", 0, 5), ...claim });
  expect(await harness.run(Promise.resolve(committed))).toEqual([ErrorCode.NOT_COORDINATOR]);
  harness.disk.faults = {};
  harness.crash();
  await harness.open();
  await harness.run(harness.coordinator.loaded());
  // What was not acknowledged may be there or not; what was acknowledged is.
  expect([1, 2, 3]).toContain(fetched(harness, "g", 0) as number);
});
