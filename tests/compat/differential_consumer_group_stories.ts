/**
 * What the differential test asks of both brokers about consumer groups (KIP-848).
 *
 * Members name themselves, so that answers compare; topic ids are another broker's own, so assignments are compared by
 * partitions. Both brokers make targets at once (`group.consumer.assignment.interval.ms` 0), so that no step waits for
 * time to pass.
 */

import { decodeAssignment, encodeAssignment } from "../../broker/groups/consumer_protocol.ts";
import { ApiKey } from "../../protocol/api_keys.ts";
import {
  consumerGroupDescribeRequest,
  consumerGroupDescribeResponse,
} from "../../protocol/schemas/consumer_group_describe.ts";
import {
  type ConsumerGroupHeartbeatRequest,
  consumerGroupHeartbeatRequest,
  type ConsumerGroupHeartbeatResponse,
  consumerGroupHeartbeatResponse,
} from "../../protocol/schemas/consumer_group_heartbeat.ts";
import { deleteGroupsRequest, deleteGroupsResponse } from "../../protocol/schemas/delete_groups.ts";
import {
  describeGroupsRequest,
  describeGroupsResponse,
} from "../../protocol/schemas/describe_groups.ts";
import { joinGroupRequest, joinGroupResponse } from "../../protocol/schemas/join_group.ts";
import { heartbeatRequest, heartbeatResponse } from "../../protocol/schemas/heartbeat.ts";
import { leaveGroupRequest, leaveGroupResponse } from "../../protocol/schemas/leave_group.ts";
import { listGroupsRequest, listGroupsResponse } from "../../protocol/schemas/list_groups.ts";
import { offsetCommitRequest, offsetCommitResponse } from "../../protocol/schemas/offset_commit.ts";
import { offsetFetchRequest, offsetFetchResponse } from "../../protocol/schemas/offset_fetch.ts";
import { syncGroupRequest, syncGroupResponse } from "../../protocol/schemas/sync_group.ts";
import { encodeSubscription } from "../broker/groups/members.ts";
import {
  coordinatorReady,
  groupOf,
  idOf,
  makeTopic,
  type State,
  type Step,
  step,
  type Story,
  subscription,
  topicOf,
} from "./differential_steps.ts";

type Beat = Partial<Omit<ConsumerGroupHeartbeatRequest, "topicPartitions">> & {
  /** Partitions that the member says it has; null for nothing said. */
  readonly owned?: readonly number[] | null;
};

/** Assignments by their partitions, epochs and errors; names as they were given. */
function pickBeat({ assignment, ...answer }: ConsumerGroupHeartbeatResponse) {
  return {
    ...answer,
    assignment: assignment?.topicPartitions.map(({ partitions }) => [...partitions].sort()) ?? null,
  };
}

function beat(title: string, { owned = null, ...more }: Beat, settleMs?: number): Step {
  return step(title, consumerGroupHeartbeatRequest, consumerGroupHeartbeatResponse, (state) => ({
    groupId: groupOf(state),
    memberId: "m1",
    memberEpoch: 0,
    topicPartitions: owned === null
      ? null
      : owned.length === 0
      ? []
      : [{ topicId: idOf(state), partitions: owned }],
    ...more,
    subscribedTopicNames: more.subscribedTopicNames?.map((name) =>
      name === "topic" ? topicOf(state) : name
    ) ?? null,
  }), { pick: pickBeat, ...(settleMs === undefined ? {} : { settleMs }) });
}

/** All that a member says that joins. */
const all = { rebalanceTimeoutMs: 60_000, subscribedTopicNames: ["topic"], owned: [] };

const ready = [...makeTopic({}, 6), ...coordinatorReady];

/** Those that name themselves by their names; the others got theirs from the broker. */
function nameOf({ memberId }: { readonly memberId: string }): string {
  return /^m\d$/.test(memberId) ? memberId : "another";
}

function described(title: string): Step {
  return step(title, consumerGroupDescribeRequest, consumerGroupDescribeResponse, (state) => ({
    groupIds: [groupOf(state), "diff-missing"],
    includeAuthorizedOperations: true,
  }), {
    pick: (answer) =>
      answer.groups.toSorted((a, b) => a.groupId < b.groupId ? -1 : 1).map((group) => ({
        ...group,
        members: group.members.toSorted((a, b) => nameOf(a) < nameOf(b) ? -1 : 1).map((
          { memberId, assignment, targetAssignment, ...member },
        ) => ({
          ...member,
          name: nameOf({ memberId }),
          has: assignment.topicPartitions.map(({ partitions }) => [...partitions].sort()),
          target: targetAssignment.topicPartitions.map(({ partitions }) => [...partitions].sort()),
        })),
      })),
  });
}

