/**
 * OffsetCommit (key 8): stores a group's positions.
 *
 * Versions:
 *   2    retentionTimeMs
 *   3    throttleTimeMs in the answer (KIP-124)
 *   4    a throttled client gets its answer before the wait (KIP-219)
 *   5    retentionTimeMs is gone; the broker decides (KIP-211)
 *   6    committedLeaderEpoch (KIP-320)
 *   7    groupInstanceId: static members (KIP-345)
 *   8    flexible (KIP-482)
 *   9    members of the new consumer groups; may answer STALE_MEMBER_EPOCH and GROUP_ID_NOT_FOUND
 *        (KIP-848)
 *   10   topic ids instead of names (KIP-848)
 */

import { array, type Decoded, int16, int32, int64, message, string, uuid } from "../schema.ts";

/** Request of OffsetCommit. */
export const offsetCommitRequest = message(
  { name: "OffsetCommitRequest", apiKey: 8, versions: "2-10", flexible: "8+" },
  {
    groupId: string("0+", { entity: "groupId" }),
    generationIdOrMemberEpoch: int32("1+", { default: -1, ignorable: true }),
    memberId: string("1+", { ignorable: true }),
    groupInstanceId: string("7+", { nullable: "7+", default: null }),
    retentionTimeMs: int64("2-4", { default: -1, ignorable: true }),
    topics: array("0+", {
      name: string("0-9", { ignorable: true, entity: "topicName" }),
      topicId: uuid("10+", { ignorable: true }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        committedOffset: int64("0+"),
        committedLeaderEpoch: int32("6+", { default: -1, ignorable: true }),
        committedMetadata: string("0+", { nullable: "0+" }),
      }),
    }),
  },
);
export type OffsetCommitRequest = Decoded<typeof offsetCommitRequest>;

/** Answer of OffsetCommit. */
export const offsetCommitResponse = message(
  { name: "OffsetCommitResponse", apiKey: 8, versions: "2-10", flexible: "8+" },
  {
    throttleTimeMs: int32("3+", { ignorable: true }),
    topics: array("0+", {
      name: string("0-9", { ignorable: true, entity: "topicName" }),
      topicId: uuid("10+", { ignorable: true }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        errorCode: int16("0+"),
      }),
    }),
  },
);
export type OffsetCommitResponse = Decoded<typeof offsetCommitResponse>;
