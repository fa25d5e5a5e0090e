/**
 * ShareAcknowledge (key 79): acknowledges records of a share group (KIP-932).
 *
 * Versions:
 *   2    isRenewAck, acquisitionLockTimeoutMs (KIP-1222)
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
  struct,
  uuid,
} from "../schema.ts";

/** Request of ShareAcknowledge. */
export const shareAcknowledgeRequest = message(
  { name: "ShareAcknowledgeRequest", apiKey: 79, versions: "1-2", flexible: "0+" },
  {
    groupId: string("0+", { nullable: "0+", default: null, entity: "groupId" }),
    memberId: string("0+", { nullable: "0+" }),
    shareSessionEpoch: int32("0+"),
    isRenewAck: bool("2+", { default: false }),
    topics: array("0+", {
      topicId: uuid("0+", { mapKey: true }),
      partitions: array("0+", {
        partitionIndex: int32("0+", { mapKey: true }),
        acknowledgementBatches: array("0+", {
          firstOffset: int64("0+"),
          lastOffset: int64("0+"),
          acknowledgeTypes: array("0+", "int8"),
        }),
      }),
    }),
  },
);
export type ShareAcknowledgeRequest = Decoded<typeof shareAcknowledgeRequest>;

/** Answer of ShareAcknowledge. */
export const shareAcknowledgeResponse = message(
  { name: "ShareAcknowledgeResponse", apiKey: 79, versions: "1-2", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+", default: null }),
    acquisitionLockTimeoutMs: int32("2+", { ignorable: true }),
    responses: array("0+", {
      topicId: uuid("0+", { mapKey: true }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        errorCode: int16("0+"),
        errorMessage: string("0+", { nullable: "0+", default: null }),
        currentLeader: struct("0+", {
          leaderId: int32("0+"),
          leaderEpoch: int32("0+"),
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
export type ShareAcknowledgeResponse = Decoded<typeof shareAcknowledgeResponse>;
