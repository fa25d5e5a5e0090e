/**
 * One client's reading of a topic over HTTP: its partitions through the feeds of this node, as lines.
 *
 *     feeds ── take ──→ [lines, at most BUFFER_BYTES] ──→ next()
 *                │ full: the partition waits in the feed, and holds nothing
 *
 * Partitions come side by side, each in its order. The position in all of them is known after each line, so that reading
 * goes on behind it without gap or duplicate, on this node or another. Invariant: what is held for a client that does
 * not read is one buffer, whatever the topic brings.
 */

import type { Uuid } from "../../../protocol/types.ts";
import { formatRecord } from "../../client/record_json.ts";
import type { FeedBatch } from "../feeds/feed_batch.ts";
import type { Feeds, FeedStart } from "../feeds/feeds.ts";
import type { FeedEnd, FeedGap, FeedSubscriber } from "../feeds/subscriber.ts";
import type { Subscription } from "../feeds/subscription.ts";
import type { Filter } from "../websocket/filters.ts";
import { formatPositions, type Position } from "./position_token.ts";

const BUFFER_BYTES = 32 * 1024;
/** Subscriptions that are opened at the same time. */
const OPENED_AT_ONCE = 8;
const ALL = "lines of JSON";

/** What is read. */
export interface TopicReading {
  readonly topic: string;
  readonly topicId: Uuid;
  /** Where each partition begins. */
  readonly starts: ReadonlyMap<number, FeedStart>;
  readonly filter: Filter | null;
  readonly readCommitted: boolean;
  /** Offsets behind which a partition is not read on; null: there is no end. */
  readonly ends: ReadonlyMap<number, number> | null;
  /** Records after which it is over. */
  readonly limit: number;
  /** Each record says where to go on. */
  readonly withTokens: boolean;
}

/** What a client is told. */
export type Item =
  /** `token`: the place behind it, where tokens were asked for. */
  | { readonly kind: "record"; readonly json: string; readonly token: string | null }
  | { readonly kind: "gap"; readonly partition: number; readonly gap: FeedGap }
  | { readonly kind: "end"; readonly partition: number; readonly end: FeedEnd };

/** Reads a topic for one client. */
export class TopicReader {
  readonly #reading: TopicReading;
  readonly #positions = new Map<number, Position>();
  readonly #subscriptions = new Map<number, Subscription>();
  /** Partitions that have reached their end. */
  readonly #done = new Set<number>();
  #held: Item[] = [];
  #heldBytes = 0;
  #count = 0;
  #isClosed = false;
  #wake: (() => void) | null = null;

  private constructor(reading: TopicReading) {
    this.#reading = reading;
  }

  /** Errors: ClientError, KafkaError, NetworkError. */
  static async open(feeds: Feeds, reading: TopicReading): Promise<TopicReader> {
    const reader = new TopicReader(reading);
    try {
      await reader.#open(feeds);
      return reader;
    } catch (error) {
      reader.close();
      throw error;
    }
  }

  async #open(feeds: Feeds): Promise<void> {
    const rest = this.#reading.starts.entries();
    const openRest = async () => {
      for (const [partition, start] of rest) {
        if (this.#isClosed) return;
        if (this.#isPastEnd(partition, start)) this.#done.add(partition);
        else await this.#subscribe(feeds, partition, start);
      }
    };
    await Promise.all(Array.from({ length: OPENED_AT_ONCE }, openRest));
  }

  /** True for a partition of which nothing is wanted; it is where it begins. */
  #isPastEnd(partition: number, start: FeedStart): boolean {
    const end = this.#reading.ends?.get(partition) ?? Infinity;
    if (!("offset" in start) || start.offset < end) return false;
    this.#moved(partition, end, "leaderEpoch" in start ? start.leaderEpoch : -1);
    return true;
  }

  async #subscribe(feeds: Feeds, partition: number, start: FeedStart): Promise<void> {
    const { topic, readCommitted } = this.#reading;
    const subscriber = this.#subscriber(partition);
    const request = { topic, partition, start, readCommitted };
    const subscription = await feeds.subscribe(request, subscriber);
    this.#subscriptions.set(partition, subscription);
    // Records may have come already.
    if (!this.#positions.has(partition)) {
      this.#moved(partition, subscription.position, subscription.leaderEpoch);
    }
    if (this.#isClosed || this.#done.has(partition)) subscription.close();
  }

