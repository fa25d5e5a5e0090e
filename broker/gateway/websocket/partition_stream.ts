/**
 * One partition on its way to one subscription of one socket.
 *
 *     feed ──batch──→ filter ──→ all:             room and credits? ──→ sent ─┐ live and whole: published to the group of
 *                             │                       └─ no: stalled          │ all who get the very same bytes
 *                             └→ latest, sample:  kept, newest only ──interval──→ sent
 *
 * It holds no records but those that conflation keeps, which are bounded. A stalled one is read for again by itself, or
 * ends where the subscriber has asked for that.
 */

import type { Clock, Timer } from "../../../storage/platform.ts";
import type { FeedBatch } from "../feeds/feed_batch.ts";
import { formatResumeToken } from "../feeds/resume_token.ts";
import type { FeedEnd, FeedGap, FeedSubscriber } from "../feeds/subscriber.ts";
import type { Subscription } from "../feeds/subscription.ts";
import type { GatewaySocket } from "../http_server.ts";
import { Newest } from "./conflation.ts";
import type { Filter, Passed } from "./filters.ts";
import { jsonFrame, positionFrame, recordsFrame, tokenAfter } from "./frames.ts";
import type { Protocol } from "./messages.ts";

/** How often the position is told of a partition of which nothing passes the filter. */
const POSITION_EVERY_MS = 1000;

/** What the partitions of a subscription share. */
export interface StreamOwner {
  readonly id: number;
  readonly protocol: Protocol;
  readonly clock: Clock;
  readonly filter: Filter | null;
  readonly delivery: "all" | "latest" | "sample";
  readonly intervalMs: number;
  readonly dropsSlow: boolean;
  readonly socket: GatewaySocket;
  /** False: it is not told yet that it has begun. */
  readonly isBegun: boolean;
  /** Records that may be sent; Infinity where nobody counts. */
  credits: number;
  /** True while no more should be put into the socket. */
  isFull(): boolean;
  send(frame: string | Uint8Array): void;
  gap(stream: PartitionStream, gap: FeedGap): void;
  ended(end: FeedEnd): void;
  /** It did not keep up, and asked to be dropped then. */
  tooSlow(): void;
}

/** A partition of a subscription. */
export class PartitionStream implements FeedSubscriber {
  readonly topic: string;
  readonly partition: number;
  readonly #owner: StreamOwner;
  readonly #newest: Newest | null;
  /** Of the group of those who get the same bytes. */
  #group: string | null = null;
  #isInGroup = false;
  #isStalled = false;
  #feed: Subscription | null = null;
  #sentToken: string | null = null;
  #positionToldAtMs: number;
  /** The last batch that was taken by conflation and not sent: its place goes with what is sent. */
  #pending:
    | Pick<FeedBatch, "topic" | "topicId" | "partition" | "nextOffset" | "leaderEpoch">
    | null = null;
  #timer: Timer | null = null;
  #flushedAtMs = -Infinity;

  constructor(owner: StreamOwner, topic: string, partition: number) {
    this.#owner = owner;
    this.topic = topic;
    this.partition = partition;
    this.#newest = owner.delivery === "all" ? null : new Newest(owner.delivery === "latest");
    this.#positionToldAtMs = owner.clock.monotonicMs();
  }

  /** Its place in the feed, once it has one. `token`: where it starts. */
  open(feed: Subscription, token: string, group: string): void {
    this.#feed = feed;
    this.#sentToken = token;
    this.#group = group;
  }

  /** The token of what was sent last; null before it has begun. */
  get token(): string | null {
    return this.#sentToken;
  }

