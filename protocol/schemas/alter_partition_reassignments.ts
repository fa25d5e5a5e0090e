/**
 * AlterPartitionReassignments (key 45): moves partitions to other brokers, or cancels that
 * (KIP-455).
 *
 * Versions:
 *   1    allowReplicationFactorChange (KIP-860)
 */

import { array, bool, type Decoded, int16, int32, message, string } from "../schema.ts";

/** Request of AlterPartitionReassignments. */
export const alterPartitionReassignmentsRequest = message(
  { name: "AlterPartitionReassignmentsRequest", apiKey: 45, versions: "0-1", flexible: "0+" },
  {
    timeoutMs: int32("0+", { default: 60000 }),
    allowReplicationFactorChange: bool("1+", { default: true }),
    topics: array("0+", {
      name: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        replicas: array("0+", "int32", { nullable: "0+", default: null, entity: "brokerId" }),
      }),
    }),
  },
);
export type AlterPartitionReassignmentsRequest = Decoded<typeof alterPartitionReassignmentsRequest>;

/** Answer of AlterPartitionReassignments. */
export const alterPartitionReassignmentsResponse = message(
  { name: "AlterPartitionReassignmentsResponse", apiKey: 45, versions: "0-1", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    allowReplicationFactorChange: bool("1+", { default: true, ignorable: true }),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+" }),
    responses: array("0+", {
      name: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        errorCode: int16("0+"),
        errorMessage: string("0+", { nullable: "0+" }),
      }),
    }),
  },
);
export type AlterPartitionReassignmentsResponse = Decoded<
  typeof alterPartitionReassignmentsResponse
>;
