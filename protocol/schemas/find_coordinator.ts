/**
 * FindCoordinator (key 10): which broker coordinates a group, a transactional id or a share
 * partition.
 *
 * Versions:
 *   1    keyType, errorMessage (KIP-98); throttleTimeMs (KIP-124)
 *   2    a throttled client gets its answer before the wait (KIP-219)
 *   3    flexible (KIP-482)
 *   4    several keys in one request (KIP-699)
 *   5    may answer TRANSACTION_ABORTABLE (KIP-890)
 *   6    keyType 2: share partitions (KIP-932)
 */

import { array, type Decoded, int16, int32, int8, message, string } from "../schema.ts";

/** Request of FindCoordinator. */
export const findCoordinatorRequest = message(
  { name: "FindCoordinatorRequest", apiKey: 10, versions: "0-6", flexible: "3+" },
  {
    key: string("0-3"),
    keyType: int8("1+", { default: 0 }),
    coordinatorKeys: array("4+", "string"),
  },
);
export type FindCoordinatorRequest = Decoded<typeof findCoordinatorRequest>;

/** Answer of FindCoordinator. */
export const findCoordinatorResponse = message(
  { name: "FindCoordinatorResponse", apiKey: 10, versions: "0-6", flexible: "3+" },
  {
    throttleTimeMs: int32("1+", { ignorable: true }),
    errorCode: int16("0-3"),
    errorMessage: string("1-3", { nullable: "1-3", ignorable: true }),
    nodeId: int32("0-3", { entity: "brokerId" }),
    host: string("0-3"),
    port: int32("0-3"),
    coordinators: array("4+", {
      key: string("4+"),
      nodeId: int32("4+", { entity: "brokerId" }),
      host: string("4+"),
      port: int32("4+"),
      errorCode: int16("4+"),
      errorMessage: string("4+", { nullable: "4+", ignorable: true }),
    }),
  },
);
export type FindCoordinatorResponse = Decoded<typeof findCoordinatorResponse>;
