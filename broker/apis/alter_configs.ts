/**
 * AlterConfigs (key 33), versions 0–2: replaces all settings of a topic, a broker or a group.
 *
 * - v1: nothing for servers. v2: flexible.
 *
 * Clients should use IncrementalAlterConfigs: what this request does not name goes back to its default.
 *
 * Gaps: log levels (broker loggers) and subscriptions to client metrics are refused.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { alterConfigsRequest, alterConfigsResponse } from "../../protocol/schemas/alter_configs.ts";
import type { ConfigReplacement } from "../controller/config_changes.ts";
import type { Controller } from "../controller/controller.ts";
import { ConfigResourceType, configResourceType } from "../controller/metadata_image.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers AlterConfigs. */
export function alterConfigsApi({ controller }: { readonly controller: Controller }): Api {
  return defineApi({
    key: ApiKey.AlterConfigs,
    request: alterConfigsRequest,
    response: alterConfigsResponse,
    versions: { lowest: 0, highest: 2 },
    isForwarded: true,
    async handle({ resources, validateOnly }) {
      const replacements: ConfigReplacement[] = [];
      const responses = [];
      for (const { resourceType, resourceName, configs } of resources) {
        const type = configResourceType(resourceType);
        if (type !== null) {
          replacements.push({ resource: { type, name: resourceName }, configs });
          continue;
        }
        responses.push({
          errorCode: ErrorCode.INVALID_REQUEST,
          errorMessage: `Unknown resource type ${resourceType}`,
          resourceType,
          resourceName,
        });
      }
      const results = await controller.alterConfigs(replacements, { validateOnly });
      for (const { resource, error, message } of results) {
        responses.push({
          errorCode: error,
          errorMessage: message,
          resourceType: ConfigResourceType[resource.type],
          resourceName: resource.name,
        });
      }
      return { throttleTimeMs: 0, responses };
    },
  });
}
