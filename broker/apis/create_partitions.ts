/**
 * CreatePartitions (key 37), versions 0–3.
 *
 * - v1: nothing for servers. v2: flexible. v3: THROTTLING_QUOTA_EXCEEDED (KIP-599).
 *
 * Every topic of the request is in the answer, those that succeeded too.
 *
 * Gaps: no quota on topic changes (KIP-599).
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import {
  createPartitionsRequest,
  createPartitionsResponse,
} from "../../protocol/schemas/create_partitions.ts";
import type { Controller } from "../controller/controller.ts";
import { type Api, defineApi } from "./api.ts";

interface Subsystems {
  readonly controller: Controller;
  readonly topicsReady: (names: readonly string[]) => Promise<unknown>;
}

/** Answers CreatePartitions. */
export function createPartitionsApi({ controller, topicsReady }: Subsystems): Api {
  return defineApi({
    key: ApiKey.CreatePartitions,
    request: createPartitionsRequest,
    response: createPartitionsResponse,
    versions: { lowest: 0, highest: 3 },
    isForwarded: true,
    async handle({ topics, validateOnly }) {
      const increases = topics.map(({ name, count, assignments }) => ({
        name,
        partitionCount: count,
        assignments: assignments?.map(({ brokerIds }) => brokerIds) ?? null,
      }));
      const results = await controller.createPartitions(increases, { validateOnly });
      if (!validateOnly) await topicsReady(results.map(({ name }) => name));
      return {
        throttleTimeMs: 0,
        results: results.map((result) => ({
          name: result.name,
          errorCode: result.error,
          errorMessage: "message" in result ? result.message : null,
        })),
      };
    },
  });
}
