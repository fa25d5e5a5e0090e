/** JoinGroup, SyncGroup, Heartbeat and LeaveGroup over the wire; what Apache Kafka 4.3 answers is expected. */

import { expect, test } from "bun:test";
import { heartbeatApi } from "../../../broker/apis/heartbeat.ts";
import { joinGroupApi } from "../../../broker/apis/join_group.ts";
import { leaveGroupApi } from "../../../broker/apis/leave_group.ts";
import { syncGroupApi } from "../../../broker/apis/sync_group.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { heartbeatRequest, heartbeatResponse } from "../../../protocol/schemas/heartbeat.ts";
import { joinGroupRequest, joinGroupResponse } from "../../../protocol/schemas/join_group.ts";
import { leaveGroupRequest, leaveGroupResponse } from "../../../protocol/schemas/leave_group.ts";
import { syncGroupRequest, syncGroupResponse } from "../../../protocol/schemas/sync_group.ts";
import { call, versionsOf } from "../groups/api_call.ts";
import { GroupHarness } from "../groups/harness.ts";

const joinPair = { request: joinGroupRequest, response: joinGroupResponse };
const syncPair = { request: syncGroupRequest, response: syncGroupResponse };
const heartbeatPair = { request: heartbeatRequest, response: heartbeatResponse };
const leavePair = { request: leaveGroupRequest, response: leaveGroupResponse };

const METADATA = new Uint8Array([0, 1, 0, 0, 0, 1, 0, 1, 116, 255, 0, 7]);
const ASSIGNMENT = new Uint8Array([9, 8, 7]);

function joinBody(groupId: string, memberId = "", sessionTimeoutMs = 10_000) {
  return {
    groupId,
    sessionTimeoutMs,
    rebalanceTimeoutMs: -1,
    memberId,
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: METADATA }],
  };
}

test("JoinGroup, SyncGroup, Heartbeat, LeaveGroup: a member's life at every version", async () => {
  const harness = await GroupHarness.start();
  await harness.ready();
  const groupCoordinator = harness.coordinator;
  const join = joinGroupApi({ groupCoordinator });
  const sync = syncGroupApi({ groupCoordinator });
  const heartbeat = heartbeatApi({ groupCoordinator });
  const leave = leaveGroupApi({ groupCoordinator });
  for (const version of versionsOf(join)) {
    const groupId = `g${version}`;
    let joined = await call(harness, join, joinPair, version, joinBody(groupId));
    if (version >= 4) {
      expect(joined.errorCode).toBe(ErrorCode.MEMBER_ID_REQUIRED);
      expect(joined.generationId).toBe(-1);
      joined = await call(harness, join, joinPair, version, joinBody(groupId, joined.memberId));
    }
    const { memberId } = joined;
    expect(joined).toEqual({
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      generationId: 1,
      protocolType: version >= 7 ? "consumer" : null,
      protocolName: "range",
      leader: memberId,
      skipAssignment: false,
      memberId,
      members: [{ memberId, groupInstanceId: null, metadata: METADATA }],
    });
    const member = { groupId, generationId: 1, memberId };
    const syncVersion = Math.min(version, sync.versions.highest);
    const synced = await call(harness, sync, syncPair, syncVersion, {
      ...member,
      protocolType: syncVersion >= 5 ? "consumer" : null,
      protocolName: syncVersion >= 5 ? "range" : null,
      assignments: [{ memberId, assignment: ASSIGNMENT }],
    });
    expect(synced.errorCode).toBe(ErrorCode.NONE);
    expect(synced.assignment).toEqual(ASSIGNMENT);
    expect(synced.protocolName).toBe(syncVersion >= 5 ? "range" : null);
    const heartbeatVersion = Math.min(version, heartbeat.versions.highest);
    expect((await call(harness, heartbeat, heartbeatPair, heartbeatVersion, member)).errorCode)
      .toBe(ErrorCode.NONE);
    const described = groupCoordinator.describeGroup(groupId);
    expect(described.members[0]?.clientHost).toBe("/10.0.0.7");
    expect(described.members[0]?.rebalanceTimeoutMs).toBe(10_000);
    const leaveVersion = Math.min(version, leave.versions.highest);
    const left = await call(harness, leave, leavePair, leaveVersion, {
      groupId,
      memberId: leaveVersion < 3 ? memberId : "",
      members: leaveVersion < 3 ? [] : [{ memberId }],
    });
    expect(left.errorCode).toBe(ErrorCode.NONE);
    expect(left.members.map(({ errorCode }) => errorCode)).toEqual(leaveVersion < 3 ? [] : [0]);
    expect(groupCoordinator.describeGroup(groupId).state).toBe("Empty");
  }
});

