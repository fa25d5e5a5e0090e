/** Requests that a coordinator of groups refuses: Kafka's codes, and the groups and their log are what they were. */

import { expect, test } from "bun:test";
import type { ConsumerHeartbeat } from "../../../broker/groups/consumer_group.ts";
import { GROUP_METADATA_TOPIC } from "../../../broker/controller/internal_topics.ts";
import { ErrorCode, errorName } from "../../../protocol/errors.ts";
import { leaderEpoch, offset, type Uuid } from "../../../protocol/types.ts";
import { GroupHarness } from "./harness.ts";
import { encodeSubscription, heartbeatOf } from "./members.ts";

const REBALANCE_TIMEOUT_MS = 20_000;

/** A classic group "old" and a consumer group "new", each stable with one static and one other member. */
class Groups {
  readonly harness: GroupHarness;
  /** Of the classic group, the leader first. */
  memberIds: string[] = [];
  generationId = -1;

  private constructor(harness: GroupHarness) {
    this.harness = harness;
  }

  static async start(): Promise<Groups> {
    const groups = new Groups(
      await GroupHarness.start({
        flags: {
          "group.consumer.assignment.interval.ms": "0",
          "group.initial.rebalance.delay.ms": "1000",
        },
      }),
    );
    await groups.harness.ready();
    const joined = await groups.harness.run(
      Promise.all([groups.join("", null), groups.join("", "i")]),
    );
    groups.memberIds = joined.sort((one) => one.leader === one.memberId ? -1 : 1)
      .map(({ memberId }) => memberId);
    groups.generationId = joined[0]!.generationId;
    const assignments = new Map(groups.memberIds.map((id) => [id, new Uint8Array([1])]));
    const synced = groups.memberIds.toReversed().map((memberId) => (
      groups.sync(memberId, { assignments: memberId === groups.memberIds[0] ? assignments : null })
    ));
    for (const { error } of await groups.harness.run(Promise.all(synced))) {
      expect(error).toBe(ErrorCode.NONE);
    }
    for (const name of ["m1", "m2", "m1", "m1", "m2"]) {
      const epoch = groups.epochOf(name);
      const instanceId = name === "m1" ? "i" : null;
      expect(await groups.beat(name, epoch, { instanceId })).toBe("NONE");
    }
    return groups;
  }

  get topicId(): Uuid {
    return this.harness.controller.image().topicByName("t")!.id;
  }

  #epochs = new Map<string, number>();
  #held = new Map<string, readonly number[]>();

  epochOf(memberId: string): number {
    return this.#epochs.get(memberId) ?? 0;
  }

  join(memberId: string, groupInstanceId: string | null, more: object = {}) {
    return Promise.resolve(this.harness.coordinator.joinGroup({
      groupId: "old",
      memberId,
      groupInstanceId,
      clientId: "c",
      clientHost: "/h",
      sessionTimeoutMs: 60_000,
      rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS,
      protocolType: "consumer",
      protocols: [{ name: "range", metadata: encodeSubscription({ topics: ["t"] }) }],
      requiresKnownMemberId: false,
      supportsSkippingAssignment: true,
      reason: null,
      ...more,
    }));
  }

  sync(
    memberId: string,
    { assignments = null, ...more }: {
      readonly assignments?: ReadonlyMap<string, Uint8Array> | null;
      readonly groupId?: string;
      readonly generationId?: number;
      readonly groupInstanceId?: string | null;
      readonly protocolName?: string;
    } = {},
  ) {
    return Promise.resolve(this.harness.coordinator.syncGroup({
      groupId: "old",
      memberId,
      groupInstanceId: null,
      generationId: this.generationId,
      protocolType: "consumer",
      protocolName: "range",
      assignments: assignments ?? new Map(),
      ...more,
    }));
  }

