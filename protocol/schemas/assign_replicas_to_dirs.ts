/**
 * AssignReplicasToDirs (key 73): a broker tells the controller which replica lies in which
 * directory (KIP-858).
 */

import { array, type Decoded, int16, int32, int64, message, uuid } from "../schema.ts";

/** Request of AssignReplicasToDirs. */
export const assignReplicasToDirsRequest = message(
  { name: "AssignReplicasToDirsRequest", apiKey: 73, versions: "0", flexible: "0+" },
  {
    brokerId: int32("0+", { entity: "brokerId" }),
    brokerEpoch: int64("0+", { default: -1 }),
    directories: array("0+", {
      id: uuid("0+"),
      topics: array("0+", {
        topicId: uuid("0+"),
        partitions: array("0+", {
          partitionIndex: int32("0+"),
        }),
      }),
    }),
  },
);
export type AssignReplicasToDirsRequest = Decoded<typeof assignReplicasToDirsRequest>;

/** Answer of AssignReplicasToDirs. */
export const assignReplicasToDirsResponse = message(
  { name: "AssignReplicasToDirsResponse", apiKey: 73, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    directories: array("0+", {
      id: uuid("0+"),
      topics: array("0+", {
        topicId: uuid("0+"),
        partitions: array("0+", {
          partitionIndex: int32("0+"),
          errorCode: int16("0+"),
        }),
      }),
    }),
  },
);
export type AssignReplicasToDirsResponse = Decoded<typeof assignReplicasToDirsResponse>;
