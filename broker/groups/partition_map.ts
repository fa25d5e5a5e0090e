/**
 * Values by partition, as two maps: the topics, by name or by id, and in each its partitions.
 *
 * Invariant: no topic is without partitions, so that what is empty takes no memory.
 */

/** Values by topic and partition. */
export class PartitionMap<V> {
  readonly #topics = new Map<string, Map<number, V>>();
  #size = 0;

  get topics(): ReadonlyMap<string, ReadonlyMap<number, V>> {
    return this.#topics;
  }

  /** How many partitions there are. */
  get size(): number {
    return this.#size;
  }

  get(topic: string, partition: number): V | undefined {
    return this.#topics.get(topic)?.get(partition);
  }

  set(topic: string, partition: number, value: V): void {
    let partitions = this.#topics.get(topic);
    if (partitions === undefined) this.#topics.set(topic, partitions = new Map());
    if (!partitions.has(partition)) this.#size += 1;
    partitions.set(partition, value);
  }

  delete(topic: string, partition: number): void {
    const partitions = this.#topics.get(topic);
    if (partitions === undefined || !partitions.delete(partition)) return;
    this.#size -= 1;
    if (partitions.size === 0) this.#topics.delete(topic);
  }

  *entries(): Generator<[topic: string, partition: number, value: V]> {
    for (const [topic, partitions] of this.#topics) {
      for (const [partition, value] of partitions) yield [topic, partition, value];
    }
  }
}