function commitAs(title: string, memberId: string, epoch: number, partition = 0): Step {
  return step(title, offsetCommitRequest, offsetCommitResponse, (state, version) => ({
    groupId: groupOf(state),
    memberId,
    generationIdOrMemberEpoch: epoch,
    topics: [{
      name: version < 10 ? topicOf(state) : "",
      topicId: version < 10 ? undefined : idOf(state),
      partitions: [{ partitionIndex: partition, committedOffset: 1, committedMetadata: "" }],
    }],
  }), { pick: ({ topics }) => topics.map(({ partitions }) => partitions) });
}

function fetchAs(title: string, memberId: string | null, memberEpoch: number): Step {
  return step(title, offsetFetchRequest, offsetFetchResponse, (state, version) => {
    if (version < 9) return null;
    const topic = version < 10 ? { name: topicOf(state) } : { topicId: idOf(state) };
    return {
      groups: [{
        groupId: groupOf(state),
        memberId,
        memberEpoch,
        topics: [{ ...topic, partitionIndexes: [0, 1] }],
      }],
    };
  });
}

const refused: readonly [string, Beat][] = [
  ["without a rebalance timeout", { ...all, rebalanceTimeoutMs: -1 }],
  ["with partitions from the start", { ...all, owned: [1] }],
  ["without a word of its partitions", { ...all, owned: null }],
  ["without a subscription", { ...all, subscribedTopicNames: null }],
  ["with an unknown assignor", { ...all, serverAssignor: "sticky" }],
  ["with an empty instance id", { ...all, instanceId: "" }],
  ["with an empty rack", { ...all, rackId: "" }],
  ["in epoch -3", { memberEpoch: -3 }],
  ["static leave of a dynamic member", { memberEpoch: -2 }],
  ["in an epoch of no group", { memberEpoch: 5 }],
  ["leave no group", { memberEpoch: -1 }],
  ["in epoch 1 without a name", { memberId: "", memberEpoch: 1 }],
];

/** The first two members of a group, which share its six partitions. */
const two: Step[] = [
  ...ready,
  beat("first joins", all),
  beat("first says nothing", { memberEpoch: 2 }),
  beat("second joins", { ...all, memberId: "m2" }),
  beat("first learns what to give up", { memberEpoch: 2, owned: [0, 1, 2, 3, 4, 5] }),
  beat("first has not yet", { memberEpoch: 2, owned: [0, 1, 2, 3, 4, 5] }),
  beat("second waits", { memberId: "m2", memberEpoch: 3, owned: [] }),
];

/** Which half is whose is up to the broker. */
function halves(): Step[] {
  const half = (state: State) => state["kept"] as number[];
  return [
    step(
      "first tells all",
      consumerGroupHeartbeatRequest,
      consumerGroupHeartbeatResponse,
      (state) => ({
        groupId: groupOf(state),
        memberId: "m1",
        memberEpoch: 2,
        rebalanceTimeoutMs: 60_000,
        subscribedTopicNames: [topicOf(state)],
        topicPartitions: [{ topicId: idOf(state), partitions: [0, 1, 2, 3, 4, 5] }],
      }),
      {
        keep: (state, { assignment }) => {
          state["kept"] = [...assignment?.topicPartitions[0]?.partitions ?? []].sort();
        },
        pick: ({ assignment, ...answer }) => ({
          ...answer,
          count: assignment?.topicPartitions[0]?.partitions.length,
        }),
      },
    ),
    step(
      "first has let go",
      consumerGroupHeartbeatRequest,
      consumerGroupHeartbeatResponse,
      (state) => ({
        groupId: groupOf(state),
        memberId: "m1",
        memberEpoch: 2,
        topicPartitions: [{ topicId: idOf(state), partitions: half(state) }],
      }),
      { pick: ({ assignment, ...answer }) => ({ ...answer, isTold: assignment !== null }) },
    ),
    step(
      "second gets the rest",
      consumerGroupHeartbeatRequest,
      consumerGroupHeartbeatResponse,
      (state) => ({ groupId: groupOf(state), memberId: "m2", memberEpoch: 3, topicPartitions: [] }),
      {
        pick: ({ assignment, ...answer }) => ({
          ...answer,
          count: assignment?.topicPartitions[0]?.partitions.length,
        }),
      },
    ),
  ];
}

const withJoin = (title: string, names: readonly string[]): Step =>
  step(title, joinGroupRequest, joinGroupResponse, (state) => ({
    groupId: groupOf(state),
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 10_000,
    memberId: "",
    groupInstanceId: null,
    protocolType: "consumer",
    protocols: names.map((name) => ({ name, metadata: subscription("first") })),
  }), { pick: ({ errorCode }) => errorCode });

