/**
 * ApiVersions (key 18): which APIs and versions a broker serves. Its response header is always
 * version 0.
 *
 * Versions:
 *   1    throttleTimeMs in the answer (KIP-124)
 *   2    a throttled client gets its answer before the wait (KIP-219)
 *   3    flexible, name and version of the client (KIP-511); features (KIP-584)
 *   4    a supported feature may start at version 0
 *   5    clusterId and nodeId that the client expects (KIP-1242)
 */

import { array, bool, type Decoded, int16, int32, int64, message, string } from "../schema.ts";

/** Request of ApiVersions. */
export const apiVersionsRequest = message(
  { name: "ApiVersionsRequest", apiKey: 18, versions: "0-5", flexible: "3+" },
  {
    clientSoftwareName: string("3+", { ignorable: true }),
    clientSoftwareVersion: string("3+", { ignorable: true }),
    clusterId: string("5+", { nullable: "5+", default: null, ignorable: true }),
    nodeId: int32("5+", { default: -1, ignorable: true }),
  },
);
export type ApiVersionsRequest = Decoded<typeof apiVersionsRequest>;

/** Answer of ApiVersions. */
export const apiVersionsResponse = message(
  { name: "ApiVersionsResponse", apiKey: 18, versions: "0-5", flexible: "3+" },
  {
    errorCode: int16("0+"),
    apiKeys: array("0+", {
      apiKey: int16("0+", { mapKey: true }),
      minVersion: int16("0+"),
      maxVersion: int16("0+"),
    }),
    throttleTimeMs: int32("1+", { ignorable: true }),
    supportedFeatures: array("3+", {
      name: string("3+", { mapKey: true }),
      minVersion: int16("3+"),
      maxVersion: int16("3+"),
    }, { tag: 0, tagged: "3+", ignorable: true }),
    finalizedFeaturesEpoch: int64("3+", { default: -1, tag: 1, tagged: "3+", ignorable: true }),
    finalizedFeatures: array("3+", {
      name: string("3+", { mapKey: true }),
      maxVersionLevel: int16("3+"),
      minVersionLevel: int16("3+"),
    }, { tag: 2, tagged: "3+", ignorable: true }),
    zkMigrationReady: bool("3+", { default: false, tag: 3, tagged: "3+", ignorable: true }),
  },
);
export type ApiVersionsResponse = Decoded<typeof apiVersionsResponse>;