  /** There is room, or credit, or it has begun. */
  resume(): void {
    if (this.#newest !== null) this.#flushSoon();
    if (!this.#isStalled) return;
    this.#isStalled = false;
    this.#feed?.resume();
  }

  /** Nothing more is sent. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#leaveGroup();
    this.#feed?.close();
  }

  gap(gap: FeedGap): void {
    this.#owner.gap(this, gap);
  }

  ended(end: FeedEnd): void {
    this.#owner.ended(end);
  }

  take(batch: FeedBatch): number {
    const owner = this.#owner;
    if (!owner.isBegun) return this.#stall(0);
    const passed = owner.filter?.pass(batch) ?? { records: batch.records, places: null };
    if (this.#newest !== null) return this.#keep(batch, passed, this.#newest);
    const wanted = passed.records.length;
    if (wanted === 0) return this.#skip(batch);
    const count = owner.isFull() ? 0 : Math.min(wanted, owner.credits);
    if (count === wanted) {
      owner.credits -= count;
      this.#send(batch, passed);
      return batch.records.length;
    }
    this.#leaveGroup();
    if (owner.dropsSlow && this.#feed?.isLive === true) {
      owner.tooSlow();
      return 0;
    }
    const place = passed.places?.[count] ?? count;
    if (count > 0) {
      owner.credits -= count;
      const cut = batch.first(place);
      const records = passed.records.slice(0, count);
      this.#sendDirectly(cut, { records, places: null });
    }
    return this.#stall(place);
  }

  #stall(taken: number): number {
    this.#isStalled = true;
    return taken;
  }

  #send(batch: FeedBatch, passed: Passed): void {
    if (this.#feed?.isLive !== true || this.#group === null || batch.isPart) {
      // The others get more than it wants.
      this.#leaveGroup();
      return this.#sendDirectly(batch, passed);
    }
    const { socket } = this.#owner;
    if (!this.#isInGroup) {
      socket.join(this.#group);
      this.#isInGroup = true;
    }
    const { port } = socket;
    const group = this.#group;
    // Once for the whole group on this port, when all its members have said that they take it.
    const ports = batch.made(group, () => new Set<unknown>());
    if (!ports.has(port)) {
      ports.add(port);
      const frame = this.#frame(batch, passed);
      batch.later(() => port.publish(group, frame));
    }
    this.#sent(batch);
  }

  #sendDirectly(batch: FeedBatch, passed: Passed): void {
    this.#owner.send(this.#frame(batch, passed));
    this.#sent(batch);
  }

  #frame(batch: FeedBatch, { records }: Passed): string | Uint8Array {
    const { protocol, id, filter } = this.#owner;
    return recordsFrame(batch, { protocol, id, records, name: filter?.name ?? "" });
  }

  #sent(batch: FeedBatch): void {
    this.#sentToken = tokenAfter(batch);
    this.#positionToldAtMs = this.#owner.clock.monotonicMs();
  }

  /** Nothing of it is wanted. */
  #skip(batch: FeedBatch): number {
    const nowMs = this.#owner.clock.monotonicMs();
    if (nowMs - this.#positionToldAtMs >= POSITION_EVERY_MS && !this.#owner.isFull()) {
      this.#owner.send(positionFrame(batch, this.#owner.id));
      this.#sent(batch);
    }
    return batch.records.length;
  }

  #keep(batch: FeedBatch, { records }: Passed, newest: Newest): number {
    const { topic, topicId, partition, nextOffset, leaderEpoch } = batch;
    for (const record of records) newest.add(record);
    this.#pending = { topic, topicId, partition, nextOffset, leaderEpoch };
    this.#flushSoon();
    return batch.records.length;
  }

  #flushSoon(): void {
    if (this.#timer !== null || this.#newest === null || this.#newest.count === 0) return;
    const { clock, intervalMs } = this.#owner;
    const dueMs = this.#flushedAtMs + intervalMs - clock.monotonicMs();
    this.#timer = clock.timer(this.#newest.isLarge ? 0 : Math.max(dueMs, 0), () => {
      this.#timer = null;
      this.#flush();
    });
  }

  #flush(): void {
    const owner = this.#owner;
    if (this.#newest === null || this.#pending === null || owner.credits <= 0 || owner.isFull()) {
      // `resume` comes back to it.
      return;
    }
    const texts = this.#newest.takeOut(Math.min(owner.credits, this.#newest.count));
    owner.credits -= texts.length;
    this.#flushedAtMs = owner.clock.monotonicMs();
    const { topic, topicId, partition, nextOffset, leaderEpoch } = this.#pending;
    const token = formatResumeToken({ topicId, partition, offset: nextOffset, leaderEpoch });
    owner.send(jsonFrame({ topic, partition, next: nextOffset, token }, owner.id, texts.join(",")));
    this.#sentToken = token;
  }

  #leaveGroup(): void {
    if (!this.#isInGroup || this.#group === null) return;
    this.#isInGroup = false;
    this.#owner.socket.leave(this.#group);
  }
}