/** A classic member, as it joins, says that it lives, and asks for what it has. */
const classic = {
  join: (title: string): Step =>
    step(title, joinGroupRequest, joinGroupResponse, (state) => ({
      groupId: groupOf(state),
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 10_000,
      memberId: (state["classicId"] as string | undefined) ?? "",
      groupInstanceId: null,
      protocolType: "consumer",
      protocols: [{ name: "range", metadata: encodeSubscription({ topics: [topicOf(state)] }) }],
    }), {
      keep: (state, { memberId, generationId }) => {
        state["classicId"] = memberId;
        state["generation"] = generationId;
      },
      pick: ({ members, ...answer }) => ({ ...answer, memberCount: members.length }),
    }),
  sync: (title: string, all = false): Step =>
    step(title, syncGroupRequest, syncGroupResponse, (state) => ({
      groupId: groupOf(state),
      generationId: state["generation"] as number,
      memberId: state["classicId"] as string,
      groupInstanceId: null,
      protocolType: "consumer",
      protocolName: "range",
      assignments: all
        ? [{
          memberId: state["classicId"] as string,
          assignment: encodeAssignment(new Map([[topicOf(state), [0, 1, 2, 3, 4, 5]]]), 0),
        }]
        : [],
    }), {
      pick: ({ assignment, ...answer }) => ({
        ...answer,
        count: [...decodeAssignment(assignment)?.values() ?? []].flat().length,
      }),
    }),
  beat: (title: string, generation?: number): Step =>
    step(title, heartbeatRequest, heartbeatResponse, (state) => ({
      groupId: groupOf(state),
      generationId: generation ?? state["generation"] as number,
      memberId: state["classicId"] as string,
    })),
};

const listed = (title: string): Step =>
  step(title, listGroupsRequest, listGroupsResponse, () => (
    { statesFilter: [], typesFilter: [] }
  ), { pick: ({ groups }, state) => groups.filter(({ groupId }) => groupId === groupOf(state)) });

