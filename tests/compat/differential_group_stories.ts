/**
 * What the differential test asks of both brokers about groups and their offsets.
 *
 * A story is played once for every version of its API, with a topic and a group of its own.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import { ApiKey } from "../../protocol/api_keys.ts";
import {
  findCoordinatorRequest,
  findCoordinatorResponse,
} from "../../protocol/schemas/find_coordinator.ts";
import { heartbeatRequest, heartbeatResponse } from "../../protocol/schemas/heartbeat.ts";
import { joinGroupRequest, joinGroupResponse } from "../../protocol/schemas/join_group.ts";
import { offsetFetchRequest, offsetFetchResponse } from "../../protocol/schemas/offset_fetch.ts";
import { syncGroupRequest, syncGroupResponse } from "../../protocol/schemas/sync_group.ts";
import { deleteGroupsRequest, deleteGroupsResponse } from "../../protocol/schemas/delete_groups.ts";
import {
  describeGroupsRequest,
  describeGroupsResponse,
} from "../../protocol/schemas/describe_groups.ts";
import { leaveGroupRequest, leaveGroupResponse } from "../../protocol/schemas/leave_group.ts";
import { offsetDeleteRequest, offsetDeleteResponse } from "../../protocol/schemas/offset_delete.ts";
import { encodeSubscription } from "../broker/groups/members.ts";
import {
  beat,
  bytesOf,
  commit,
  committed,
  coordinatorReady,
  deleteGroup,
  groupOf,
  idOf,
  join,
  joined,
  listGroups,
  makeTopic,
  type State,
  type Step,
  step,
  type Story,
  subscription,
  sync,
  topicOf,
  UNKNOWN_ID,
} from "./differential_steps.ts";

/** A member with a name of its own, which comes back under another member id. */
function staticMember(): Step[] {
  const instance = (state: State) => `instance-${topicOf(state)}`;
  const ask = (title: string, more: { memberId?: string; keep?: boolean } = {}) =>
    step(title, joinGroupRequest, joinGroupResponse, (state) => ({
      groupId: groupOf(state),
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 10_000,
      memberId: more.memberId ?? "",
      groupInstanceId: instance(state),
      protocolType: "consumer",
      protocols: [{ name: "range", metadata: subscription("first") }],
    }), {
      keep: (state, answer) => {
        state["oldMemberId"] = state["memberId"];
        state["memberId"] = answer.memberId;
      },
      pick: ({ leader, memberId, members, ...answer }) => ({
        ...answer,
        leads: leader === memberId,
        members: members.map(({ groupInstanceId }) => groupInstanceId),
      }),
    });
  const beatAs = (title: string, who: string) =>
    step(title, heartbeatRequest, heartbeatResponse, (state, version) =>
      version < 3 ? null : {
        groupId: groupOf(state),
        generationId: 1,
        memberId: state[who] as string,
        groupInstanceId: instance(state),
      });
  const syncAs = (title: string, who: string) =>
    step(title, syncGroupRequest, syncGroupResponse, (state, version) =>
      version < 3 ? null : {
        groupId: groupOf(state),
        generationId: 1,
        memberId: state[who] as string,
        groupInstanceId: instance(state),
        protocolType: "consumer",
        protocolName: "range",
        assignments: [{ memberId: state[who] as string, assignment: bytesOf("mine") }],
      });
  const leave = (title: string, groupInstanceId: (state: State) => string) =>
    step(title, leaveGroupRequest, leaveGroupResponse, (state, version) =>
      version < 3 ? null : {
        groupId: groupOf(state),
        members: [{ memberId: "", groupInstanceId: groupInstanceId(state) }],
      });
  return [
    ...coordinatorReady,
    ask("join"),
    syncAs("sync", "memberId"),
    beatAs("beat", "memberId"),
    ask("come back"),
    beatAs("beat as who it was", "oldMemberId"),
    beatAs("beat as who it is", "memberId"),
    syncAs("sync as who it was", "oldMemberId"),
    syncAs("sync as who it is", "memberId"),
    ask("join as somebody else", { memberId: "nobody" }),
    leave("leave as nobody", () => "nobody"),
    leave("leave", instance),
    leave("leave again", instance),
  ];
}

