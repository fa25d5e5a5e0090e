/**
 * What consumers tell each other inside JoinGroup and SyncGroup: subscription and assignment.
 *
 * To the coordinator they are bytes. An int16 version stands before the fields.
 *
 * Versions:
 *   1    ownedPartitions, for cooperative rebalancing (KIP-429)
 *   2    generationId (KIP-792)
 *   3    rackId (KIP-881)
 */

import { array, bytes, type Decoded, int32, message, string } from "../../schema.ts";

/** Topics that a consumer wants. */
export const consumerProtocolSubscription = message(
  { name: "ConsumerProtocolSubscription", versions: "0-3", flexible: "none" },
  {
    topics: array("0+", "string"),
    userData: bytes("0+", { nullable: "0+", default: null }),
    ownedPartitions: array("1+", {
      topic: string("1+", { entity: "topicName", mapKey: true }),
      partitions: array("1+", "int32"),
    }, { ignorable: true }),
    generationId: int32("2+", { default: -1, ignorable: true }),
    rackId: string("3+", { nullable: "3+", default: null, ignorable: true }),
  },
);
export type ConsumerProtocolSubscription = Decoded<typeof consumerProtocolSubscription>;

/** Partitions that a consumer gets. */
export const consumerProtocolAssignment = message(
  { name: "ConsumerProtocolAssignment", versions: "0-3", flexible: "none" },
  {
    assignedPartitions: array("0+", {
      topic: string("0+", { entity: "topicName", mapKey: true }),
      partitions: array("0+", "int32"),
    }),
    userData: bytes("0+", { nullable: "0+", default: null }),
  },
);
export type ConsumerProtocolAssignment = Decoded<typeof consumerProtocolAssignment>;