  /** True once nothing more comes after what is held. */
  get isOver(): boolean {
    const { starts, limit } = this.#reading;
    return this.#isClosed || this.#count >= limit || this.#done.size === starts.size;
  }

  /** The position behind all that `take` has given out or will. */
  token(): string {
    return formatPositions({ topicId: this.#reading.topicId, byPartition: this.#positions });
  }

  /** Resolves when there is something to take, or nothing more comes. */
  async ready(): Promise<void> {
    if (this.#held.length > 0 || this.isOver) return;
    await new Promise<void>((wake) => {
      this.#wake = wake;
    });
  }

  /** All that is held; what waits for room comes next. */
  take(): Item[] {
    const items = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    if (!this.isOver) {
      for (const subscription of this.#subscriptions.values()) subscription.resume();
    }
    return items;
  }

  /** Reads no more; `ready` resolves. */
  close(): void {
    this.#isClosed = true;
    for (const subscription of this.#subscriptions.values()) subscription.close();
    this.#wakeUp();
  }

  #subscriber(partition: number): FeedSubscriber {
    return {
      take: (batch) => this.#takeBatch(batch),
      gap: (gap) => {
        this.#moved(partition, gap.toOffset, -1);
        this.#hold({ kind: "gap", partition, gap }, 0);
        if (gap.toOffset >= (this.#reading.ends?.get(partition) ?? Infinity)) {
          this.#finish(partition);
        }
      },
      ended: (end) => {
        this.#done.add(partition);
        this.#hold({ kind: "end", partition, end }, 0);
      },
    };
  }

  #takeBatch(batch: FeedBatch): number {
    const { filter, ends, limit, topicId, withTokens } = this.#reading;
    const { partition } = batch;
    const end = ends?.get(partition) ?? Infinity;
    const { records, places, lines } = batch.made(
      filter === null ? ALL : `${ALL}, ${filter.name}`,
      () => linesOf(batch, filter),
    );
    for (const [index, record] of records.entries()) {
      if (record.offset >= end) break;
      if (this.#count >= limit || this.#heldBytes >= BUFFER_BYTES) {
        // What the filter left out before this one counts as taken.
        this.#moved(partition, record.offset, -1);
        return places?.[index] ?? index;
      }
      const json = lines[index]!;
      this.#moved(partition, record.offset + 1, batch.leaderEpoch);
      this.#count++;
      const token = withTokens ? formatPositions({ topicId, byPartition: this.#positions }) : null;
      this.#hold({ kind: "record", json, token }, json.length + (token?.length ?? 0));
    }
    this.#moved(partition, Math.min(batch.nextOffset, end), batch.leaderEpoch);
    if (batch.nextOffset >= end) this.#finish(partition);
    return batch.records.length;
  }

  #finish(partition: number): void {
    this.#done.add(partition);
    // Not within its own call; one that is not there yet is closed by `#open`.
    queueMicrotask(() => this.#subscriptions.get(partition)?.close());
    if (this.isOver) this.#wakeUp();
  }

  #moved(partition: number, offset: number, leaderEpoch: number): void {
    const known = this.#positions.get(partition)?.leaderEpoch ?? -1;
    const epoch = leaderEpoch >= 0 ? leaderEpoch : known;
    this.#positions.set(partition, { offset, leaderEpoch: epoch });
  }

  #hold(item: Item, bytes: number): void {
    if (this.#isClosed) return;
    this.#held.push(item);
    this.#heldBytes += bytes;
    this.#wakeUp();
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = null;
  }
}

/** What of a batch passes, as lines: made once for all clients that ask the same. */
function linesOf(batch: FeedBatch, filter: Filter | null) {
  const { records, places } = filter?.pass(batch) ?? { records: batch.records, places: null };
  return { records, places, lines: records.map((record) => formatRecord(record, batch)) };
}
