/** What operators ask: FindCoordinator, DescribeGroups, ListGroups, DeleteGroups over the wire. */

import { expect, test } from "bun:test";
import { deleteGroupsApi } from "../../../broker/apis/delete_groups.ts";
import { describeGroupsApi } from "../../../broker/apis/describe_groups.ts";
import { findCoordinatorApi } from "../../../broker/apis/find_coordinator.ts";
import { listGroupsApi } from "../../../broker/apis/list_groups.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import {
  deleteGroupsRequest,
  deleteGroupsResponse,
} from "../../../protocol/schemas/delete_groups.ts";
import {
  describeGroupsRequest,
  describeGroupsResponse,
} from "../../../protocol/schemas/describe_groups.ts";
import {
  findCoordinatorRequest,
  findCoordinatorResponse,
} from "../../../protocol/schemas/find_coordinator.ts";
import { listGroupsRequest, listGroupsResponse } from "../../../protocol/schemas/list_groups.ts";
import { leaderEpoch, offset, ZERO_UUID } from "../../../protocol/types.ts";
import { call, versionsOf } from "../groups/api_call.ts";
import { GroupHarness } from "../groups/harness.ts";

const findPair = { request: findCoordinatorRequest, response: findCoordinatorResponse };
const describePair = { request: describeGroupsRequest, response: describeGroupsResponse };
const listPair = { request: listGroupsRequest, response: listGroupsResponse };
const deletePair = { request: deleteGroupsRequest, response: deleteGroupsResponse };
/** READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS, as Kafka 4.3 answers. */
const GROUP_OPERATIONS = 0x0d48;
const NOT_ASKED = -2147483648;

/** A harness with the simple group "simple" in it. */
async function open(): Promise<GroupHarness> {
  const harness = await GroupHarness.start();
  await harness.ready();
  await harness.run(Promise.resolve(harness.coordinator.commitOffsets({
    groupId: "simple",
    memberId: "",
    groupInstanceId: null,
    generationId: -1,
    knowsGroupIdNotFound: true,
    retentionTimeMs: -1,
    offsets: [{
      topic: "t",
      topicId: ZERO_UUID,
      partition: 0,
      offset: offset(1),
      leaderEpoch: leaderEpoch(-1),
      metadata: null,
    }],
  })));
  return harness;
}

test("FindCoordinator: this node at the address that the client reached, at every version", async () => {
  const harness = await GroupHarness.start();
  const api = findCoordinatorApi({
    controller: harness.controller,
    groupCoordinator: harness.coordinator,
    transactionCoordinator: { find: () => expect.unreachable() },
    nodeId: 1,
  });
  for (const version of versionsOf(api)) {
    const body = version < 4 ? { key: "g" } : { coordinatorKeys: ["g", ""] };
    const answer = await call(harness, api, findPair, version, {
      key: "",
      coordinatorKeys: [],
      ...body,
    });
    const node = { nodeId: 1, host: "broker.test", port: 9999, errorCode: 0 };
    if (version < 4) expect(answer).toMatchObject(node);
    else expect(answer.coordinators).toMatchObject([{ key: "g", ...node }, { key: "", ...node }]);
  }
  // The answer means it: the group can be used at once.
  expect(harness.coordinator.listGroups().error).toBe(ErrorCode.NONE);
});

test.each([
  ["share groups", 2, ErrorCode.INVALID_REQUEST],
  ["nothing known", 9, ErrorCode.INVALID_REQUEST],
])("FindCoordinator: keys of %s have no coordinator", async (_, keyType, errorCode) => {
  const harness = await GroupHarness.start();
  const api = findCoordinatorApi({
    controller: harness.controller,
    groupCoordinator: harness.coordinator,
    transactionCoordinator: { find: () => expect.unreachable() },
    nodeId: 1,
  });
  const body = { key: "", keyType, coordinatorKeys: ["x"] };
  const nobody = { nodeId: -1, host: "", port: -1, errorCode };
  const { coordinators } = await call(harness, api, findPair, 6, body);
  expect(coordinators).toMatchObject([{ key: "x", ...nobody }]);
  expect(await call(harness, api, findPair, 3, { key: "x", keyType, coordinatorKeys: [] }))
    .toMatchObject(nobody);
  expect(harness.controller.image().topicByName("__consumer_offsets")).toBeUndefined();
});

test("DescribeGroups: groups that are there and not, with operations on request", async () => {
  const harness = await open();
  const api = describeGroupsApi({ groupCoordinator: harness.coordinator });
  for (const version of versionsOf(api)) {
    for (const includeAuthorizedOperations of version < 3 ? [false] : [false, true]) {
      const { groups } = await call(harness, api, describePair, version, {
        groups: ["simple", "none"],
        includeAuthorizedOperations,
      });
      const operations = includeAuthorizedOperations ? GROUP_OPERATIONS : NOT_ASKED;
      const empty = { protocolType: "", protocolData: "", members: [] };
      expect(groups).toEqual([
        {
          ...empty,
          errorCode: 0,
          errorMessage: null,
          groupId: "simple",
          groupState: "Empty",
          authorizedOperations: operations,
        },
        {
          ...empty,
          errorCode: version < 6 ? 0 : ErrorCode.GROUP_ID_NOT_FOUND,
          errorMessage: version < 6 ? null : "Group none not found.",
          groupId: "none",
          groupState: "Dead",
          authorizedOperations: version < 6 ? operations : NOT_ASKED,
        },
      ]);
    }
  }
});

test.each([
  [[], [], ["simple"]],
  [["EMPTY"], [], ["simple"]],
  [["Stable", "bogus"], [], []],
  [[], ["Classic"], ["simple"]],
  [[], ["consumer"], []],
  [["empty"], ["classic", "share"], ["simple"]],
])("ListGroups: states %p and types %p give %p", async (statesFilter, typesFilter, groupIds) => {
  const harness = await open();
  const api = listGroupsApi({ groupCoordinator: harness.coordinator });
  const { errorCode, groups } = await call(harness, api, listPair, 5, {
    statesFilter,
    typesFilter,
  });
  expect(errorCode).toBe(0);
  expect(groups).toEqual(groupIds.map((groupId) => ({
    groupId,
    protocolType: "",
    groupState: "Empty",
    groupType: "classic",
  })));
});

test("ListGroups: every version", async () => {
  const harness = await open();
  const api = listGroupsApi({ groupCoordinator: harness.coordinator });
  for (const version of versionsOf(api)) {
    const body = { statesFilter: [], typesFilter: [] };
    expect((await call(harness, api, listPair, version, body)).groups).toEqual([{
      groupId: "simple",
      protocolType: "",
      groupState: version < 4 ? "" : "Empty",
      groupType: version < 5 ? "" : "classic",
    }]);
  }
});

test("DeleteGroups: each name once, gone for good", async () => {
  const harness = await open();
  const api = deleteGroupsApi({ groupCoordinator: harness.coordinator });
  for (const version of versionsOf(api)) {
    const first = version === api.versions.lowest;
    const { results } = await call(harness, api, deletePair, version, {
      groupsNames: ["simple", "none", "none", ""],
    });
    const missing = ErrorCode.GROUP_ID_NOT_FOUND;
    expect(results.map(({ groupId, errorCode }) => [groupId, errorCode])).toEqual([
      ["simple", first ? ErrorCode.NONE : missing],
      ["none", missing],
      ["", missing],
    ]);
    if (version >= 3) expect(results[1]?.errorMessage).toBe("Group none not found.");
  }
  harness.crash();
  await harness.open();
  await harness.run(harness.coordinator.loaded());
  expect(harness.coordinator.listGroups().groups).toEqual([]);
});