/** A second member comes, both sync with what the first gives them, and the first leaves. */
function rebalance(): Step[] {
  const member = (state: State, who: string) => ({
    groupId: groupOf(state),
    memberId: (state[who] ?? "") as string,
    generationId: 2,
    protocolType: "consumer",
    protocolName: "range",
  });
  const second = (title: string, isBackground: boolean) =>
    step(title, joinGroupRequest, joinGroupResponse, (state) => ({
      groupId: groupOf(state),
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 10_000,
      memberId: (state["second"] ?? "") as string,
      protocolType: "consumer",
      protocols: ["sticky", "range"].map((name) => ({ name, metadata: subscription(name) })),
    }), {
      isBackground,
      keep: (state, answer) => state["second"] = answer.memberId,
      pick: ({ leader, memberId, ...answer }) => ({ ...answer, leads: leader === memberId }),
    });
  const beatAs = (title: string, who: string, until?: number) =>
    step(title, heartbeatRequest, heartbeatResponse, (state) => member(state, who), {
      ...(until !== undefined && { until: ({ errorCode }) => errorCode === until }),
    });
  return [
    ...coordinatorReady,
    ...joined,
    second("the second asks for a member id", false),
    second("the second joins", true),
    step("the first hears of it", heartbeatRequest, heartbeatResponse, (state) => (
      { ...member(state, "memberId"), generationId: 1 }
    ), { until: ({ errorCode }) => errorCode === ErrorCode.REBALANCE_IN_PROGRESS }),
    sync("the first syncs too early"),
    join("the first joins again"),
    beatAs("the second beats before the sync", "second"),
    step(
      "the second syncs",
      syncGroupRequest,
      syncGroupResponse,
      (state) => ({ ...member(state, "second"), assignments: [] }),
      { isBackground: true },
    ),
    step("the first syncs", syncGroupRequest, syncGroupResponse, (state) => ({
      ...member(state, "memberId"),
      assignments: ["memberId", "second"].map((who) => (
        { memberId: state[who] as string, assignment: bytesOf(who) }
      )),
    })),
    beatAs("the first beats", "memberId"),
    beatAs("the second beats", "second"),
    step("the first leaves", leaveGroupRequest, leaveGroupResponse, (state) => (
      { groupId: groupOf(state), members: [{ memberId: state["memberId"] as string }] }
    ), { isAfterBackground: true, pick: ({ errorCode }) => errorCode }),
    beatAs("the second hears of it", "second", ErrorCode.REBALANCE_IN_PROGRESS),
    second("the second joins again", false),
  ];
}

/** A member that subscribes to the story's topic. */
function joinWithTopic(state: State) {
  return {
    groupId: groupOf(state),
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 10_000,
    memberId: (state["memberId"] ?? "") as string,
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: encodeSubscription({ topics: [topicOf(state)] }) }],
  };
}

