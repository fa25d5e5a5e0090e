/**
 * ApiVersions (key 18), versions 0–5: which APIs and versions this broker serves.
 *
 * - v1: throttle time. v3: flexible, name and version of the client's software (KIP-511), features
 *   (KIP-584). v4: features whose lowest level is 0 (KIP-584; a v3 client does not understand them).
 * - v5: the cluster and node that the client believes to have reached (KIP-1242).
 *
 * The answer to an unknown version is made in `server/dispatch.ts`.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  type ApiVersionsRequest,
  apiVersionsRequest,
  apiVersionsResponse,
} from "../../protocol/schemas/api_versions.ts";
import { type Api, defineApi, type RequestContext, type VersionSpan } from "./api.ts";

/** Features of the cluster, as the metadata image has them. */
export interface FeatureView {
  /** Offset of the metadata that this is from. */
  readonly epoch: number;
  /** Levels that are in force, by name. */
  readonly finalized: ReadonlyMap<string, number>;
  /** What this broker could do, by name. */
  readonly supported: ReadonlyMap<string, VersionSpan>;
}

interface Subsystems {
  readonly clusterId: string;
  readonly nodeId: number;
  features(): FeatureView;
  /** Every API that is served; asked at the first request. */
  served(): readonly Api[];
}

type Answer = Encodable<typeof apiVersionsResponse>;

const SOFTWARE_VERSIONS_FROM = 3;
const LEVEL_ZERO_FEATURES_FROM = 4;
/** What a client may call its software (KIP-511). */
const SOFTWARE_NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/;

/** Answers ApiVersions. */
export function apiVersionsApi(subsystems: Subsystems): Api {
  const { clusterId, nodeId, features, served } = subsystems;
  let apiKeys: Answer["apiKeys"] | null = null;

  return defineApi({
    key: ApiKey.ApiVersions,
    request: apiVersionsRequest,
    response: apiVersionsResponse,
    versions: { lowest: 0, highest: 5 },
    handle(request, context) {
      const error = refuse(request, context);
      if (error !== ErrorCode.NONE) return { errorCode: error, apiKeys: [] };
      apiKeys ??= versionsOf(served());
      return {
        errorCode: ErrorCode.NONE,
        apiKeys,
        ...featureFields(features(), context.apiVersion),
      };
    },
  });

  function refuse(request: ApiVersionsRequest, context: RequestContext): number {
    if (context.apiVersion < SOFTWARE_VERSIONS_FROM) return ErrorCode.NONE;
    const { clientSoftwareName, clientSoftwareVersion } = request;
    if (!SOFTWARE_NAME.test(clientSoftwareName) || !SOFTWARE_NAME.test(clientSoftwareVersion)) {
      return ErrorCode.INVALID_REQUEST;
    }
    const isElsewhere = (request.clusterId !== null && request.clusterId !== clusterId) ||
      (request.nodeId !== -1 && request.nodeId !== nodeId);
    if (isElsewhere) return ErrorCode.REBOOTSTRAP_REQUIRED;
    context.connection.clientSoftwareName = clientSoftwareName;
    context.connection.clientSoftwareVersion = clientSoftwareVersion;
    return ErrorCode.NONE;
  }
}

function versionsOf(apis: readonly Api[]): Answer["apiKeys"] {
  return apis
    .map(({ key, advertised }) => ({
      apiKey: key,
      minVersion: advertised.lowest,
      maxVersion: advertised.highest,
    }))
    .sort((a, b) => a.apiKey - b.apiKey);
}

function featureFields(
  { epoch, finalized, supported }: FeatureView,
  version: number,
): Pick<Answer, "supportedFeatures" | "finalizedFeatures" | "finalizedFeaturesEpoch"> {
  const lowestLevel = version < LEVEL_ZERO_FEATURES_FROM ? 1 : 0;
  return {
    supportedFeatures: [...supported]
      .filter(([, span]) => span.lowest >= lowestLevel)
      .map(([name, { lowest, highest }]) => ({ name, minVersion: lowest, maxVersion: highest })),
    finalizedFeaturesEpoch: epoch,
    finalizedFeatures: [...finalized]
      .map(([name, level]) => ({ name, maxVersionLevel: level, minVersionLevel: level })),
  };
}
