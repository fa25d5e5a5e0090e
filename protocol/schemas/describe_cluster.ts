/**
 * DescribeCluster (key 60): brokers, controller and cluster id (KIP-700).
 *
 * Versions:
 *   1    endpointType: brokers or controllers (KIP-919)
 *   2    fenced brokers (KIP-1073)
 */

import { array, bool, type Decoded, int16, int32, int8, message, string } from "../schema.ts";

/** Request of DescribeCluster. */
export const describeClusterRequest = message(
  { name: "DescribeClusterRequest", apiKey: 60, versions: "0-2", flexible: "0+" },
  {
    includeClusterAuthorizedOperations: bool("0+"),
    endpointType: int8("1+", { default: 1 }),
    includeFencedBrokers: bool("2+"),
  },
);
export type DescribeClusterRequest = Decoded<typeof describeClusterRequest>;

/** Answer of DescribeCluster. */
export const describeClusterResponse = message(
  { name: "DescribeClusterResponse", apiKey: 60, versions: "0-2", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+", default: null }),
    endpointType: int8("1+", { default: 1 }),
    clusterId: string("0+"),
    controllerId: int32("0+", { default: -1, entity: "brokerId" }),
    brokers: array("0+", {
      brokerId: int32("0+", { entity: "brokerId", mapKey: true }),
      host: string("0+"),
      port: int32("0+"),
      rack: string("0+", { nullable: "0+", default: null }),
      isFenced: bool("2+"),
    }),
    clusterAuthorizedOperations: int32("0+", { default: -2147483648 }),
  },
);
export type DescribeClusterResponse = Decoded<typeof describeClusterResponse>;
