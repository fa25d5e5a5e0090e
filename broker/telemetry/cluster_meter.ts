/**
 * Counts of the cluster, kept up with every change of the metadata, so that a scrape looks at no partition.
 *
 * Every node has the same image, and so the same counts; what has happened is counted since the process began.
 *
 * Source: Kafka's ControllerMetadataMetrics and BrokerTopicMetrics.
 */

import type {
  MetadataChanges,
  MetadataImage,
  PartitionImage,
  TopicImage,
} from "../controller/metadata_image.ts";

/** What is counted. */
export class ClusterMeter {
  readonly #nodeId: number;
  partitionCount = 0;
  /** Partitions without a leader. */
  offlineCount = 0;
  /** Partitions that another than their first replica leads. */
  imbalanceCount = 0;
  /** Partitions that are being moved to other brokers. */
  reassigningCount = 0;
  leaderElections = 0;
  /** Elections of one that need not have had all that was committed. */
  uncleanLeaderElections = 0;
  /** Changes of the ISR of partitions that this node leads. */
  isrShrinks = 0;
  isrExpands = 0;

  constructor(nodeId: number) {
    this.#nodeId = nodeId;
  }

  /** Takes one change of the image in. */
  note(
    _image: MetadataImage,
    { createdTopics, deletedTopics, changedPartitions }: MetadataChanges,
  ): void {
    for (const topic of deletedTopics) this.#addTopic(topic, -1);
    for (const topic of createdTopics) this.#addTopic(topic, 1);
    for (const { before, after } of changedPartitions) {
      if (before !== null) {
        this.#add(before, -1);
        this.#noteChange(before, after);
      }
      this.#add(after, 1);
    }
  }

  #addTopic({ partitions }: TopicImage, sign: 1 | -1): void {
    for (const partition of partitions) this.#add(partition, sign);
  }

  #add({ leader, replicas, addingReplicas, removingReplicas }: PartitionImage, sign: 1 | -1): void {
    this.partitionCount += sign;
    if (leader < 0) this.offlineCount += sign;
    else if (leader !== replicas[0]) this.imbalanceCount += sign;
    if (addingReplicas.length + removingReplicas.length > 0) this.reassigningCount += sign;
  }

  #noteChange(before: PartitionImage, after: PartitionImage): void {
    if (after.leader >= 0 && after.leader !== before.leader) {
      this.leaderElections++;
      const couldLead = [...before.isr, ...before.elr].includes(after.leader);
      if (!couldLead) this.uncleanLeaderElections++;
    }
    if (after.leader !== this.#nodeId || before.leader !== this.#nodeId) return;
    if (after.isr.length < before.isr.length) this.isrShrinks++;
    if (after.isr.length > before.isr.length) this.isrExpands++;
  }
}
