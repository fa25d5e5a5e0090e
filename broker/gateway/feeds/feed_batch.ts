/**
 * Records of one partition on their way to many subscribers: read once, decoded once, and put into each form that
 * somebody wants once.
 *
 *     fetch ──→ FeedBatch ──→ subscriber: batch.made(form, encode) ──→ the same bytes for all who want that form
 */

import type { KafkaRecord } from "../../../protocol/records.ts";
import type { TopicPartition, Uuid } from "../../../protocol/types.ts";

/** Past it none is worth its memory. */
export const MAX_KEPT_FORMS = 8;

/** What a batch is made of. */
export interface FeedBatchContent extends TopicPartition {
  readonly topicId: Uuid;
  /** First offset that they stand for. */
  readonly startOffset: number;
  /** In order. Shape: keys and values are views, which hold all the memory that was fetched: copy what is kept. */
  readonly records: readonly KafkaRecord[];
  /** Offset of the next record that a subscriber sees after these; records that nobody sees lie between. */
  readonly nextOffset: number;
  /** Leader epoch of the last record; −1 where it is not known. */
  readonly leaderEpoch: number;
}

/** Records of one partition, and what was made of them. Nobody changes them. */
export class FeedBatch implements FeedBatchContent {
  readonly topic: string;
  readonly topicId: Uuid;
  readonly partition: number;
  readonly startOffset: number;
  readonly records: readonly KafkaRecord[];
  readonly nextOffset: number;
  readonly leaderEpoch: number;
  readonly #made = new Map<unknown, unknown>();
  readonly #later: (() => void)[];
  /** True for a part of a batch, which is for one subscriber alone. */
  readonly isPart: boolean;

  /** `whole`: the batch of which this is a part. */
  constructor(content: FeedBatchContent, whole: FeedBatch | null = null) {
    this.#later = whole === null ? [] : whole.#later;
    this.isPart = whole !== null;
    this.topic = content.topic;
    this.topicId = content.topicId;
    this.partition = content.partition;
    this.startOffset = content.startOffset;
    this.records = content.records;
    this.nextOffset = content.nextOffset;
    this.leaderEpoch = content.leaderEpoch;
  }

  /** What `make` makes of this batch, made at the first call with this `form`. */
  made<T>(form: unknown, make: (batch: FeedBatch) => T): T {
    const known = this.#made.get(form);
    if (known !== undefined) return known as T;
    const made = make(this);
    this.#made.set(form, made);
    return made;
  }

  /** The records from an offset on; itself where that is all of them. */
  from(offset: number): FeedBatch {
    if (offset <= (this.records[0]?.offset ?? offset)) return this;
    const records = this.records.filter((record) => record.offset >= offset);
    const nextOffset = Math.max(offset, this.nextOffset);
    return new FeedBatch({ ...this.#content, startOffset: offset, records, nextOffset }, this);
  }

  /** The first records; itself where that is all of them. */
  first(count: number): FeedBatch {
    const next = this.records[count];
    if (next === undefined) return this;
    const records = this.records.slice(0, count);
    return new FeedBatch({ ...this.#content, records, nextOffset: next.offset }, this);
  }

  get #content(): FeedBatchContent {
    const { topic, topicId, partition, startOffset, records, nextOffset, leaderEpoch } = this;
    return { topic, topicId, partition, startOffset, records, nextOffset, leaderEpoch };
  }

  /** Calls `send` once all subscribers of this very batch have said what they take. */
  later(send: () => void): void {
    this.#later.push(send);
  }

  /** Every subscriber has been asked. What few have wanted is not kept, as long as the batch is. */
  settle(): void {
    for (const send of this.#later.splice(0)) send();
    if (this.#made.size > MAX_KEPT_FORMS) this.#made.clear();
  }
}
