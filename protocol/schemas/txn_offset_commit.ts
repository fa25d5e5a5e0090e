/**
 * TxnOffsetCommit (key 28): commits offsets inside a transaction (KIP-98).
 *
 * Versions:
 *   1    a throttled client gets its answer before the wait (KIP-219)
 *   2    committedLeaderEpoch (KIP-320)
 *   3    flexible (KIP-482); memberId, generation and groupInstanceId fence (KIP-447)
 *   4    may answer TRANSACTION_ABORTABLE (KIP-890)
 *   5    makes the group part of the transaction by itself (KIP-890)
 *   6    topic ids instead of names; member epochs of the new groups (KIP-1319)
 */

import { array, type Decoded, int16, int32, int64, message, string, uuid } from "../schema.ts";

/** Request of TxnOffsetCommit. */
export const txnOffsetCommitRequest = message(
  { name: "TxnOffsetCommitRequest", apiKey: 28, versions: "0-6", flexible: "3+" },
  {
    transactionalId: string("0+", { entity: "transactionalId" }),
    groupId: string("0+", { entity: "groupId" }),
    producerId: int64("0+", { entity: "producerId" }),
    producerEpoch: int16("0+"),
    generationIdOrMemberEpoch: int32("3+", { default: -1 }),
    memberId: string("3+", { default: "" }),
    groupInstanceId: string("3+", { nullable: "3+", default: null }),
    topics: array("0+", {
      name: string("0-5", { ignorable: true, entity: "topicName" }),
      topicId: uuid("6+", { ignorable: true }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        committedOffset: int64("0+"),
        committedLeaderEpoch: int32("2+", { default: -1, ignorable: true }),
        committedMetadata: string("0+", { nullable: "0+" }),
      }),
    }),
  },
);
export type TxnOffsetCommitRequest = Decoded<typeof txnOffsetCommitRequest>;

/** Answer of TxnOffsetCommit. */
export const txnOffsetCommitResponse = message(
  { name: "TxnOffsetCommitResponse", apiKey: 28, versions: "0-6", flexible: "3+" },
  {
    throttleTimeMs: int32("0+"),
    topics: array("0+", {
      name: string("0-5", { ignorable: true, entity: "topicName" }),
      topicId: uuid("6+", { ignorable: true }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        errorCode: int16("0+"),
      }),
    }),
  },
);
export type TxnOffsetCommitResponse = Decoded<typeof txnOffsetCommitResponse>;
