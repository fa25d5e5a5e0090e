/** Topics over the Kafka protocol: listed, described, made, grown and deleted. */

import { ErrorCode } from "../../protocol/errors.ts";
import type { Uuid } from "../../protocol/types.ts";
import { Calls } from "./calls.ts";
import { describeConfigs, ResourceType } from "./config_client.ts";
import { type KafkaClient, KafkaError, throwOnError } from "./kafka_client.ts";
import { listOffsets, SpecialTimestamp } from "./offsets.ts";

/** How long the controller may take. */
const TIMEOUT_MS = 30_000;

/** A topic of a list. */
export interface ListedTopic {
  readonly topic: string;
  readonly partitions: number;
  readonly replicationFactor: number;
  readonly internal: boolean;
  readonly topicId: Uuid;
}

/** A partition, as the metadata tells. */
export interface TopicPartitionState {
  readonly partition: number;
  /** −1 for none. */
  readonly leader: number;
  readonly leaderEpoch: number;
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
}

/** A topic with its partitions, by number. */
export interface TopicState {
  readonly topic: string;
  readonly topicId: Uuid;
  readonly internal: boolean;
  readonly partitions: readonly TopicPartitionState[];
}

/** All topics, by their names. Errors: KafkaError, NetworkError. */
export async function listTopics(client: KafkaClient): Promise<ListedTopic[]> {
  const { topics } = await client.retry(() => client.metadata(null));
  return topics
    .map(({ name, topicId, isInternal, partitions }) => ({
      topic: name ?? "",
      partitions: partitions.length,
      replicationFactor: Math.max(0, ...partitions.map((it) => it.replicaNodes.length)),
      internal: isInternal,
      topicId,
    }))
    .sort((a, b) => (a.topic < b.topic ? -1 : 1));
}

/** Partitions that are asked for at a time, where a page of topics has many. */
const PARTITIONS_AT_ONCE = 2000;

/**
 * The next topics behind a name, by their names: what it takes does not grow with the number of topics.
 *
 * Returns: `count` of them at most, and whether there are more. Errors: KafkaError, NetworkError.
 */
export async function nextTopics(
  client: KafkaClient,
  { after, count }: { readonly after: string | null; readonly count: number },
): Promise<{ readonly topics: readonly ListedTopic[]; readonly hasMore: boolean }> {
  const found = new Map<string, ListedTopic>();
  // No name has that character, so that nothing lies between the two.
  let cursor = after === null ? null : { topicName: `${after}\0`, partitionIndex: 0 };
  for (let limit = count + 1;; limit = PARTITIONS_AT_ONCE) {
    const answer = await client.ask(Calls.describeTopicPartitions, {
      topics: [],
      responsePartitionLimit: limit,
      cursor,
    });
    for (const { name, topicId, isInternal, partitions } of answer.topics) {
      const topic = name ?? "";
      const factors = partitions.map(({ replicaNodes }) => replicaNodes.length);
      const known = found.get(topic);
      found.set(topic, {
        topic,
        partitions: (known?.partitions ?? 0) + partitions.length,
        replicationFactor: Math.max(known?.replicationFactor ?? 0, ...factors),
        internal: isInternal,
        topicId,
      });
    }
    cursor = answer.nextCursor;
    // The last one may go on in the next answer.
    if (cursor === null || found.size > count) break;
  }
  const topics = [...found.values()];
  return { topics: topics.slice(0, count), hasMore: topics.length > count || cursor !== null };
}

/** One topic; waits for no leader. Errors: KafkaError (UNKNOWN_TOPIC_OR_PARTITION), NetworkError. */
export async function topicState(client: KafkaClient, name: string): Promise<TopicState> {
  const { topics } = await client.retry(async () => {
    const answer = await client.metadata([name]);
    const code = answer.topics[0]?.errorCode ?? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    // It passes for those that produce, who wait for the topic to be made.
    if (code !== ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) throwOnError(code);
    return answer;
  });
  const topic = topics[0];
  if (topic?.errorCode !== ErrorCode.NONE) {
    throw new KafkaError(
      ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
      `topic ${name} does not exist`,
    );
  }
  const partitions = topic.partitions
    .map(({ partitionIndex, leaderId, leaderEpoch, replicaNodes, isrNodes }) => ({
      partition: partitionIndex,
      leader: leaderId,
      leaderEpoch,
      replicas: replicaNodes,
      isr: isrNodes,
    }))
    .sort((a, b) => a.partition - b.partition);
  return { topic: name, topicId: topic.topicId, internal: topic.isInternal, partitions };
}

