/**
 * ListPartitionReassignments (key 46): the reassignments that are under way (KIP-455).
 */

import { array, type Decoded, int16, int32, message, string } from "../schema.ts";

/** Request of ListPartitionReassignments. */
export const listPartitionReassignmentsRequest = message(
  { name: "ListPartitionReassignmentsRequest", apiKey: 46, versions: "0", flexible: "0+" },
  {
    timeoutMs: int32("0+", { default: 60000 }),
    topics: array("0+", {
      name: string("0+", { entity: "topicName" }),
      partitionIndexes: array("0+", "int32"),
    }, { nullable: "0+", default: null }),
  },
);
export type ListPartitionReassignmentsRequest = Decoded<typeof listPartitionReassignmentsRequest>;

/** Answer of ListPartitionReassignments. */
export const listPartitionReassignmentsResponse = message(
  { name: "ListPartitionReassignmentsResponse", apiKey: 46, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+" }),
    topics: array("0+", {
      name: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        replicas: array("0+", "int32", { entity: "brokerId" }),
        addingReplicas: array("0+", "int32", { entity: "brokerId" }),
        removingReplicas: array("0+", "int32", { entity: "brokerId" }),
      }),
    }),
  },
);
export type ListPartitionReassignmentsResponse = Decoded<typeof listPartitionReassignmentsResponse>;
