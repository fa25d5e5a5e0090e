/** OffsetCommit, OffsetFetch and OffsetDelete over the wire; what Apache Kafka 4.3 answers is expected. */

import { expect, test } from "bun:test";
import { offsetCommitApi } from "../../../broker/apis/offset_commit.ts";
import { offsetDeleteApi } from "../../../broker/apis/offset_delete.ts";
import { offsetFetchApi } from "../../../broker/apis/offset_fetch.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import {
  offsetCommitRequest,
  offsetCommitResponse,
} from "../../../protocol/schemas/offset_commit.ts";
import {
  offsetDeleteRequest,
  offsetDeleteResponse,
} from "../../../protocol/schemas/offset_delete.ts";
import { offsetFetchRequest, offsetFetchResponse } from "../../../protocol/schemas/offset_fetch.ts";
import { type Uuid, ZERO_UUID } from "../../../protocol/types.ts";
import { call, versionsOf } from "../groups/api_call.ts";
import { GroupHarness } from "../groups/harness.ts";

const commitPair = { request: offsetCommitRequest, response: offsetCommitResponse };
const fetchPair = { request: offsetFetchRequest, response: offsetFetchResponse };
const deletePair = { request: offsetDeleteRequest, response: offsetDeleteResponse };
const STRANGER = "AQEBAQEBAQEBAQEBAQEBAQ" as Uuid;

async function open() {
  const harness = await GroupHarness.start();
  await harness.ready();
  const subsystems = { controller: harness.controller, groupCoordinator: harness.coordinator };
  return {
    harness,
    topicId: harness.controller.image().topicByName("t")!.id,
    commit: offsetCommitApi(subsystems),
    fetch: offsetFetchApi(subsystems),
    remove: offsetDeleteApi(subsystems),
  };
}

function partition(
  partitionIndex: number,
  committedOffset: number,
  committedMetadata: string | null,
) {
  return { partitionIndex, committedOffset, committedLeaderEpoch: 3, committedMetadata };
}

/** One OffsetFetch of group `groupId` in the form that `version` wants. */
function fetchBody(
  version: number,
  groupId: string,
  topics: readonly { name: string; topicId: Uuid; partitionIndexes: number[] }[] | null,
) {
  return version < 8
    ? { groupId, topics, groups: [] }
    : { groupId: "", topics: [], groups: [{ groupId, topics }] };
}

test("OffsetCommit, OffsetFetch: round trips of every pair of versions", async () => {
  const { harness, commit, fetch, topicId } = await open();
  for (const version of versionsOf(commit)) {
    const groupId = `g${version}`;
    const committed = await call(harness, commit, commitPair, version, {
      groupId,
      generationIdOrMemberEpoch: -1,
      memberId: "",
      groupInstanceId: null,
      topics: [{
        name: "t",
        topicId,
        partitions: [partition(0, 42, "Grüße"), partition(31, 7, null)],
      }],
    });
    expect(committed.topics).toEqual([{
      name: version < 10 ? "t" : "",
      topicId: version < 10 ? ZERO_UUID : topicId,
      partitions: [{ partitionIndex: 0, errorCode: 0 }, { partitionIndex: 31, errorCode: 0 }],
    }]);
    for (const fetchVersion of versionsOf(fetch)) {
      const topics = [{ name: "t", topicId, partitionIndexes: [0, 31, 5] }];
      const body = fetchBody(fetchVersion, groupId, topics);
      const fetched = await call(harness, fetch, fetchPair, fetchVersion, body);
      const answer = fetchVersion < 8 ? fetched : fetched.groups[0]!;
      const epoch = version >= 6 && fetchVersion >= 5 ? 3 : -1;
      expect(answer.errorCode).toBe(0);
      const nothing = { committedOffset: -1, committedLeaderEpoch: -1, metadata: "", errorCode: 0 };
      expect(answer.topics[0]?.partitions).toEqual([
        {
          partitionIndex: 0,
          committedOffset: 42,
          committedLeaderEpoch: epoch,
          metadata: "Grüße",
          errorCode: 0,
        },
        {
          partitionIndex: 31,
          committedOffset: 7,
          committedLeaderEpoch: epoch,
          metadata: "",
          errorCode: 0,
        },
        { partitionIndex: 5, ...nothing },
      ]);
    }
  }
});