/** A topic with the ends of its partitions, and the settings that were made for it. Errors: those of its parts. */
export async function describeTopic(client: KafkaClient, name: string) {
  await client.leaders(name);
  const { partitions: states, ...topic } = await topicState(client, name);
  const numbers = states.map(({ partition }) => partition);
  const starts = await listOffsets(client, name, numbers, SpecialTimestamp.earliest);
  const ends = await listOffsets(client, name, numbers, SpecialTimestamp.latest);
  const configs = await describeConfigs(client, ResourceType.topic, name, null);
  const settings = Object.fromEntries(
    configs.filter(({ isDefault }) => !isDefault).map(({ name, value }) => [name, value]),
  );
  const partitions = states.map((state) => ({
    ...state,
    startOffset: starts.get(state.partition)?.offset ?? null,
    endOffset: ends.get(state.partition)?.offset ?? null,
  }));
  return { ...topic, settings, partitions };
}

/** What a new topic is to be like. */
export interface NewTopic {
  readonly name: string;
  /** The broker's `num.partitions` where it is left out, as for the next one. */
  readonly partitions?: number;
  readonly replicationFactor?: number;
  /** Which brokers hold each partition, the preferred leader first; then there are no counts. */
  readonly assignments?: readonly {
    readonly partition: number;
    readonly brokerIds: readonly number[];
  }[];
  readonly configs: readonly (readonly [name: string, value: string | null])[];
  /** Checked, and not made. */
  readonly validateOnly: boolean;
}

/** A topic that was made, or could be. */
export interface CreatedTopic {
  readonly topicId: Uuid;
  readonly partitions: number;
  readonly replicationFactor: number;
}

/** Makes a topic. Errors: KafkaError, NetworkError. */
export async function createTopic(client: KafkaClient, topic: NewTopic): Promise<CreatedTopic> {
  const answer = await client.ask(Calls.createTopics, {
    topics: [{
      name: topic.name,
      numPartitions: topic.partitions ?? -1,
      replicationFactor: topic.replicationFactor ?? -1,
      assignments: (topic.assignments ?? []).map(({ partition, brokerIds }) => ({
        partitionIndex: partition,
        brokerIds,
      })),
      configs: topic.configs.map(([name, value]) => ({ name, value })),
    }],
    timeoutMs: TIMEOUT_MS,
    validateOnly: topic.validateOnly,
  });
  const { errorCode, errorMessage, topicId, numPartitions, replicationFactor } = answer.topics[0]!;
  throwOnError(errorCode, errorMessage);
  return { topicId, partitions: numPartitions, replicationFactor };
}

/** Raises the number of partitions to `total`. Errors: KafkaError, NetworkError. */
export async function createPartitions(
  client: KafkaClient,
  name: string,
  total: number,
): Promise<void> {
  const { results } = await client.ask(Calls.createPartitions, {
    topics: [{ name, count: total, assignments: null }],
    timeoutMs: TIMEOUT_MS,
    validateOnly: false,
  });
  throwOnError(results[0]!.errorCode, results[0]!.errorMessage);
}

/** Deletes topics with their records. Returns: the error of each one. Errors: KafkaError, NetworkError. */
export async function deleteTopics(
  client: KafkaClient,
  names: readonly string[],
): Promise<{ readonly name: string; readonly error: KafkaError | null }[]> {
  const { responses } = await client.ask(Calls.deleteTopics, {
    topics: [],
    topicNames: names,
    timeoutMs: TIMEOUT_MS,
  });
  return responses.map(({ name, errorCode, errorMessage }) => ({
    name: name ?? "",
    error: errorCode === ErrorCode.NONE ? null : new KafkaError(errorCode, errorMessage),
  }));
}
