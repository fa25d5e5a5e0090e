/**
 * ElectLeaders (key 43): elects leaders of partitions (KIP-183).
 *
 * Versions:
 *   1    also out-of-sync replicas: electionType, per-partition errors (KIP-460)
 *   2    flexible (KIP-482)
 */

import { array, type Decoded, int16, int32, int8, message, string } from "../schema.ts";

/** Request of ElectLeaders. */
export const electLeadersRequest = message(
  { name: "ElectLeadersRequest", apiKey: 43, versions: "0-2", flexible: "2+" },
  {
    electionType: int8("1+"),
    topicPartitions: array("0+", {
      topic: string("0+", { entity: "topicName", mapKey: true }),
      partitions: array("0+", "int32"),
    }, { nullable: "0+" }),
    timeoutMs: int32("0+", { default: 60000 }),
  },
);
export type ElectLeadersRequest = Decoded<typeof electLeadersRequest>;

/** Answer of ElectLeaders. */
export const electLeadersResponse = message(
  { name: "ElectLeadersResponse", apiKey: 43, versions: "0-2", flexible: "2+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("1+"),
    replicaElectionResults: array("0+", {
      topic: string("0+", { entity: "topicName" }),
      partitionResult: array("0+", {
        partitionId: int32("0+"),
        errorCode: int16("0+"),
        errorMessage: string("0+", { nullable: "0+" }),
      }),
    }),
  },
);
export type ElectLeadersResponse = Decoded<typeof electLeadersResponse>;
