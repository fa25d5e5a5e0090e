/**
 * CreateTopics (key 19), versions 2–7.
 *
 * - v4: −1 partitions or replicas stand for the broker's defaults (KIP-464).
 * - v5: flexible; the answer tells partitions, replicas and settings (KIP-525). v7: topic ids (KIP-516).
 *
 * An answer comes when the topics are committed, so the request's timeout is never
 * reached on a quorum of one.
 *
 * Gaps: no quota on topic changes (v6, KIP-599), so THROTTLING_QUOTA_EXCEEDED is never answered.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  type CreateTopicsRequest,
  createTopicsRequest,
  createTopicsResponse,
} from "../../protocol/schemas/create_topics.ts";
import { ZERO_UUID } from "../../protocol/types.ts";
import type { Config } from "../config/config.ts";
import { describeTopicConfig } from "../config/describe.ts";
import type { Controller } from "../controller/controller.ts";
import type { CreatedTopic, NewTopic, TopicResult } from "../controller/topic_changes.ts";
import { type Api, defineApi } from "./api.ts";

type TopicAnswer = Encodable<typeof createTopicsResponse>["topics"][number];

interface Subsystems {
  readonly controller: Controller;
  readonly config: Config;
  readonly topicsReady: (names: readonly string[]) => Promise<unknown>;
}

/** Answers CreateTopics. */
export function createTopicsApi({ controller, config, topicsReady }: Subsystems): Api {
  return defineApi({
    key: ApiKey.CreateTopics,
    request: createTopicsRequest,
    response: createTopicsResponse,
    versions: { lowest: 2, highest: 7 },
    isForwarded: true,
    async handle(request) {
      const { validateOnly } = request;
      const results = await controller.createTopics(request.topics.map(newTopic), { validateOnly });
      const created = results.filter(({ error }) => error === ErrorCode.NONE);
      // A client may produce the moment it hears that the topic is there.
      if (!validateOnly) await topicsReady(created.map(({ name }) => name));
      return { throttleTimeMs: 0, topics: results.map(topicAnswer) };
    },
  });

  function topicAnswer(result: TopicResult<CreatedTopic>): TopicAnswer {
    if (!("configs" in result)) {
      return {
        name: result.name,
        topicId: ZERO_UUID,
        errorCode: result.error,
        errorMessage: result.message,
        configs: [],
      };
    }
    const entries = describeTopicConfig(config, result.configs);
    return {
      name: result.name,
      topicId: result.topicId,
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      topicConfigErrorCode: ErrorCode.NONE,
      numPartitions: result.partitionCount,
      replicationFactor: result.replicationFactor,
      configs: entries.map((entry) => ({
        name: entry.name,
        value: entry.value,
        readOnly: entry.readOnly,
        configSource: entry.source,
        isSensitive: entry.sensitive,
      })),
    };
  }
}

function newTopic(topic: CreateTopicsRequest["topics"][number]): NewTopic {
  return {
    name: topic.name,
    partitionCount: topic.numPartitions,
    replicationFactor: topic.replicationFactor,
    assignments: topic.assignments.map(({ partitionIndex, brokerIds }) => (
      { partition: partitionIndex, replicas: brokerIds }
    )),
    configs: topic.configs,
  };
}