  /** A heartbeat of the newer protocol. Returns: the name of its error. */
  async beat(
    memberId: string,
    memberEpoch: number,
    more: Partial<ConsumerHeartbeat> = {},
    groupId = "new",
  ): Promise<string> {
    const { coordinator } = this.harness;
    const isJoin = memberEpoch === 0;
    const owned = isJoin ? [] : this.#held.get(memberId) ?? [];
    const answer = await this.harness.run(Promise.resolve(coordinator.consumerGroupHeartbeat(
      groupId,
      heartbeatOf(memberId, memberEpoch, {
        ...(isJoin && { rebalanceTimeoutMs: 60_000, subscribedTopicNames: ["t"] }),
        owned: owned.length === 0 ? new Map() : new Map([[this.topicId, owned]]),
        ...more,
      }),
    )));
    if ("error" in answer) return errorName(answer.error);
    this.#epochs.set(memberId, answer.memberEpoch);
    if (answer.assignment !== null) {
      this.#held.set(memberId, [...answer.assignment.get(this.topicId)?.keys() ?? []]);
    }
    return "NONE";
  }

  /** A commit of one offset. Returns: the name of its error. */
  async commit(groupId: string, memberId: string, generationId: number, instanceId: string | null) {
    const { coordinator } = this.harness;
    const answer = await this.harness.run(Promise.resolve(coordinator.commitOffsets({
      groupId,
      memberId,
      groupInstanceId: instanceId,
      generationId,
      knowsGroupIdNotFound: true,
      retentionTimeMs: -1,
      offsets: [{
        topic: "t",
        topicId: this.topicId,
        partition: 0,
        offset: offset(9),
        leaderEpoch: leaderEpoch(-1),
        metadata: null,
      }],
    })));
    return errorName("error" in answer ? answer.error : answer[0]!);
  }

  /** All that there is to see: both groups, their offsets, and where their logs end. */
  async seen() {
    const { coordinator, replicaManager } = this.harness;
    await this.harness.clock.advance(100);
    return {
      groups: coordinator.listGroups().groups,
      old: coordinator.describeGroup("old"),
      new: await coordinator.describeConsumerGroup("new"),
      offsets: ["old", "new"].map((groupId) =>
        coordinator.fetchOffsets(
          groupId,
          [{ topic: "t", topicId: this.topicId, partitions: [0] }],
          false,
        )
      ),
      ends: [0, 1, 2, 3].map((partition) => {
        const found = replicaManager.replica(GROUP_METADATA_TOPIC, partition);
        return "log" in found ? found.log.endOffset : found.error;
      }),
      waitingCount: coordinator.waitingCount,
    };
  }
}

/** What is asked, and how Kafka answers. */
type Bad = readonly [
  code: string,
  what: string,
  ask: (groups: Groups) => Promise<string>,
];

const joinOf = (memberId: string, instanceId: string | null, more = {}) => async (groups: Groups) =>
  errorName((await groups.harness.run(groups.join(memberId, instanceId, more))).error);
const syncOf =
  (memberId: string | null, more: Parameters<Groups["sync"]>[1] = {}) => async (groups: Groups) =>
    errorName(
      (await groups.harness.run(groups.sync(memberId ?? groups.memberIds[0]!, more))).error,
    );
const beatOf =
  (groupId: string, claim: object, index: number | null = 0) => (groups: Groups): Promise<string> =>
    Promise.resolve(errorName(groups.harness.coordinator.heartbeat(groupId, {
      memberId: index === null ? "nobody" : groups.memberIds[index]!,
      groupInstanceId: null,
      generationId: groups.generationId,
      ...claim,
    })));
const leaveOf = (groupId: string, memberId: string, groupInstanceId: string | null) =>
(
  { harness }: Groups,
): Promise<string> => {
  const leaving = [{ memberId, groupInstanceId, reason: null }];
  const { error, errors } = harness.coordinator.leaveGroup(groupId, leaving);
  return Promise.resolve(errorName(errors[0] ?? error));
};

const UNKNOWN_TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAQ" as Uuid;

