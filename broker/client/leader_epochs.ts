/**
 * The newest leader epoch that was heard of each partition (KIP-320). A broker that was away says for a moment what was so
 * before; whom it takes for the leader of an epoch that is over, that one may lead no more, and lack what was read since.
 */

import type { MetadataResponse } from "../../protocol/schemas/metadata.ts";
import { type Uuid, ZERO_UUID } from "../../protocol/types.ts";

type TopicMetadata = MetadataResponse["topics"][number];

/** Topics that are remembered; those that were heard of longest ago go. */
const MAX_TOPICS = 10_000;
/** Nobody leads. */
const NONE = -1;

/** Remembers them. */
export class LeaderEpochs {
  /** Shape: by partition. */
  readonly #known = new Map<Uuid, number[]>();

  /**
   * Notes what a broker says of a topic. Returns: the same, with no leader where a newer one has been heard of. A topic
   * without an id, of a broker older than Kafka 2.8, is believed.
   */
  checked(topic: TopicMetadata): TopicMetadata {
    const { topicId, partitions } = topic;
    if (topicId === ZERO_UUID || partitions.length === 0) return topic;
    const known = this.#knownOf(topicId);
    let isBehind = false;
    for (const { partitionIndex, leaderEpoch } of partitions) {
      if (leaderEpoch < (known[partitionIndex] ?? NONE)) isBehind = true;
      else known[partitionIndex] = leaderEpoch;
    }
    if (!isBehind) return topic;
    const believed = partitions.map((partition) => {
      const isOver = partition.leaderEpoch < known[partition.partitionIndex]!;
      return isOver ? { ...partition, leaderId: NONE } : partition;
    });
    return { ...topic, partitions: believed };
  }

  #knownOf(topicId: Uuid): number[] {
    const known = this.#known.get(topicId) ?? [];
    this.#known.delete(topicId);
    this.#known.set(topicId, known);
    if (this.#known.size > MAX_TOPICS) this.#known.delete(this.#known.keys().next().value!);
    return known;
  }
}