/** Stories, as those of classic groups. */
export const consumerGroupStories: readonly Story[] = [
  ["refuses heartbeats", ApiKey.ConsumerGroupHeartbeat, [
    ...ready,
    ...refused.map(([title, request]) => beat(title, request)),
    beat("without a group", { ...all, groupId: "" }),
    beat("joins", all),
    beat("joins again", all),
    beat("in a later epoch", { memberEpoch: 3 }),
    beat("as a stranger", { memberId: "m9", memberEpoch: 2 }),
    beat("as a strange instance", { instanceId: "i9", memberEpoch: 2 }),
    beat("leaves as a stranger", { memberId: "m9", memberEpoch: -1 }),
    beat("leaves as a strange instance", { instanceId: "i9", memberEpoch: -2 }),
  ]],
  ["moves partitions from one member to another", ApiKey.ConsumerGroupHeartbeat, [
    ...two,
    ...halves(),
    beat("in the epoch before, with too much", { memberEpoch: 2, owned: [0, 1, 2, 3, 4, 5] }),
    described("both"),
    beat("second leaves", { memberId: "m2", memberEpoch: -1 }, 300),
    beat("first goes on", { memberEpoch: 3, owned: [] }),
    beat("first leaves", { memberEpoch: -1 }),
    beat("first beats on", { memberEpoch: 4 }),
    described("nobody"),
  ]],
  ["keeps what a static member had", ApiKey.ConsumerGroupHeartbeat, [
    ...ready,
    beat("joins", { ...all, instanceId: "i1" }),
    beat("another of that name", { ...all, memberId: "m2", instanceId: "i1" }),
    beat("goes for a while", { instanceId: "i1", memberEpoch: -2 }),
    described("gone for a while"),
    beat("comes back", { ...all, memberId: "m2", instanceId: "i1" }),
    beat("the one before", { instanceId: "i1", memberEpoch: 2 }),
    beat("the one before leaves", { instanceId: "i1", memberEpoch: -1 }),
    described("back"),
    beat("leaves for good", { memberId: "m2", instanceId: "i1", memberEpoch: -1 }),
    described("gone"),
  ]],
  ["follows subscriptions", ApiKey.ConsumerGroupHeartbeat, [
    ...ready,
    beat("of a topic that is not there", { ...all, subscribedTopicNames: ["diff-missing"] }),
    beat("of one that is", {
      memberEpoch: 2,
      subscribedTopicNames: ["topic"],
      owned: [],
      rebalanceTimeoutMs: 60_000,
    }),
    beat("by ranges", { memberEpoch: 3, serverAssignor: "range" }),
    described("ranges"),
    beat("of nothing", { memberEpoch: 3, subscribedTopicNames: [] }),
    beat("gives all up", { memberEpoch: 3, owned: [] }),
    described("nothing"),
  ]],
  [
    "subscribes by regular expression",
    ApiKey.ConsumerGroupHeartbeat,
    [
      ...ready,
      ...["[", "(?=a)", "a{2000}", "\\1"].map((subscribedTopicRegex) =>
        beat(`refuses ${subscribedTopicRegex}`, {
          ...all,
          subscribedTopicNames: null,
          subscribedTopicRegex,
        })
      ),
      step(
        "by the topic's name",
        consumerGroupHeartbeatRequest,
        consumerGroupHeartbeatResponse,
        (state) => ({
          groupId: groupOf(state),
          memberId: "m1",
          memberEpoch: 0,
          rebalanceTimeoutMs: 60_000,
          topicPartitions: [],
          subscribedTopicRegex: `${topicOf(state)}|diff-no.*`,
        }),
        { pick: pickBeat, settleMs: 1_000 },
      ),
      beat("learns its partitions", { memberEpoch: 1, owned: [] }),
      described("expression"),
    ],
    1,
  ],
  ["fences commits by epochs", ApiKey.OffsetCommit, [
    ...two,
    ...[[-1, ""], [-1, "m1"], [1, "m1"], [3, "m1"], [2, "m9"], [2, "m1"]].map((
      [epoch, memberId],
    ) => commitAs(`${memberId} in ${epoch}`, String(memberId), Number(epoch))),
    commitAs("of a partition that it does not have", "m2", 2),
  ], 9],
  ["fences fetches of offsets by epochs", ApiKey.OffsetFetch, [
    ...two,
    commitAs("commit", "m1", 2),
    fetchAs("by nobody", null, -1),
    fetchAs("in its epoch", "m1", 2),
    fetchAs("in an earlier epoch", "m1", 1),
    fetchAs("in a later epoch", "m1", 3),
    fetchAs("by a stranger", "m9", 2),
  ], 9],
  ["takes a classic member in", ApiKey.ConsumerGroupHeartbeat, [
    ...ready,
    beat("first joins", all),
    classic.join("asks for an id"),
    classic.join("joins"),
    classic.sync("gets nothing yet"),
    classic.beat("waits"),
    classic.beat("in another generation", 1),
    beat("first gives half up", {
      memberEpoch: 2,
      owned: [0, 1, 2, 3, 4, 5],
      rebalanceTimeoutMs: 60_000,
      subscribedTopicNames: ["topic"],
    }),
    beat("first has none of it", { memberEpoch: 2, owned: [] }),
    classic.beat("may come again"),
    classic.join("comes again"),
    classic.sync("gets its half"),
    classic.beat("has it"),
    described("of both protocols"),
    beat("first leaves", { memberEpoch: -1 }),
    listed("goes back"),
    classic.beat("has to come again"),
  ]],
  ["takes a classic group over", ApiKey.ConsumerGroupHeartbeat, [
    ...ready,
    classic.join("asks for an id"),
    classic.join("joins"),
    classic.sync("assigns", true),
    beat("in an epoch of a classic group", { memberEpoch: 4 }),
    beat("another joins", all),
    described("taken over"),
    listed("as a consumer group"),
    classic.beat("has to come again"),
    classic.join("comes again"),
    classic.sync("gets its half"),
    beat("another waits", { memberEpoch: 2, owned: [] }),
    described("settled"),
  ]],
  ["says what a group is", ApiKey.ConsumerGroupDescribe, [
    ...two,
    described("before it has settled"),
    ...halves(),
    step("as a classic one", describeGroupsRequest, describeGroupsResponse, (state) => (
      { groups: [groupOf(state)] }
    )),
    step("in the list", listGroupsRequest, listGroupsResponse, () => (
      { statesFilter: [], typesFilter: ["Consumer"] }
    ), {
      pick: ({ groups }, state) => groups.filter(({ groupId }) => groupId === groupOf(state)),
    }),
    step("delete", deleteGroupsRequest, deleteGroupsResponse, (state) => (
      { groupsNames: [groupOf(state)] }
    ), { pick: ({ results }) => results.map(({ errorCode }) => errorCode) }),
    withJoin("a classic member with another protocol", ["connect"]),
    step("a classic heartbeat", heartbeatRequest, heartbeatResponse, (state) => (
      { groupId: groupOf(state), generationId: 2, memberId: "m1" }
    )),
    step("a classic goodbye", leaveGroupRequest, leaveGroupResponse, (state) => (
      { groupId: groupOf(state), members: [{ memberId: "m1", groupInstanceId: null }] }
    )),
    beat("second leaves", { memberId: "m2", memberEpoch: -1 }),
    beat("first leaves", { memberEpoch: -1 }),
    step("delete it", deleteGroupsRequest, deleteGroupsResponse, (state) => (
      { groupsNames: [groupOf(state)] }
    ), { pick: ({ results }) => results.map(({ errorCode }) => errorCode) }),
    described("after that"),
  ]],
];
