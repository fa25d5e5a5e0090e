/**
 * AlterPartition (key 56): a leader asks the controller to change the in-sync replicas (KIP-497).
 *
 * Versions:
 *   2    topic ids instead of names
 *   3    broker epochs with the in-sync replicas (KIP-903)
 */

import { array, type Decoded, int16, int32, int64, int8, message, uuid } from "../schema.ts";

/** Request of AlterPartition. */
export const alterPartitionRequest = message(
  { name: "AlterPartitionRequest", apiKey: 56, versions: "2-3", flexible: "0+" },
  {
    brokerId: int32("0+", { entity: "brokerId" }),
    brokerEpoch: int64("0+", { default: -1 }),
    topics: array("0+", {
      topicId: uuid("2+", { ignorable: true }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        leaderEpoch: int32("0+"),
        newIsr: array("0-2", "int32", { entity: "brokerId" }),
        newIsrWithEpochs: array("3+", {
          brokerId: int32("3+", { entity: "brokerId" }),
          brokerEpoch: int64("3+", { default: -1 }),
        }),
        leaderRecoveryState: int8("1+", { default: 0 }),
        partitionEpoch: int32("0+"),
      }),
    }),
  },
);
export type AlterPartitionRequest = Decoded<typeof alterPartitionRequest>;

/** Answer of AlterPartition. */
export const alterPartitionResponse = message(
  { name: "AlterPartitionResponse", apiKey: 56, versions: "2-3", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    topics: array("0+", {
      topicId: uuid("2+", { ignorable: true }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        errorCode: int16("0+"),
        leaderId: int32("0+", { entity: "brokerId" }),
        leaderEpoch: int32("0+"),
        isr: array("0+", "int32", { entity: "brokerId" }),
        leaderRecoveryState: int8("1+", { default: 0, ignorable: true }),
        partitionEpoch: int32("0+"),
      }),
    }),
  },
);
export type AlterPartitionResponse = Decoded<typeof alterPartitionResponse>;
