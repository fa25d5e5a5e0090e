/**
 * How much is in topics: messages from the offsets of their leaders, bytes from the log directories of their brokers.
 *
 * One request of a kind to each broker, however many topics; a broker that does not answer in time leaves its part out.
 */

import { ErrorCode } from "../../../protocol/errors.ts";
import type { MetadataResponse } from "../../../protocol/schemas/metadata.ts";
import { formatTopicPartition } from "../../../protocol/types.ts";
import { Calls } from "../../client/calls.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { SpecialTimestamp } from "../../client/offsets.ts";

/** How long a broker may take. */
const PATIENCE_MS = 2000;

type Topics = MetadataResponse["topics"];

/** What is in a topic. */
export interface TopicSize {
  /** End offset less start offset, over all partitions; markers and compacted records count, too. */
  readonly messageCount: number | undefined;
  /** Sum of the end offsets: what it grows by is what was written. */
  readonly endOffsets: number | undefined;
  /** On the disks of the leaders, one copy of each partition; undefined where one is not known. */
  readonly bytes: number | undefined;
}

/** Sizes by topic. */
export async function askTopicSizes(
  client: KafkaClient,
  topics: Topics,
): Promise<Map<string, TopicSize>> {
  const [starts, ends, bytes] = await Promise.all([
    askOffsets(client, topics, SpecialTimestamp.earliest),
    askOffsets(client, topics, SpecialTimestamp.latest),
    askBytes(client, topics),
  ]);
  return new Map(topics.map(({ name, partitions }) => {
    const sum = (values: ReadonlyMap<string, number>) =>
      partitions.reduce<number | undefined>((total, { partitionIndex }) => {
        const value = values.get(formatTopicPartition(name!, partitionIndex));
        return total === undefined || value === undefined ? undefined : total + value;
      }, 0);
    const [start, end] = [sum(starts), sum(ends)];
    return [name!, {
      messageCount: start === undefined || end === undefined ? undefined : end - start,
      endOffsets: end,
      bytes: sum(bytes),
    }];
  }));
}

/** Offsets by `formatTopicPartition`, of the partitions whose leaders answer. */
export async function askOffsets(
  client: KafkaClient,
  topics: Topics,
  timestamp: number,
): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  await eachLeader(topics, async (leaderId, led) => {
    const connection = await client.broker(leaderId);
    const answer = await connection.request(
      Calls.listOffsets,
      {
        replicaId: -1,
        isolationLevel: 0,
        topics: led.map(({ name, partitions }) => ({
          name,
          partitions: partitions.map((partitionIndex) => ({ partitionIndex, timestamp })),
        })),
      },
      { timeoutMs: PATIENCE_MS },
    );
    for (const { name, partitions } of answer.topics) {
      for (const { partitionIndex, errorCode, offset } of partitions) {
        if (errorCode === ErrorCode.NONE) {
          found.set(formatTopicPartition(name, partitionIndex), offset);
        }
      }
    }
  });
  return found;
}

/** Bytes by `formatTopicPartition`, of the copies of the leaders that answer. */
export async function askBytes(
  client: KafkaClient,
  topics: Topics,
): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  await eachLeader(topics, async (leaderId, led) => {
    const connection = await client.broker(leaderId);
    const answer = await connection.request(
      Calls.describeLogDirs,
      { topics: led.map(({ name, partitions }) => ({ topic: name, partitions })) },
      { timeoutMs: PATIENCE_MS },
    );
    for (const { topics: held } of answer.results) {
      for (const { name, partitions } of held) {
        for (const { partitionIndex, partitionSize, isFutureKey } of partitions) {
          if (!isFutureKey) found.set(formatTopicPartition(name, partitionIndex), partitionSize);
        }
      }
    }
  });
  return found;
}

interface LedTopic {
  readonly name: string;
  readonly partitions: number[];
}

/** Asks all leaders side by side; those that fail are left out. */
async function eachLeader(
  topics: Topics,
  ask: (leaderId: number, led: readonly LedTopic[]) => Promise<void>,
): Promise<void> {
  const byLeader = new Map<number, Map<string, LedTopic>>();
  for (const { name, partitions } of topics) {
    for (const { leaderId, partitionIndex } of partitions) {
      if (leaderId < 0) continue;
      const led = byLeader.getOrInsertComputed(leaderId, () => new Map());
      led.getOrInsertComputed(name!, () => ({ name: name!, partitions: [] }))
        .partitions.push(partitionIndex);
    }
  }
  await Promise.allSettled(
    [...byLeader].map(([leaderId, led]) => ask(leaderId, [...led.values()])),
  );
}
