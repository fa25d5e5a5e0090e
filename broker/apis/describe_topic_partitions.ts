/**
 * DescribeTopicPartitions (key 75), version 0: topics and partitions in pages (KIP-966).
 *
 * Topics come in the order of their names. A page ends at `responsePartitionLimit` partitions, or at
 * `max.request.partition.size.limit` of this broker if that is less; `nextCursor` names where the next
 * one begins.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  type DescribeTopicPartitionsRequest,
  describeTopicPartitionsRequest,
  describeTopicPartitionsResponse,
} from "../../protocol/schemas/describe_topic_partitions.ts";
import { ZERO_UUID } from "../../protocol/types.ts";
import type { Config } from "../config/config.ts";
import {
  type ReachableBroker,
  reachableBrokers,
  viewPartition,
} from "../controller/cluster_view.ts";
import type { Controller } from "../controller/controller.ts";
import { isInternalTopic } from "../controller/internal_topics.ts";
import type { MetadataImage, TopicImage } from "../controller/metadata_image.ts";
import { invalidTopicName } from "../controller/topic_changes.ts";
import { allOperations } from "../security/authorized_operations.ts";
import { type Api, defineApi } from "./api.ts";

type Answer = Encodable<typeof describeTopicPartitionsResponse>;
type TopicAnswer = Answer["topics"][number];

interface Subsystems {
  readonly controller: Controller;
  readonly config: Config;
  readonly nodeId: number;
}

/** Answers DescribeTopicPartitions. */
export function describeTopicPartitionsApi({ controller, config, nodeId }: Subsystems): Api {
  return defineApi({
    key: ApiKey.DescribeTopicPartitions,
    request: describeTopicPartitionsRequest,
    response: describeTopicPartitionsResponse,
    versions: { lowest: 0, highest: 0 },
    handle(request, { connection }) {
      const image = controller.image();
      if (isInvalid(request)) return refuse(request);
      const limit = Math.max(
        1,
        Math.min(request.responsePartitionLimit, config.number("max.request.partition.size.limit")),
      );
      const brokers = reachableBrokers(image, { nodeId, ...connection });
      return page(image, request, limit, brokers);
    },
  });
}

/** A cursor must point into what was asked for. */
function isInvalid({ topics, cursor }: DescribeTopicPartitionsRequest): boolean {
  if (cursor === null) return false;
  if (cursor.partitionIndex < 0) return true;
  return topics.length > 0 && !topics.some(({ name }) => name === cursor.topicName);
}

function refuse({ topics }: DescribeTopicPartitionsRequest): Answer {
  const refused = topics.map(({ name }) => (
    { ...failedTopic(name, ErrorCode.INVALID_REQUEST), isInternal: false }
  ));
  return { throttleTimeMs: 0, topics: refused };
}

function failedTopic(name: string, errorCode: ErrorCode): TopicAnswer {
  return {
    errorCode,
    name,
    topicId: ZERO_UUID,
    isInternal: isInternalTopic(name),
    partitions: [],
  };
}

/** Names from the cursor on, in order. */
function names(image: MetadataImage, request: DescribeTopicPartitionsRequest): string[] {
  const { topics, cursor } = request;
  const all = topics.length === 0
    ? [...image.topics()].map((topic) => topic.name)
    : [...new Set(topics.map((topic) => topic.name))];
  const start = cursor === null ? "" : cursor.topicName;
  return all.filter((name) => name >= start).sort();
}

function page(
  image: MetadataImage,
  request: DescribeTopicPartitionsRequest,
  limit: number,
  brokers: ReadonlyMap<number, ReachableBroker>,
): Answer {
  const topics: TopicAnswer[] = [];
  let partitionsLeft = limit;
  for (const name of names(image, request)) {
    if (partitionsLeft === 0) {
      return { throttleTimeMs: 0, topics, nextCursor: { topicName: name, partitionIndex: 0 } };
    }
    const topic = image.topicByName(name);
    if (topic === undefined) {
      const error = invalidTopicName(name) === null
        ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        : ErrorCode.INVALID_TOPIC_EXCEPTION;
      topics.push({
        ...failedTopic(name, error),
        topicAuthorizedOperations: allOperations.topic,
      });
      continue;
    }
    const isCursor = request.cursor?.topicName === name;
    const first = isCursor ? request.cursor!.partitionIndex : 0;
    const end = Math.min(topic.partitions.length, first + partitionsLeft);
    topics.push(describeTopic(image, topic, { first, end }, brokers));
    if (end < topic.partitions.length) {
      return { throttleTimeMs: 0, topics, nextCursor: { topicName: name, partitionIndex: end } };
    }
    partitionsLeft -= Math.max(0, end - first);
  }
  return { throttleTimeMs: 0, topics };
}

function describeTopic(
  image: MetadataImage,
  topic: TopicImage,
  { first, end }: { readonly first: number; readonly end: number },
  brokers: ReadonlyMap<number, ReachableBroker>,
): TopicAnswer {
  return {
    errorCode: ErrorCode.NONE,
    name: topic.name,
    topicId: topic.id,
    isInternal: isInternalTopic(topic.name),
    partitions: topic.partitions.slice(first, end).map((partition) => ({
      ...viewPartition(image, partition, brokers),
      eligibleLeaderReplicas: partition.elr,
      lastKnownElr: partition.lastKnownElr,
    })),
    topicAuthorizedOperations: allOperations.topic,
  };
}
