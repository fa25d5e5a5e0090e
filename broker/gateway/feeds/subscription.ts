/**
 * One subscriber's place in a partition: live in its feed, or behind and read for by itself, in pieces, each when it has
 * room for it.
 *
 *     behind ──→ what the feed still has, then reading (one piece at a time, a few subscriptions at once) ──→ live
 *        ↑           │ took fewer than came                                      │
 *        └── stalled ←───────────────────────────────────────────────────────────┘
 *             └─ resume() ──→ behind
 */

import { throwUnlessOfCluster } from "./cluster_errors.ts";
import type { Feed, FeedMember, Moved } from "./feed.ts";
import { FeedBatch } from "./feed_batch.ts";
import { type PartitionRead, type ReadOutcome, readPartitions } from "./partition_reads.ts";
import type { FeedEnd, FeedGap, FeedSubscriber } from "./subscriber.ts";
import type { KafkaClient, Leader } from "../../client/kafka_client.ts";
import type { Clock } from "../../../storage/platform.ts";
import type { TurnQueue } from "../../../storage/turn_queue.ts";

const MAX_PIECE_BYTES = 256 * 1024;
const MIN_PIECE_BYTES = 16 * 1024;
const CHANNEL = "catch-up";
/** So long a subscriber is believed that it was given a place by a newer leader than this node knows of. */
const BELIEVED_MS = 10_000;

type State = "behind" | "live" | "stalled" | "over";

/** What reading for one subscriber needs. */
export interface SubscriptionHost {
  readonly clock: Clock;
  readonly client: () => KafkaClient | null;
  /** Bounds how many pieces are in memory at once. */
  readonly turns: TurnQueue;
  /** Names the turns. */
  readonly id: number;
  track(work: Promise<void>): void;
}

/** Where one starts. */
export interface SubscriptionStart {
  readonly position: number;
  readonly leaderEpoch: number;
  /** There is nothing after the position yet. */
  readonly isAtEnd: boolean;
}

/** A subscriber in a partition. */
export class Subscription implements FeedMember {
  readonly #feed: Feed;
  readonly #subscriber: FeedSubscriber;
  readonly #host: SubscriptionHost;
  #position: number;
  #leaderEpoch: number;
  #state: State = "behind";
  #isReading = false;
  /** Reads get smaller where little of them is taken. */
  #pieceBytes = MAX_PIECE_BYTES;
  readonly #believedUntilMs: number;