/** Stories of groups. */
export const groupStories: readonly Story[] = [
  ["joins a group and beats", ApiKey.JoinGroup, [
    ...coordinatorReady,
    join("without a session", { sessionTimeoutMs: 1 }),
    join("without a group", { groupId: "" }),
    join("an unknown member", { memberId: "nobody" }),
    ...joined,
    join("another protocol type", { protocolType: "connect" }),
    join("no protocol in common", {
      memberId: "",
      protocols: [{ name: "other", metadata: bytesOf("x") }],
    }),
    beat("beat", 1),
  ]],
  ["refuses wrong members and generations", ApiKey.SyncGroup, [
    ...coordinatorReady,
    ...joined,
    sync("again"),
    sync("wrong generation", 9),
    sync("unknown member", 1, "nobody"),
  ]],
  ["beats", ApiKey.Heartbeat, [
    ...coordinatorReady,
    beat("no such group", 1, "nobody"),
    ...joined,
    beat("beat", 1),
    beat("wrong generation", 5),
    beat("unknown", 1, "nobody"),
  ]],
  ["leaves", ApiKey.LeaveGroup, [
    ...coordinatorReady,
    ...joined,
    ...["nobody", ""].map((memberId) =>
      step(
        `as ${memberId || "itself"}`,
        leaveGroupRequest,
        leaveGroupResponse,
        (state, version) => {
          const id = memberId === "" ? state["memberId"] as string : memberId;
          return version >= 3
            ? { groupId: groupOf(state), memberId: "", members: [{ memberId: id }] }
            : { groupId: groupOf(state), memberId: id, members: [] };
        },
      )
    ),
    beat("after leaving", 1),
  ]],
  ["rebalances two members", ApiKey.JoinGroup, rebalance(), 4],
  ["rebalances two members", ApiKey.SyncGroup, rebalance()],
  ["refuses wrong protocols", ApiKey.JoinGroup, [
    ...coordinatorReady,
    join("no protocols", { protocols: [] }),
    join("no protocol type", { protocolType: "" }),
    join("neither", { protocols: [], protocolType: "" }),
    join("a session that is too long", { sessionTimeoutMs: 86_400_000 }),
    ...joined,
    join("again, the same"),
    join("again, with another protocol", {
      protocols: [{ name: "sticky", metadata: subscription("first") }],
    }),
    sync("with the protocol of before", 2),
    beat("generation 1", 1),
    beat("generation 2", 2),
    beat("generation 3", 3),
  ]],
  ["refuses another protocol", ApiKey.SyncGroup, [
    ...coordinatorReady,
    sync("before there is a group", 1, "nobody"),
    join("ask for a member id"),
    join("join"),
    sync("another type", 1, undefined, { protocolType: "connect" }),
    sync("another name", 1, undefined, { protocolName: "sticky" }),
    sync("without a group", 1, undefined, { groupId: "" }),
    sync("no assignments", 1, undefined, { assignments: [] }),
    sync("once more"),
  ]],
  ["leaves in numbers", ApiKey.LeaveGroup, [
    ...coordinatorReady,
    ...joined,
    step(
      "nobody",
      leaveGroupRequest,
      leaveGroupResponse,
      (state, version) => version < 3 ? null : { groupId: groupOf(state), members: [] },
    ),
    step(
      "with strangers",
      leaveGroupRequest,
      leaveGroupResponse,
      (state, version) =>
        version < 3 ? null : {
          groupId: groupOf(state),
          members: [
            { memberId: "nobody", groupInstanceId: null },
            { memberId: state["memberId"] as string, groupInstanceId: "stranger" },
            { memberId: state["memberId"] as string, groupInstanceId: null },
          ],
        },
    ),
    step("another group", leaveGroupRequest, leaveGroupResponse, (_, version) => ({
      groupId: "diff-missing",
      ...(version < 3 ? { memberId: "nobody" } : { members: [{ memberId: "nobody" }] }),
    })),
  ]],
  ["commits at the edges", ApiKey.OffsetCommit, [
    ...makeTopic(),
    ...coordinatorReady,
    commit("no metadata", -1, { memberId: "", metadata: null }),
    commit("a negative offset", -1, { memberId: "", offset: -3 }),
    commit("an empty group id", -1, { memberId: "", groupId: "" }),
    commit("a generation without a group", 3, { memberId: "nobody" }),
    commit("a negative partition", -1, { memberId: "", partition: -1 }),
    ...joined,
    commit("without a member, beside a member", -1, { memberId: "" }),
    join("again"),
    commit("in the middle of a rebalance", 1),
    committed("what is committed"),
  ]],
  ["answers for many groups", ApiKey.OffsetFetch, [
    ...makeTopic(),
    ...coordinatorReady,
    commit("commit", -1, { memberId: "" }),
    step("many", offsetFetchRequest, offsetFetchResponse, (state, version) =>
      version < 8 ? null : {
        groups: [
          { groupId: groupOf(state), topics: null },
          { groupId: "diff-missing", topics: null },
          {
            groupId: groupOf(state),
            topics: [
              { name: topicOf(state), topicId: idOf(state), partitionIndexes: [0] },
              { name: "diff-missing", topicId: UNKNOWN_ID, partitionIndexes: [0] },
            ],
          },
        ],
        requireStable: true,
      }),
    step(
      "as a member of a generation",
      offsetFetchRequest,
      offsetFetchResponse,
      (state, version) =>
        version < 9 ? null : {
          groups: [{ groupId: groupOf(state), memberId: "nobody", memberEpoch: 3, topics: null }],
        },
    ),
  ]],
  ["describes with permissions", ApiKey.DescribeGroups, [
    ...coordinatorReady,
    ...joined,
    step("describe", describeGroupsRequest, describeGroupsResponse, (state, version) => ({
      groups: [groupOf(state)],
      includeAuthorizedOperations: version >= 3,
    }), { pick: ({ groups }) => groups.map(({ members: _, ...group }) => group) }),
    step("no group id", describeGroupsRequest, describeGroupsResponse, () => ({ groups: [""] })),
  ]],
  ["keeps static members", ApiKey.JoinGroup, staticMember()],
  ["keeps static members", ApiKey.Heartbeat, staticMember()],
  ["keeps static members", ApiKey.SyncGroup, staticMember()],
  ["keeps static members", ApiKey.LeaveGroup, staticMember()],
  ["finds coordinators", ApiKey.FindCoordinator, [
    ...coordinatorReady,
    // 1 is a transaction's, which comes with transactions.
    ...[0, 2, 9].map((keyType) =>
      step(
        `of type ${keyType}`,
        findCoordinatorRequest,
        findCoordinatorResponse,
        (state, version) =>
          version < 1 && keyType > 0
            ? null
            : version < 4
            ? { key: groupOf(state), keyType, coordinatorKeys: [] }
            : { key: "", keyType, coordinatorKeys: [groupOf(state), ""] },
      )
    ),
  ]],
  ["lists groups by state and type", ApiKey.ListGroups, [
    ...coordinatorReady,
    ...joined,
    ...([
      [[], []],
      [["Stable"], []],
      [["stable", "Empty"], []],
      [["Empty"], []],
      [["NoSuchState"], []],
      [[], ["classic"]],
      [[], ["Classic"]],
      [[], ["consumer"]],
      [[], ["nosuchtype"]],
      [["Stable"], ["classic"]],
    ] as const).map(([states, types]) =>
      listGroups(`states ${states} types ${types}`, { states, types })
    ),
  ]],
  ["commits", ApiKey.OffsetCommit, [
    ...makeTopic(),
    ...coordinatorReady,
    commit("without a group", -1, { memberId: "" }),
    commit("a partition that is not there", -1, { memberId: "", partition: 9 }),
    commit("too much metadata", -1, { memberId: "", metadata: "m".repeat(5000) }),
    commit("a topic that is not there", -1, { memberId: "", topic: "diff-missing" }),
    ...joined,
    commit("as a member", 1),
    commit("wrong generation", 4),
    commit("unknown member", 1, { memberId: "nobody" }),
    committed("what is committed"),
  ]],
  ["tells what is committed", ApiKey.OffsetFetch, [
    ...makeTopic(),
    ...coordinatorReady,
    committed("nothing yet"),
    commit("commit", -1, { memberId: "" }),
    committed("something"),
    committed("everything", true),
    committed("an unknown group", true, "diff-missing"),
  ]],
  ["deletes offsets", ApiKey.OffsetDelete, [
    ...makeTopic(),
    ...coordinatorReady,
    commit("commit", -1, { memberId: "" }),
    ...[0, 9].map((partitionIndex) =>
      step(`of ${partitionIndex}`, offsetDeleteRequest, offsetDeleteResponse, (state) => ({
        groupId: groupOf(state),
        topics: [{ name: topicOf(state), partitions: [{ partitionIndex }] }],
      }), {
        pick: ({ errorCode, topics }) => ({
          errorCode,
          partitions: topics.map(({ partitions }) => partitions),
        }),
      })
    ),
    committed("afterwards"),
  ]],
  ["keeps offsets of what is subscribed to", ApiKey.OffsetDelete, [
    ...makeTopic(),
    ...coordinatorReady,
    step("of no group", offsetDeleteRequest, offsetDeleteResponse, (state) => (
      { groupId: groupOf(state), topics: [] }
    )),
    step("join", joinGroupRequest, joinGroupResponse, joinWithTopic, {
      compare: false,
      keep: (state, { memberId }) => state["memberId"] = memberId,
    }),
    step("join again", joinGroupRequest, joinGroupResponse, joinWithTopic, {
      pick: ({ errorCode }) => errorCode,
    }),
    sync("sync"),
    commit("commit", 1),
    ...[0, 3].map((partitionIndex) =>
      step(`of ${partitionIndex}`, offsetDeleteRequest, offsetDeleteResponse, (state) => ({
        groupId: groupOf(state),
        topics: [topicOf(state), "diff-missing"].map((name) => (
          { name, partitions: [{ partitionIndex }] }
        )),
      }), { pick: ({ topics }) => topics.toSorted((a, b) => a.name < b.name ? -1 : 1) })
    ),
    step("without a group id", offsetDeleteRequest, offsetDeleteResponse, () => (
      { groupId: "", topics: [] }
    )),
    committed("afterwards"),
  ]],
  ["refuses to delete what is not there", ApiKey.DeleteGroups, [
    ...coordinatorReady,
    step("nothing", deleteGroupsRequest, deleteGroupsResponse, () => ({ groupsNames: [] })),
    step("a stranger", deleteGroupsRequest, deleteGroupsResponse, () => (
      { groupsNames: ["diff-missing"] }
    )),
  ]],
  ["describes groups", ApiKey.DescribeGroups, [
    ...coordinatorReady,
    ...joined,
    step(
      "describe",
      describeGroupsRequest,
      describeGroupsResponse,
      (state) => ({ groups: [groupOf(state), "diff-missing"] }),
      {
        pick: (answer) =>
          // Kafka keeps no order among groups.
          answer.groups.toSorted((a, b) => a.groupId < b.groupId ? -1 : 1).map((
            { members, ...group },
          ) => ({
            ...group,
            members: members.map((
              { memberMetadata, memberAssignment, clientId, groupInstanceId },
            ) => ({ memberMetadata, memberAssignment, clientId, groupInstanceId })),
          })),
      },
    ),
  ]],
  ["deletes groups", ApiKey.DeleteGroups, [
    ...makeTopic(),
    ...coordinatorReady,
    commit("commit", -1, { memberId: "" }),
    ...[0, 1].map((i) => deleteGroup(`delete ${i}`)),
    ...joined,
    deleteGroup("while a member lives"),
  ]],
];
