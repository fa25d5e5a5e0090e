/**
 * ListConfigResources (key 74), versions 0–1: what has settings.
 *
 * - v0: subscriptions to client metrics alone (KIP-714, as ListClientMetricsResources).
 * - v1: kinds by choice, all kinds when none is named (KIP-1142).
 *
 * Gaps: there are no subscriptions to client metrics, so that kind is always empty.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  listConfigResourcesRequest,
  listConfigResourcesResponse,
} from "../../protocol/schemas/list_config_resources.ts";
import type { Controller } from "../controller/controller.ts";
import {
  ConfigResourceType,
  configResourceType,
  type MetadataImage,
} from "../controller/metadata_image.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers ListConfigResources. */
export function listConfigResourcesApi({ controller }: { readonly controller: Controller }): Api {
  return defineApi({
    key: ApiKey.ListConfigResources,
    request: listConfigResourcesRequest,
    response: listConfigResourcesResponse,
    versions: { lowest: 0, highest: 1 },
    handle(request, { apiVersion }) {
      const asked = apiVersion === 0 ? [ConfigResourceType.clientMetrics] : request.resourceTypes;
      const codes = asked.length === 0 ? Object.values(ConfigResourceType) : [...new Set(asked)];
      if (codes.some((code) => configResourceType(code) === null)) {
        return {
          throttleTimeMs: 0,
          errorCode: ErrorCode.UNSUPPORTED_VERSION,
          configResources: [],
        };
      }
      const image = controller.image();
      const configResources = codes.flatMap((resourceType) =>
        [...resourcesOf(image, configResourceType(resourceType)!)]
          .map((resourceName) => ({ resourceName, resourceType }))
      );
      return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, configResources };
    },
  });
}

function* resourcesOf(image: MetadataImage, type: ConfigResourceType): Generator<string> {
  switch (type) {
    case "topic":
      for (const topic of image.topics()) yield topic.name;
      return;
    case "broker":
    case "brokerLogger":
      for (const id of image.brokers.keys()) yield String(id);
      return;
    case "clientMetrics":
    case "group":
      yield* image.configuredResources(type);
      return;
  }
}
