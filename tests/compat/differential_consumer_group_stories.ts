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
import {
  describeGroupsRequest,
  describeGroupsResponse,
} from "../../protocol/schemas/describe_groups.ts";
import { joinGroupRequest, joinGroupResponse } from "../../protocol/schemas/join_group.ts";
import { heartbeatRequest, heartbeatResponse } from "../../protocol/schemas/heartbeat.ts";
import { leaveGroupRequest, leaveGroupResponse } from "../../protocol/schemas/leave_group.ts";
import { offsetFetchRequest, offsetFetchResponse } from "../../protocol/schemas/offset_fetch.ts";
import { syncGroupRequest, syncGroupResponse } from "../../protocol/schemas/sync_group.ts";
import { encodeSubscription } from "../broker/groups/members.ts";
import {
  beat as classicBeat,
  commit,
  coordinatorReady,
  deleteGroup,
  groupOf,
  idOf,
  join,
  listGroups,
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
  readonly owned?: readonly number[] | ((state: State) => readonly number[]) | null;
};

const ALL = [0, 1, 2, 3, 4, 5];

/** Assignments by their partitions, epochs and errors; names as they were given. */
function pickBeat({ assignment, ...answer }: ConsumerGroupHeartbeatResponse) {
  return {
    ...answer,
    assignment: assignment?.topicPartitions.map(({ partitions }) => [...partitions].sort()) ?? null,
  };
}

type BeatMore = Parameters<
  typeof step<typeof consumerGroupHeartbeatRequest, typeof consumerGroupHeartbeatResponse>
>[4];

/** A heartbeat, of the first member unless told; `TOPIC` is the story's in names and in an expression. */
function beat(
  title: string,
  { owned = null, subscribedTopicNames, subscribedTopicRegex, ...others }: Beat,
  more: BeatMore = {},
): Step {
  return step(title, consumerGroupHeartbeatRequest, consumerGroupHeartbeatResponse, (state) => {
    const named = (text: string) => text.replace("TOPIC", topicOf(state));
    const partitions = typeof owned === "function" ? owned(state) : owned;
    return {
      groupId: groupOf(state),
      memberId: "m1",
      memberEpoch: 0,
      topicPartitions: partitions === null
        ? null
        : partitions.length === 0
        ? []
        : [{ topicId: idOf(state), partitions }],
      ...others,
      subscribedTopicNames: subscribedTopicNames?.map(named) ?? null,
      ...(subscribedTopicRegex && { subscribedTopicRegex: named(subscribedTopicRegex) }),
    };
  }, { pick: pickBeat, ...more });
}

/** All that a member says that joins. */
const all = { rebalanceTimeoutMs: 60_000, subscribedTopicNames: ["TOPIC"], owned: [] };

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
  beat("first learns what to give up", { memberEpoch: 2, owned: ALL }),
  beat("first has not yet", { memberEpoch: 2, owned: ALL }),
  beat("second waits", { memberId: "m2", memberEpoch: 3, owned: [] }),
];

/** Which half is whose is up to the broker. */
function halves(): Step[] {
  const counted = ({ assignment, ...answer }: ConsumerGroupHeartbeatResponse) => ({
    ...answer,
    count: assignment?.topicPartitions[0]?.partitions.length,
  });
  return [
    beat("first tells all", { ...all, memberEpoch: 2, owned: ALL }, {
      keep: (state, { assignment }) => {
        state["kept"] = [...assignment?.topicPartitions[0]?.partitions ?? []].sort();
      },
      pick: counted,
    }),
    beat("first has let go", {
      memberEpoch: 2,
      owned: (state) => state["kept"] as number[],
    }, { pick: ({ assignment, ...answer }) => ({ ...answer, isTold: assignment !== null }) }),
    beat("second gets the rest", { memberId: "m2", memberEpoch: 3, owned: [] }, { pick: counted }),
  ];
}

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
          assignment: encodeAssignment(new Map([[topicOf(state), ALL]]), 0),
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
    beat("in the epoch before, with too much", { memberEpoch: 2, owned: ALL }),
    described("both"),
    beat("second leaves", { memberId: "m2", memberEpoch: -1 }, { settleMs: 300 }),
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
      subscribedTopicNames: ["TOPIC"],
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
      beat("by the topic's name", {
        ...all,
        subscribedTopicNames: null,
        subscribedTopicRegex: "TOPIC|diff-no.*",
      }, { settleMs: 1_000 }),
      beat("learns its partitions", { memberEpoch: 1, owned: [] }),
      described("expression"),
    ],
    1,
  ],
  ["fences commits by epochs", ApiKey.OffsetCommit, [
    ...two,
    ...[[-1, ""], [-1, "m1"], [1, "m1"], [3, "m1"], [2, "m9"], [2, "m1"]].map((
      [epoch, memberId],
    ) => commit(`${memberId} in ${epoch}`, Number(epoch), { memberId: String(memberId) })),
    commit("of a partition that it does not have", 2, { memberId: "m2" }),
  ], 9],
  ["fences fetches of offsets by epochs", ApiKey.OffsetFetch, [
    ...two,
    commit("commit", 2, { memberId: "m1" }),
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
      owned: ALL,
      rebalanceTimeoutMs: 60_000,
      subscribedTopicNames: ["TOPIC"],
    }),
    beat("first has none of it", { memberEpoch: 2, owned: [] }),
    classic.beat("may come again"),
    classic.join("comes again"),
    classic.sync("gets its half"),
    classic.beat("has it"),
    described("of both protocols"),
    beat("first leaves", { memberEpoch: -1 }),
    listGroups("goes back"),
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
    listGroups("as a consumer group"),
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
    listGroups("in the list", { types: ["Consumer"] }),
    deleteGroup("delete"),
    join("a classic member with another protocol", {
      memberId: "",
      protocols: [{ name: "connect", metadata: subscription("first") }],
    }),
    classicBeat("a classic heartbeat", 2, "m1"),
    step("a classic goodbye", leaveGroupRequest, leaveGroupResponse, (state) => (
      { groupId: groupOf(state), members: [{ memberId: "m1", groupInstanceId: null }] }
    )),
    beat("second leaves", { memberId: "m2", memberEpoch: -1 }),
    beat("first leaves", { memberEpoch: -1 }),
    deleteGroup("delete it"),
    described("after that"),
  ]],
];