test("OffsetCommit: each partition has its own error", async () => {
  const { harness, commit, topicId } = await open();
  const body = {
    groupId: "g",
    generationIdOrMemberEpoch: -1,
    memberId: "",
    topics: [
      {
        name: "t",
        topicId,
        partitions: [partition(0, 1, "x".repeat(5000)), partition(1, 1, ""), partition(32, 1, "")],
      },
      { name: "nope", topicId: STRANGER, partitions: [partition(0, 1, "")] },
    ],
  };
  for (const version of versionsOf(commit)) {
    const { topics } = await call(harness, commit, commitPair, version, body);
    expect(topics.map(({ partitions }) => partitions.map(({ errorCode }) => errorCode))).toEqual([
      [ErrorCode.OFFSET_METADATA_TOO_LARGE, ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
      [version < 10 ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : ErrorCode.UNKNOWN_TOPIC_ID],
    ]);
  }
});

test("OffsetCommit: a generation of a group that is not there", async () => {
  const { harness, commit, topicId } = await open();
  for (const version of versionsOf(commit)) {
    const { topics } = await call(harness, commit, commitPair, version, {
      groupId: "nobody",
      generationIdOrMemberEpoch: 5,
      memberId: "m",
      topics: [{ name: "t", topicId, partitions: [partition(0, 1, "")] }],
    });
    const expected = version < 9 ? ErrorCode.ILLEGAL_GENERATION : ErrorCode.GROUP_ID_NOT_FOUND;
    expect(topics[0]?.partitions[0]?.errorCode).toBe(expected);
  }
});

test("OffsetFetch: all topics, groups that are not there, many groups, unknown ids", async () => {
  const { harness, commit, fetch, topicId } = await open();
  await call(harness, commit, commitPair, 8, {
    groupId: "g",
    generationIdOrMemberEpoch: -1,
    memberId: "",
    topics: [{ name: "t", topicId, partitions: [partition(2, 9, "m")] }],
  });
  for (const version of versionsOf(fetch).filter((one) => one >= 2)) {
    const all = await call(harness, fetch, fetchPair, version, fetchBody(version, "g", null));
    const { topics } = version < 8 ? all : all.groups[0]!;
    expect(topics.map(({ partitions }) => partitions.map((one) => one.committedOffset))).toEqual([[
      9,
    ]]);
    const none = await call(harness, fetch, fetchPair, version, fetchBody(version, "nobody", null));
    const nobody = version < 8 ? none : none.groups[0]!;
    expect({ topics: nobody.topics, errorCode: nobody.errorCode }).toEqual({
      topics: [],
      errorCode: 0,
    });
  }
  const many = await call(harness, fetch, fetchPair, 10, {
    groupId: "",
    topics: [],
    groups: [
      {
        groupId: "g",
        memberId: "m",
        memberEpoch: 4,
        topics: [
          { name: "", topicId: STRANGER, partitionIndexes: [0] },
          { name: "", topicId, partitionIndexes: [2] },
        ],
      },
      { groupId: "nobody", topics: [{ name: "", topicId, partitionIndexes: [2] }] },
    ],
    requireStable: true,
  });
  expect(many.groups.map(({ topics }) =>
    topics.map((topic) => [
      topic.topicId,
      topic.partitions[0]?.committedOffset,
      topic.partitions[0]?.errorCode,
    ])
  )).toEqual([
    [[topicId, 9, ErrorCode.NONE], [STRANGER, -1, ErrorCode.UNKNOWN_TOPIC_ID]],
    [[topicId, -1, ErrorCode.NONE]],
  ]);
});

test("OffsetFetch: an error of the group stands where its version can say it", async () => {
  const { harness, commit, fetch, topicId } = await open();
  await call(harness, commit, commitPair, 8, {
    groupId: "g",
    generationIdOrMemberEpoch: -1,
    memberId: "",
    topics: [{ name: "t", topicId, partitions: [partition(2, 9, "m")] }],
  });
  await harness.run(harness.coordinator.stop());
  const topics = [{ name: "t", topicId, partitionIndexes: [2] }];
  for (const version of versionsOf(fetch)) {
    const answer = await call(harness, fetch, fetchPair, version, fetchBody(version, "g", topics));
    const expected = ErrorCode.COORDINATOR_NOT_AVAILABLE;
    if (version === 1) expect(answer.topics[0]?.partitions[0]?.errorCode).toBe(expected);
    else expect(version < 8 ? answer.errorCode : answer.groups[0]?.errorCode).toBe(expected);
  }
});

test("OffsetFetch: the offset of a topic that was made anew is not the old one's", async () => {
  const { harness, commit, fetch, topicId } = await open();
  await call(harness, commit, commitPair, 10, {
    groupId: "g",
    generationIdOrMemberEpoch: -1,
    memberId: "",
    topics: [{ name: "", topicId, partitions: [partition(0, 9, "m")] }],
  });
  // The topic is deleted in a moment when nobody coordinates the group, and made anew.
  await harness.run(harness.coordinator.stop());
  await harness.run(harness.controller.deleteTopics([{ name: "t" }]));
  harness.kill();
  await harness.open();
  const newId = await harness.makeTopic("t", 1);
  await harness.run(harness.coordinator.loaded());
  const again = offsetFetchApi({
    controller: harness.controller,
    groupCoordinator: harness.coordinator,
  });
  const topics = [{ name: "t", topicId: newId, partitionIndexes: [0] }];
  for (const version of versionsOf(fetch)) {
    const answer = await call(harness, again, fetchPair, version, fetchBody(version, "g", topics));
    const { partitions } = (version < 8 ? answer.topics : answer.groups[0]!.topics)[0]!;
    expect(partitions[0]?.committedOffset).toBe(-1);
  }
});

test("OffsetDelete: partitions that are gone, known or unknown", async () => {
  const { harness, commit, remove, topicId } = await open();
  const topics = [
    { name: "t", partitions: [1, 0, 99].map((partitionIndex) => ({ partitionIndex })) },
    { name: "nope", partitions: [{ partitionIndex: 0 }] },
  ];
  expect(await call(harness, remove, deletePair, 0, { groupId: "nobody", topics })).toEqual({
    errorCode: ErrorCode.GROUP_ID_NOT_FOUND,
    throttleTimeMs: 0,
    topics: [],
  });
  await call(harness, commit, commitPair, 8, {
    groupId: "g",
    generationIdOrMemberEpoch: -1,
    memberId: "",
    topics: [{ name: "t", topicId, partitions: [partition(1, 9, "m")] }],
  });
  const unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  expect(await call(harness, remove, deletePair, 0, { groupId: "g", topics })).toEqual({
    errorCode: 0,
    throttleTimeMs: 0,
    topics: [
      {
        name: "t",
        partitions: [
          { partitionIndex: 1, errorCode: 0 },
          { partitionIndex: 0, errorCode: 0 },
          { partitionIndex: 99, errorCode: unknown },
        ],
      },
      { name: "nope", partitions: [{ partitionIndex: 0, errorCode: unknown }] },
    ],
  });
  expect(harness.coordinator.fetchOffsets("g", null, false)).toEqual({ error: 0, topics: [] });
});