test.each([
  ["an empty group id", joinBody(""), ErrorCode.INVALID_GROUP_ID],
  ["a session that is too short", joinBody("x", "", 5_999), ErrorCode.INVALID_SESSION_TIMEOUT],
  ["a session that is too long", joinBody("x", "", 1_800_001), ErrorCode.INVALID_SESSION_TIMEOUT],
  ["a member of no group", joinBody("x", "m"), ErrorCode.UNKNOWN_MEMBER_ID],
  ["no protocol", { ...joinBody("x"), protocols: [] }, ErrorCode.INCONSISTENT_GROUP_PROTOCOL],
  ["no type", { ...joinBody("x"), protocolType: "" }, ErrorCode.INCONSISTENT_GROUP_PROTOCOL],
])("JoinGroup: %s is refused and leaves no group", async (_, body, errorCode) => {
  const harness = await GroupHarness.start();
  await harness.ready();
  const join = joinGroupApi({ groupCoordinator: harness.coordinator });
  for (const version of versionsOf(join)) {
    expect(await call(harness, join, joinPair, version, body)).toEqual({
      throttleTimeMs: 0,
      errorCode,
      generationId: -1,
      protocolType: null,
      protocolName: version >= 7 ? null : "",
      leader: "",
      skipAssignment: false,
      memberId: body.memberId,
      members: [],
    });
  }
  expect(harness.coordinator.listGroups().groups).toEqual([]);
});

test("SyncGroup, Heartbeat, LeaveGroup: unknown groups and empty ids", async () => {
  const harness = await GroupHarness.start();
  await harness.ready();
  const groupCoordinator = harness.coordinator;
  const sync = syncGroupApi({ groupCoordinator });
  const heartbeat = heartbeatApi({ groupCoordinator });
  const leave = leaveGroupApi({ groupCoordinator });
  const codes = [["nobody", ErrorCode.UNKNOWN_MEMBER_ID], [
    "",
    ErrorCode.INVALID_GROUP_ID,
  ]] as const;
  for (const [groupId, errorCode] of codes) {
    const member = { groupId, generationId: 1, memberId: "m" };
    const beat = await call(harness, heartbeat, heartbeatPair, 4, member);
    expect(beat.errorCode).toBe(errorCode);
    const named = { protocolType: "consumer", protocolName: "range" };
    const synced = await call(harness, sync, syncPair, 5, { ...member, ...named, assignments: [] });
    expect(synced.errorCode).toBe(errorCode);
    const old = await call(harness, leave, leavePair, 2, { groupId, memberId: "m", members: [] });
    expect(old.errorCode).toBe(errorCode);
    const members = [{ memberId: "m", reason: "over" }];
    const left = await call(harness, leave, leavePair, 5, { groupId, memberId: "", members });
    expect(left.errorCode).toBe(groupId === "" ? errorCode : ErrorCode.NONE);
    expect(left.members.map((one) => one.errorCode)).toEqual(groupId === "" ? [] : [errorCode]);
  }
  const unnamed = { groupId: "nobody", generationId: 1, memberId: "m", assignments: [] };
  expect((await call(harness, sync, syncPair, 5, unnamed)).errorCode)
    .toBe(ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
});
