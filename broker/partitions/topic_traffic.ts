/**
 * What clients write to one topic on this node, and what they read from it: numbers for the metrics, counted on the way.
 *
 * What nodes replicate among themselves is counted elsewhere (`ReplicationBytes`). It lives as long as the topic, so
 * that no sum over partitions goes back when one of them leaves.
 *
 * Source: Kafka's BrokerTopicMetrics.
 */

/** Counters of one topic. */
export class TopicTraffic {
  #writtenBytes = 0;
  #writtenRecords = 0;
  #readBytes = 0;

  /** Bytes of batches that producers wrote, as they are stored. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }
  /** Records in them. */
  get writtenRecords(): number {
    return this.#writtenRecords;
  }
  /** Bytes of batches that consumers were given. */
  get readBytes(): number {
    return this.#readBytes;
  }

  noteWritten(byteCount: number, recordCount: number): void {
    this.#writtenBytes += byteCount;
    this.#writtenRecords += recordCount;
  }

  noteRead(byteCount: number): void {
    this.#readBytes += byteCount;
  }
}
