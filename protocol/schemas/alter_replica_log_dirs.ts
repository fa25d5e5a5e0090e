/**
 * AlterReplicaLogDirs (key 34): moves replicas to another directory of the same broker (KIP-113).
 *
 * Versions:
 *   1    a throttled client gets its answer before the wait (KIP-219)
 *   2    flexible (KIP-482)
 */

import { array, type Decoded, int16, int32, message, string } from "../schema.ts";

/** Request of AlterReplicaLogDirs. */
export const alterReplicaLogDirsRequest = message(
  { name: "AlterReplicaLogDirsRequest", apiKey: 34, versions: "1-2", flexible: "2+" },
  {
    dirs: array("0+", {
      path: string("0+", { mapKey: true }),
      topics: array("0+", {
        name: string("0+", { entity: "topicName", mapKey: true }),
        partitions: array("0+", "int32"),
      }),
    }),
  },
);
export type AlterReplicaLogDirsRequest = Decoded<typeof alterReplicaLogDirsRequest>;

/** Answer of AlterReplicaLogDirs. */
export const alterReplicaLogDirsResponse = message(
  { name: "AlterReplicaLogDirsResponse", apiKey: 34, versions: "1-2", flexible: "2+" },
  {
    throttleTimeMs: int32("0+"),
    results: array("0+", {
      topicName: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        errorCode: int16("0+"),
      }),
    }),
  },
);
export type AlterReplicaLogDirsResponse = Decoded<typeof alterReplicaLogDirsResponse>;
