/**
 * IncrementalAlterConfigs (key 44), versions 0–1: changes single settings of a topic, a broker (its id, or
 * "" for all of them) or a group: SET, DELETE, and for lists APPEND and SUBTRACT (KIP-339).
 *
 * - v1: flexible.
 *
 * Gaps: log levels (broker loggers) and subscriptions to client metrics are refused.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  type IncrementalAlterConfigsRequest,
  incrementalAlterConfigsRequest,
  incrementalAlterConfigsResponse,
} from "../../protocol/schemas/incremental_alter_configs.ts";
import type { ConfigChange, ConfigOperation } from "../controller/config_changes.ts";
import type { Controller } from "../controller/controller.ts";
import { ConfigResourceType, configResourceType } from "../controller/metadata_image.ts";
import { type Api, defineApi } from "./api.ts";

type Resource = IncrementalAlterConfigsRequest["resources"][number];

/** By Kafka's number of each (AlterConfigOp.OpType). */
const operations: readonly ConfigOperation["operation"][] = [
  "set",
  "delete",
  "append",
  "subtract",
];

/** Answers IncrementalAlterConfigs. */
export function incrementalAlterConfigsApi(
  { controller }: { readonly controller: Controller },
): Api {
  return defineApi({
    key: ApiKey.IncrementalAlterConfigs,
    request: incrementalAlterConfigsRequest,
    response: incrementalAlterConfigsResponse,
    versions: { lowest: 0, highest: 1 },
    isForwarded: true,
    async handle({ resources, validateOnly }) {
      const changes: ConfigChange[] = [];
      const responses = [];
      for (const resource of resources) {
        const change = changeOf(resource);
        if (typeof change !== "string") {
          changes.push(change);
          continue;
        }
        const { resourceType, resourceName } = resource;
        responses.push({
          errorCode: ErrorCode.INVALID_REQUEST,
          errorMessage: change,
          resourceType,
          resourceName,
        });
      }
      const results = await controller.incrementalAlterConfigs(changes, { validateOnly });
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

/** The change that a part of the request asks for, or what is wrong with it. */
function changeOf({ resourceType, resourceName, configs }: Resource): ConfigChange | string {
  const type = configResourceType(resourceType);
  if (type === null) return `Unknown resource type ${resourceType}`;
  const changes: ConfigOperation[] = [];
  for (const { name, configOperation, value } of configs) {
    const operation = operations[configOperation];
    if (operation === undefined) return `Unknown operation ${configOperation} for setting ${name}.`;
    changes.push({ name, operation, value });
  }
  return { resource: { type, name: resourceName }, operations: changes };
}
