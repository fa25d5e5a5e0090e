/**
 * OffsetFetch (key 9): reads a group's committed positions.
 *
 * Versions:
 *   1    positions are kept in the log of offsets
 *   2    null asks for all topics; errorCode of the group
 *   3    throttleTimeMs in the answer (KIP-124)
 *   4    a throttled client gets its answer before the wait (KIP-219)
 *   5    committedLeaderEpoch (KIP-320)
 *   6    flexible (KIP-482)
 *   7    requireStable: wait for open transactions (KIP-447)
 *   8    several groups in one request (KIP-709)
 *   9    memberId and memberEpoch (KIP-848)
 *   10   topic ids instead of names (KIP-848)
 */

import {
  array,
  bool,
  type Decoded,
  int16,
  int32,
  int64,
  message,
  string,
  uuid,
} from "../schema.ts";

/** Request of OffsetFetch. */
export const offsetFetchRequest = message(
  { name: "OffsetFetchRequest", apiKey: 9, versions: "1-10", flexible: "6+" },
  {
    groupId: string("0-7", { entity: "groupId" }),
    topics: array("0-7", {
      name: string("0-7", { entity: "topicName" }),
      partitionIndexes: array("0-7", "int32"),
    }, { nullable: "2-7" }),
    groups: array("8+", {
      groupId: string("8+", { entity: "groupId" }),
      memberId: string("9+", { nullable: "9+", default: null, ignorable: true }),
      memberEpoch: int32("9+", { default: -1, ignorable: true }),
      topics: array("8+", {
        name: string("8-9", { ignorable: true, entity: "topicName" }),
        topicId: uuid("10+", { ignorable: true }),
        partitionIndexes: array("8+", "int32"),
      }, { nullable: "8+" }),
    }),
    requireStable: bool("7+", { default: false }),
  },
);
export type OffsetFetchRequest = Decoded<typeof offsetFetchRequest>;

/** Answer of OffsetFetch. */
export const offsetFetchResponse = message(
  { name: "OffsetFetchResponse", apiKey: 9, versions: "1-10", flexible: "6+" },
  {
    throttleTimeMs: int32("3+", { ignorable: true }),
    topics: array("0-7", {
      name: string("0-7", { entity: "topicName" }),
      partitions: array("0-7", {
        partitionIndex: int32("0-7"),
        committedOffset: int64("0-7"),
        committedLeaderEpoch: int32("5-7", { default: -1, ignorable: true }),
        metadata: string("0-7", { nullable: "0-7" }),
        errorCode: int16("0-7"),
      }),
    }),
    errorCode: int16("2-7", { default: 0, ignorable: true }),
    groups: array("8+", {
      groupId: string("8+", { entity: "groupId" }),
      topics: array("8+", {
        name: string("8-9", { ignorable: true, entity: "topicName" }),
        topicId: uuid("10+", { ignorable: true }),
        partitions: array("8+", {
          partitionIndex: int32("8+"),
          committedOffset: int64("8+"),
          committedLeaderEpoch: int32("8+", { default: -1, ignorable: true }),
          metadata: string("8+", { nullable: "8+" }),
          errorCode: int16("8+"),
        }),
      }),
      errorCode: int16("8+", { default: 0 }),
    }),
  },
);
export type OffsetFetchResponse = Decoded<typeof offsetFetchResponse>;