  constructor(
    feed: Feed,
    subscriber: FeedSubscriber,
    start: SubscriptionStart,
    host: SubscriptionHost,
  ) {
    this.#feed = feed;
    this.#subscriber = subscriber;
    this.#host = host;
    this.#position = start.position;
    this.#leaderEpoch = start.leaderEpoch;
    this.#believedUntilMs = host.clock.monotonicMs() + BELIEVED_MS;
    feed.add(this);
    if (start.isAtEnd && this.#state === "behind" && feed.join(this, start)) this.#state = "live";
    else this.#readOn();
  }

  /** Offset that comes next. */
  get position(): number {
    return this.#position;
  }

  /** Leader epoch of the last record before it; −1 where it is not known. */
  get leaderEpoch(): number {
    return this.#leaderEpoch;
  }

  /** True while records come straight from the feed. */
  get isLive(): boolean {
    return this.#state === "live";
  }

  /** The subscriber has room again. */
  resume(): void {
    if (this.#state !== "stalled") return;
    this.#state = "behind";
    this.#readOn();
  }

  /** Nothing more is wanted; the subscriber is told nothing more. */
  close(): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#feed.remove(this);
  }

  /** By the feed: records for a member. Returns: false when it is one no longer. */
  deliver(batch: FeedBatch): boolean {
    if (this.#state !== "live") return false;
    this.#take(batch);
    return this.#state === "live";
  }

  /** By the feed: it goes on elsewhere. */
  moved({ position, leaderEpoch, gap }: Moved & { readonly gap: FeedGap }): void {
    if (this.#state === "over") return;
    const isPassed = gap.reason === "retention"
      ? position <= this.#position
      : position >= this.#position;
    if (isPassed) return;
    this.#subscriber.gap({ ...gap, fromOffset: this.#position });
    this.#position = position;
    this.#leaderEpoch = leaderEpoch;
  }

  /** By the feed: it is over. */
  end(end: FeedEnd): void {
    if (this.#state === "over") return;
    this.close();
    this.#subscriber.ended(end);
  }

  #take(batch: FeedBatch): void {
    const wanted = batch.from(this.#position);
    if (wanted.nextOffset <= this.#position) return;
    const taken = this.#subscriber.take(wanted);
    // What it was told may have made it close.
    if (this.#state === "over") return;
    const next = wanted.records[taken];
    if (next === undefined) {
      this.#position = wanted.nextOffset;
      if (wanted.leaderEpoch >= 0) this.#leaderEpoch = wanted.leaderEpoch;
      return;
    }
    this.#position = next.offset;
    if (taken > 0 && wanted.leaderEpoch >= 0) this.#leaderEpoch = wanted.leaderEpoch;
    this.#state = "stalled";
  }

  #readOn(): void {
    if (this.#isReading || this.#state !== "behind") return;
    this.#isReading = true;
    this.#host.track(this.#catchUp());
  }

  async #catchUp(): Promise<void> {
    while (this.#is("behind")) {
      if (this.#takeRecent()) continue;
      const leader = await this.#feed.leader();
      if (leader === null || !this.#is("behind")) break;
      const read = this.#nextRead(leader);
      const outcome = this.#isAheadOf(leader) ? null : await this.#host.turns.run(
        `${this.#host.id}`,
        async () => await this.#readPiece(leader.leaderId, read),
      );
      if (this.#is("behind") && outcome?.kind !== "records") await this.#settle(outcome, read);
    }
    this.#isReading = false;
    // Resumed while the last piece was dealt with.
    this.#readOn();
  }

  /** Goes on with what the feed has just handed out, if that is still here. Returns: true when it got on. */
  #takeRecent(): boolean {
    const batch = this.#feed.recentAt(this.#position);
    if (batch === null) return false;
    this.#take(batch);
    batch.settle();
    if (this.#is("behind") && this.#feed.join(this, { isAtEnd: false })) this.#state = "live";
    return true;
  }

  #is(state: State): boolean {
    return this.#state === state;
  }

  /**
   * True where its place is of a newer epoch than the leader's: this node was away, and does not know yet who leads now. A
   * token may say anything, so this is believed for a while.
   */
  #isAheadOf({ leaderEpoch }: Leader): boolean {
    return leaderEpoch >= 0 && this.#leaderEpoch > leaderEpoch &&
      this.#host.clock.monotonicMs() < this.#believedUntilMs;
  }

  #nextRead({ leaderEpoch: currentLeaderEpoch }: Leader): PartitionRead {
    const { topicId, partition } = this.#feed.key;
    return {
      topicId,
      partition,
      position: this.#position,
      leaderEpoch: this.#leaderEpoch,
      currentLeaderEpoch,
    };
  }

  /** One piece, taken as far as there is room for it. Returns: what the answer says. */
  async #readPiece(leaderId: number, read: PartitionRead): Promise<ReadOutcome | null> {
    const client = this.#host.client();
    if (client === null || !this.#is("behind")) return null;
    try {
      const outcomes = await readPartitions(client, [read], {
        leaderId,
        channel: CHANNEL,
        readCommitted: this.#feed.key.readCommitted,
        maxWaitMs: 0,
        maxBytes: this.#pieceBytes,
        partitionMaxBytes: this.#pieceBytes,
      });
      const outcome = outcomes.get(read) ?? null;
      if (this.#is("behind") && outcome?.kind === "records") this.#takePiece(outcome);
      return outcome;
    } catch (error) {
      throwUnlessOfCluster(error);
      // Whatever it was, the leader is looked for, which tells what is found.
      return null;
    }
  }

  async #settle(outcome: ReadOutcome | null, read: PartitionRead): Promise<void> {
    const moved = await this.#feed.settle(outcome, read);
    if (moved === null || !this.#is("behind")) return;
    if (moved.gap !== null) this.moved({ ...moved, gap: moved.gap });
    this.#leaderEpoch = moved.leaderEpoch;
  }

  #takePiece({ records, nextOffset, leaderEpoch, isAtEnd }: ReadOutcome & { kind: "records" }) {
    const { topic, topicId, partition } = this.#feed.key;
    const startOffset = this.#position;
    const content = { topic, topicId, partition, startOffset, records, nextOffset, leaderEpoch };
    const batch = new FeedBatch(content);
    const before = this.#position;
    this.#take(batch);
    batch.settle();
    if (this.#is("stalled")) {
      const takenRatio = (this.#position - before) / Math.max(nextOffset - before, 1);
      const wantedBytes = Math.ceil(2 * takenRatio * this.#pieceBytes);
      this.#pieceBytes = Math.min(Math.max(wantedBytes, MIN_PIECE_BYTES), MAX_PIECE_BYTES);
      return;
    }
    this.#pieceBytes = Math.min(2 * this.#pieceBytes, MAX_PIECE_BYTES);
    if (this.#is("behind") && this.#feed.join(this, { isAtEnd })) this.#state = "live";
  }
}
