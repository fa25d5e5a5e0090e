/**
 * ShareFetch (key 78): acquires records for a share group's member, and acknowledges others
 * (KIP-932).
 *
 * Versions:
 *   2    shareAcquireMode (KIP-1206); isRenewAck (KIP-1222)
 */

import {
  array,
  bool,
  type Decoded,
  int16,
  int32,
  int64,
  int8,
  message,
  records,
  string,
  struct,
  uuid,
} from "../schema.ts";

/** Request of ShareFetch. */
export const shareFetchRequest = message(
  { name: "ShareFetchRequest", apiKey: 78, versions: "1-2", flexible: "0+" },
  {
    groupId: string("0+", { nullable: "0+", default: null, entity: "groupId" }),
    memberId: string("0+", { nullable: "0+" }),
    shareSessionEpoch: int32("0+"),
    maxWaitMs: int32("0+"),
    minBytes: int32("0+"),
    maxBytes: int32("0+", { default: 0x7fffffff }),
    maxRecords: int32("1+"),
    batchSize: int32("1+"),
    shareAcquireMode: int8("2+", { default: 0, ignorable: true }),
    isRenewAck: bool("2+", { default: false }),
    topics: array("0+", {
      topicId: uuid("0+", { mapKey: true }),
      partitions: array("0+", {
        partitionIndex: int32("0+", { mapKey: true }),
        partitionMaxBytes: int32("0"),
        acknowledgementBatches: array("0+", {
          firstOffset: int64("0+"),
          lastOffset: int64("0+"),
          acknowledgeTypes: array("0+", "int8"),
        }),
      }),
    }),
    forgottenTopicsData: array("0+", {
      topicId: uuid("0+"),
      partitions: array("0+", "int32"),
    }),
  },
);
export type ShareFetchRequest = Decoded<typeof shareFetchRequest>;

/** Answer of ShareFetch. */
export const shareFetchResponse = message(
  { name: "ShareFetchResponse", apiKey: 78, versions: "1-2", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+", default: null }),
    acquisitionLockTimeoutMs: int32("1+"),
    responses: array("0+", {
      topicId: uuid("0+", { mapKey: true }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        errorCode: int16("0+"),
        errorMessage: string("0+", { nullable: "0+", default: null }),
        acknowledgeErrorCode: int16("0+"),
        acknowledgeErrorMessage: string("0+", { nullable: "0+", default: null }),
        currentLeader: struct("0+", {
          leaderId: int32("0+"),
          leaderEpoch: int32("0+"),
        }),
        records: records("0+", { nullable: "0" }),
        acquiredRecords: array("0+", {
          firstOffset: int64("0+"),
          lastOffset: int64("0+"),
          deliveryCount: int16("0+"),
        }),
      }),
    }),
    nodeEndpoints: array("0+", {
      nodeId: int32("0+", { entity: "brokerId", mapKey: true }),
      host: string("0+"),
      port: int32("0+"),
      rack: string("0+", { nullable: "0+", default: null }),
    }),
  },
);
export type ShareFetchResponse = Decoded<typeof shareFetchResponse>;
