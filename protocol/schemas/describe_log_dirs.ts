/**
 * DescribeLogDirs (key 35): what is in the log directories of a broker (KIP-113).
 *
 * Versions:
 *   1    a throttled client gets its answer before the wait (KIP-219)
 *   2    flexible (KIP-482)
 *   3    errorCode of the whole answer
 *   4    size and free bytes of the volume (KIP-827)
 *   5    isCordoned (KIP-1066)
 */

import { array, bool, type Decoded, int16, int32, int64, message, string } from "../schema.ts";

/** Request of DescribeLogDirs. */
export const describeLogDirsRequest = message(
  { name: "DescribeLogDirsRequest", apiKey: 35, versions: "1-5", flexible: "2+" },
  {
    topics: array("0+", {
      topic: string("0+", { entity: "topicName", mapKey: true }),
      partitions: array("0+", "int32"),
    }, { nullable: "0+" }),
  },
);
export type DescribeLogDirsRequest = Decoded<typeof describeLogDirsRequest>;

/** Answer of DescribeLogDirs. */
export const describeLogDirsResponse = message(
  { name: "DescribeLogDirsResponse", apiKey: 35, versions: "1-5", flexible: "2+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("3+", { ignorable: true }),
    results: array("0+", {
      errorCode: int16("0+"),
      logDir: string("0+"),
      topics: array("0+", {
        name: string("0+", { entity: "topicName" }),
        partitions: array("0+", {
          partitionIndex: int32("0+"),
          partitionSize: int64("0+"),
          offsetLag: int64("0+"),
          isFutureKey: bool("0+"),
        }),
      }),
      totalBytes: int64("4+", { default: -1, ignorable: true }),
      usableBytes: int64("4+", { default: -1, ignorable: true }),
      isCordoned: bool("5+", { default: false, ignorable: true }),
    }),
  },
);
export type DescribeLogDirsResponse = Decoded<typeof describeLogDirsResponse>;