const BAD: readonly Bad[] = [
  ["UNKNOWN_MEMBER_ID", "JoinGroup of a stranger", joinOf("nobody", null)],
  ["FENCED_INSTANCE_ID", "JoinGroup under another's instance id", joinOf("nobody", "i")],
  [
    "INCONSISTENT_GROUP_PROTOCOL",
    "JoinGroup of another protocol type",
    joinOf("", null, { protocolType: "connect" }),
  ],
  [
    "INCONSISTENT_GROUP_PROTOCOL",
    "JoinGroup without a common protocol",
    joinOf("", null, { protocols: [{ name: "x", metadata: new Uint8Array() }] }),
  ],
  [
    "INVALID_SESSION_TIMEOUT",
    "JoinGroup with a session of a millisecond",
    joinOf("", null, { sessionTimeoutMs: 1 }),
  ],
  [
    "INCONSISTENT_GROUP_PROTOCOL",
    "JoinGroup of another type into a consumer group",
    joinOf("", null, { groupId: "new", protocolType: "connect" }),
  ],
  ["UNKNOWN_MEMBER_ID", "SyncGroup of a stranger", syncOf("nobody")],
  ["ILLEGAL_GENERATION", "SyncGroup of another generation", syncOf(null, { generationId: 77 })],
  [
    "FENCED_INSTANCE_ID",
    "SyncGroup under another's instance id",
    syncOf("nobody", { groupInstanceId: "i" }),
  ],
  [
    "INCONSISTENT_GROUP_PROTOCOL",
    "SyncGroup with another protocol",
    syncOf(null, { protocolName: "x" }),
  ],
  ["UNKNOWN_MEMBER_ID", "SyncGroup in a consumer group", syncOf("nobody", { groupId: "new" })],
  [
    "UNKNOWN_MEMBER_ID",
    "SyncGroup of a member that speaks the newer protocol",
    syncOf("m1", { groupId: "new" }),
  ],
  ["UNKNOWN_MEMBER_ID", "Heartbeat of a stranger", beatOf("old", {}, null)],
  ["ILLEGAL_GENERATION", "Heartbeat of another generation", beatOf("old", { generationId: 0 })],
  [
    "FENCED_INSTANCE_ID",
    "Heartbeat under another's instance id",
    beatOf("old", { groupInstanceId: "i" }, null),
  ],
  ["UNKNOWN_MEMBER_ID", "Heartbeat in a consumer group", beatOf("new", {}, null)],
  ["UNKNOWN_MEMBER_ID", "LeaveGroup of a stranger", leaveOf("old", "nobody", null)],
  ["FENCED_INSTANCE_ID", "LeaveGroup of another's instance id", leaveOf("old", "nobody", "i")],
  ["UNKNOWN_MEMBER_ID", "LeaveGroup of an unknown instance id", leaveOf("new", "", "j")],
  [
    "UNKNOWN_MEMBER_ID",
    "ConsumerGroupHeartbeat of a stranger",
    (groups) => groups.beat("nobody", 3),
  ],
  [
    "FENCED_MEMBER_EPOCH",
    "ConsumerGroupHeartbeat of an epoch to come",
    (groups) => groups.beat("m2", 77),
  ],
  [
    "FENCED_MEMBER_EPOCH",
    "ConsumerGroupHeartbeat of an epoch that is over",
    (groups) => groups.beat("m2", 1),
  ],
  [
    "FENCED_INSTANCE_ID",
    "ConsumerGroupHeartbeat under another's instance id",
    (groups) => groups.beat("m2", 3, { instanceId: "i" }),
  ],
  [
    "UNRELEASED_INSTANCE_ID",
    "ConsumerGroupHeartbeat that joins under another's instance id",
    (groups) => groups.beat("m3", 0, { instanceId: "i" }),
  ],
  [
    "UNKNOWN_MEMBER_ID",
    "ConsumerGroupHeartbeat of an unknown instance id",
    (groups) => groups.beat("m2", 3, { instanceId: "j" }),
  ],
  [
    "UNKNOWN_MEMBER_ID",
    "ConsumerGroupHeartbeat of a stranger that leaves",
    (groups) => groups.beat("nobody", -1),
  ],
  [
    "FENCED_INSTANCE_ID",
    "ConsumerGroupHeartbeat that leaves under another's instance id",
    (groups) => groups.beat("m2", -2, { instanceId: "i" }),
  ],
  [
    "GROUP_ID_NOT_FOUND",
    "ConsumerGroupHeartbeat of a member in a classic group",
    (groups) => groups.beat("m1", 3, {}, "old"),
  ],
  [
    "GROUP_ID_NOT_FOUND",
    "ConsumerGroupHeartbeat in no group",
    (groups) => groups.beat("m1", 3, {}, "none"),
  ],
  [
    "INVALID_REGULAR_EXPRESSION",
    "ConsumerGroupHeartbeat with no expression",
    (groups) => groups.beat("m3", 0, { subscribedTopicRegex: "(" }),
  ],
  [
    "INVALID_REGULAR_EXPRESSION",
    "ConsumerGroupHeartbeat with an expression of a program without end",
    (groups) => groups.beat("m3", 0, { subscribedTopicRegex: "((a{0,900}){0,900}){0,900}" }),
  ],
  [
    "INVALID_REGULAR_EXPRESSION",
    "ConsumerGroupHeartbeat with an expression without end",
    (groups) => groups.beat("m3", 0, { subscribedTopicRegex: "a".repeat(1_000_000) }),
  ],
  [
    "NONE",
    "ConsumerGroupHeartbeat of a member that has an unknown topic",
    (groups) =>
      groups.beat("m2", groups.epochOf("m2"), { owned: new Map([[UNKNOWN_TOPIC_ID, [0]]]) }),
  ],
  [
    "UNKNOWN_MEMBER_ID",
    "OffsetCommit of a stranger",
    (groups) => groups.commit("old", "nobody", groups.generationId, null),
  ],
  [
    "ILLEGAL_GENERATION",
    "OffsetCommit of another generation",
    (groups) => groups.commit("old", groups.memberIds[0]!, 77, null),
  ],
  [
    "FENCED_INSTANCE_ID",
    "OffsetCommit under another's instance id",
    (groups) => groups.commit("old", "nobody", groups.generationId, "i"),
  ],
  [
    "UNKNOWN_MEMBER_ID",
    "OffsetCommit of nobody while there are members",
    (groups) => groups.commit("old", "", -1, null),
  ],
  [
    "UNKNOWN_MEMBER_ID",
    "OffsetCommit of a stranger in a consumer group",
    (groups) => groups.commit("new", "nobody", 3, null),
  ],
  [
    "STALE_MEMBER_EPOCH",
    "OffsetCommit of an epoch that is over",
    (groups) => groups.commit("new", "m2", 0, null),
  ],
  [
    "STALE_MEMBER_EPOCH",
    "OffsetCommit of an epoch to come",
    (groups) => groups.commit("new", "m1", 77, null),
  ],
  [
    "GROUP_ID_NOT_FOUND",
    "OffsetCommit of a member of no group",
    (groups) => groups.commit("none", "m", 1, null),
  ],
  [
    "NON_EMPTY_GROUP",
    "DeleteGroups of a classic group with members",
    async ({ harness }) =>
      errorName((await harness.run(harness.coordinator.deleteGroups(["old"])))[0]!),
  ],
  [
    "NON_EMPTY_GROUP",
    "DeleteGroups of a consumer group with members",
    async ({ harness }) =>
      errorName((await harness.run(harness.coordinator.deleteGroups(["new"])))[0]!),
  ],
  [
    "GROUP_ID_NOT_FOUND",
    "DeleteGroups of no group",
    async ({ harness }) =>
      errorName((await harness.run(harness.coordinator.deleteGroups(["none"])))[0]!),
  ],
];

test("GroupCoordinator: bad requests get Kafka's codes and change nothing", async () => {
  const groups = await Groups.start();
  const before = await groups.seen();
  expect(before.old.state).toBe("Stable");
  expect(before.new.state).toBe("Stable");
  for (const [code, what, ask] of BAD) {
    expect([what, await ask(groups)]).toEqual([what, code]);
    expect({ what, ...await groups.seen() }).toEqual({ what, ...before });
  }
});
