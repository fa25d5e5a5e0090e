/**
 * DeleteTopics (key 20), versions 1–6.
 *
 * - v3: TOPIC_DELETION_DISABLED where deletion is switched off (INVALID_REQUEST before).
 * - v4: flexible. v5: error messages (KIP-599). v6: topics by id (KIP-516).
 *
 * Gaps: no quota on topic changes (KIP-599), so THROTTLING_QUOTA_EXCEEDED is never answered.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode, errorMessage } from "../../protocol/errors.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  type DeleteTopicsRequest,
  deleteTopicsRequest,
  deleteTopicsResponse,
} from "../../protocol/schemas/delete_topics.ts";
import { type Uuid, ZERO_UUID } from "../../protocol/types.ts";
import type { Config } from "../config/config.ts";
import type { Controller } from "../controller/controller.ts";
import type { TopicReference } from "../controller/topic_changes.ts";
import { type Api, defineApi } from "./api.ts";

type TopicAnswer = Encodable<typeof deleteTopicsResponse>["responses"][number];

/** The first version whose clients know TOPIC_DELETION_DISABLED. */
const DELETION_DISABLED_VERSION = 3;
/** The first version that names topics by id, and lists them as structs. */
const TOPIC_ID_VERSION = 6;

/** A topic as the request names it, which may be in both ways or in none. */
interface NamedTopic {
  readonly name: string | null;
  readonly topicId: Uuid;
}

interface Subsystems {
  readonly controller: Controller;
  readonly config: Config;
}

/** Answers DeleteTopics. */
export function deleteTopicsApi({ controller, config }: Subsystems): Api {
  return defineApi({
    key: ApiKey.DeleteTopics,
    request: deleteTopicsRequest,
    response: deleteTopicsResponse,
    versions: { lowest: 1, highest: 6 },
    isForwarded: true,
    async handle(request, { apiVersion }) {
      const named = namedTopics(request, apiVersion);
      if (!config.boolean("delete.topic.enable")) {
        return { throttleTimeMs: 0, responses: named.map((topic) => disabled(topic, apiVersion)) };
      }
      const responses: TopicAnswer[] = [];
      const references: TopicReference[] = [];
      for (const topic of named) {
        const reference = referenceTo(topic);
        if (typeof reference === "string") {
          responses.push(failed(topic, ErrorCode.INVALID_REQUEST, reference));
        } else references.push(reference);
      }
      for (const result of await controller.deleteTopics(references)) {
        const { name, topicId, error, message } = result;
        responses.push({ name, topicId, errorCode: error, errorMessage: message });
      }
      return { throttleTimeMs: 0, responses };
    },
  });
}

function namedTopics(request: DeleteTopicsRequest, apiVersion: number): NamedTopic[] {
  if (apiVersion >= TOPIC_ID_VERSION) return request.topics;
  return request.topicNames.map((name) => ({ name, topicId: ZERO_UUID }));
}

function referenceTo({ name, topicId }: NamedTopic): TopicReference | string {
  if (topicId === ZERO_UUID) {
    return name === null ? "Neither topic name nor id were specified." : { name };
  }
  return name === null ? { id: topicId } : "You may not specify both topic name and topic id.";
}

function failed(
  { name, topicId }: NamedTopic,
  errorCode: ErrorCode,
  message: string,
): TopicAnswer {
  return { name, topicId, errorCode, errorMessage: message };
}

function disabled(topic: NamedTopic, apiVersion: number): TopicAnswer {
  return apiVersion < DELETION_DISABLED_VERSION
    ? failed(topic, ErrorCode.INVALID_REQUEST, "Topic deletion is disabled.")
    : failed(
      topic,
      ErrorCode.TOPIC_DELETION_DISABLED,
      errorMessage(ErrorCode.TOPIC_DELETION_DISABLED),
    );
}
