/**
 * One partition and all who read it through this node.
 *
 *     subscription behind ──(its own reads reach the tail)──→ live: member of the feed
 *            ↑                                                   │
 *            └──────────(takes fewer records than came)──────────┘
 *
 * The feed polls its leader as long as it has a member, and hands what comes to all of them in the same turn of the
 * event loop. Invariants: a member's position is at the feed's, or past it where its own last read was ahead of a poll
 * under way; it is given what starts at its position, so there is no gap and nothing twice. A feed never waits for a
 * member. One that is behind holds no records.
 */

import { throwUnlessOfCluster } from "./cluster_errors.ts";
import type { Uuid } from "../../../protocol/types.ts";
import type { KafkaClient, Leader } from "../../client/kafka_client.ts";
import { listOffsets, SpecialTimestamp } from "../../client/offsets.ts";
import { FeedBatch } from "./feed_batch.ts";
import type { LeaderPolls, Polled } from "./leader_polls.ts";
import type { PartitionRead, ReadOutcome } from "./partition_reads.ts";
import { RecentBatches, type RecentBudget } from "./recent_batches.ts";
import type { FeedEnd, FeedGap } from "./subscriber.ts";
import { NOBODY, type Topics } from "./topics.ts";

const FIRST_BACKOFF_MS = 20;
const MAX_BACKOFF_MS = 1000;
/** Says "no such topic" so often, in a row, before it is believed: a broker that has just started may not know yet. */
const GONE_AFTER_LOOKS = 5;

/** Which partition, and how it is read. */
export interface FeedKey {
  readonly topic: string;
  readonly topicId: Uuid;
  readonly partition: number;
  readonly readCommitted: boolean;
}

/** A subscription as its feed sees it. */
export interface FeedMember {
  /** Offset that comes next. */
  readonly position: number;
  /** Leader epoch of the last record before it; −1 where it is not known. */
  readonly leaderEpoch: number;
  /** Takes what came. Returns: false when it is a member no longer. */
  deliver(batch: FeedBatch): boolean;
  /** Goes on elsewhere. */
  moved(moved: Moved & { readonly gap: FeedGap }): void;
  /** Nothing more comes. */
  end(end: FeedEnd): void;
}

/** What a feed uses of all feeds. */
export interface FeedHost {
  readonly client: () => KafkaClient | null;
  readonly topics: Topics;
  readonly stopping: AbortSignal;
  readonly recent: RecentBudget;
  pollsOf(leaderId: number, readCommitted: boolean): LeaderPolls;
  /** Keeps work until it is done, for a stop to wait for. */
  track(work: Promise<void>): void;
  /** Nobody reads it any more. */
  forget(feed: Feed): void;
}

/** Reads one partition for all its subscriptions. */
export class Feed {
  readonly key: FeedKey;
  readonly #host: FeedHost;
  /** All of them, live or behind. */
  readonly #subscriptions = new Set<FeedMember>();
  readonly #members = new Set<FeedMember>();
  /** First offset that no poll has brought; without meaning while there is no member. */
  #position = -1;
  #leaderEpoch = -1;
  #leader: Leader = NOBODY;
  #leaderFoundAtMs = -Infinity;
  #poll: Ticket | null = null;
  /** What is dealt with that a poll brought; nothing is polled meanwhile. */
  #recovery: object | null = null;
  #locating: Promise<void> | null = null;
  #findingEnd: Promise<number> | null = null;
  #end: FeedEnd | null = null;
  readonly #recent: RecentBatches;

  constructor(key: FeedKey, host: FeedHost) {
    this.key = key;
    this.#host = host;
    this.#recent = new RecentBatches(host.recent);
  }

  /** Where a feed that has members is; null for one that has none. */
  get tailOffset(): number | null {
    return this.#members.size === 0 ? null : this.#position;
  }

  /** How many subscriptions it has, and how many of them are live. */
  get counts(): { readonly subscriptions: number; readonly members: number } {
    return { subscriptions: this.#subscriptions.size, members: this.#members.size };
  }

  /** The tail, asked for once where many want to know. Errors: rejects with KafkaError or NetworkError. */
  async tail(client: KafkaClient): Promise<number> {
    if (this.#members.size > 0) return this.#position;
    this.#findingEnd ??= this.#range(client).then(({ end }) => end).finally(() => {
      this.#findingEnd = null;
    });
    return await this.#findingEnd;
  }

  /** Adds a subscription, which is behind until it joins. */
  add(subscription: FeedMember): void {
    this.#subscriptions.add(subscription);
    if (this.#end !== null) subscription.end(this.#end);
  }

  /** Takes a subscription out for good. */
  remove(subscription: FeedMember): void {
    this.leave(subscription);
    this.#subscriptions.delete(subscription);
    if (this.#subscriptions.size > 0) return;
    this.#recent.clear();
    this.#host.forget(this);
  }

  /**
   * Makes a subscription a member. `isAtEnd`: its own read found nothing after its position.
   * Returns: false when it has to read on by itself first.
   */
  join(subscription: FeedMember, { isAtEnd }: { readonly isAtEnd: boolean }): boolean {
    if (this.#end !== null) return false;
    if (this.#members.size === 0) {
      const goesOn = subscription.position === this.#position && !this.#recent.isEmpty;
      if (!isAtEnd && !goesOn) return false;
      if (!goesOn) this.#recent.clear();
      this.#position = subscription.position;
      this.#leaderEpoch = subscription.leaderEpoch;
    } else if (subscription.position < this.#position) return false;
    this.#members.add(subscription);
    if (this.#poll === null && this.#recovery === null) this.#startPoll();
    return true;
  }

  /** What was handed out a moment ago and goes on at an offset; null where it is not here any more. */
  recentAt(offset: number): FeedBatch | null {
    return this.#recent.at(offset);
  }

  /** A member reads by itself from now on. */
  leave(subscription: FeedMember): void {
    if (!this.#members.delete(subscription) || this.#members.size > 0) return;
    this.#stopPoll();
    this.#recovery = null;
  }

  #startPoll(): void {
    const ticket = new Ticket(this);
    this.#poll = ticket;
    this.#host.track(
      this.leader().then((leader) => {
        if (leader === null || !ticket.isPolled) return;
        this.#host.pollsOf(leader.leaderId, this.key.readCommitted).add(ticket);
      }),
    );
  }

  #stopPoll(): void {
    if (this.#poll !== null) this.#poll.isPolled = false;
    this.#poll = null;
  }

  /** What the next poll reads. */
  read(): PartitionRead {
    const { topicId, partition } = this.key;
    return {
      topicId,
      partition,
      position: this.#position,
      leaderEpoch: this.#leaderEpoch,
      currentLeaderEpoch: this.#leader.leaderEpoch,
    };
  }

  /** What a poll brought. */
  answered(outcome: ReadOutcome | null): void {
    if (outcome?.kind === "records") return this.#handOut(outcome);
    // The rest takes time, in which nothing is polled.
    this.#stopPoll();
    this.#host.track(this.#recover(outcome));
  }

  #handOut(outcome: ReadOutcome & { kind: "records" }): void {
    const { records, nextOffset, leaderEpoch } = outcome;
    if (nextOffset === this.#position) return;
    const { topic, topicId, partition } = this.key;
    const startOffset = this.#position;
    const content = { topic, topicId, partition, startOffset, records, nextOffset, leaderEpoch };
    const batch = new FeedBatch(content);
    this.#recent.add(batch);
    this.#position = nextOffset;
    this.#leaderEpoch = leaderEpoch;
    for (const member of this.#members) if (!member.deliver(batch)) this.leave(member);
    batch.settle();
  }

  async #recover(outcome: ReadOutcome | null): Promise<void> {
    const recovery = this.#recovery = {};
    const from = { position: this.#position, leaderEpoch: this.#leaderEpoch };
    const moved = await this.settle(outcome, from);
    // All members have left meanwhile, and others may have come.
    if (this.#recovery !== recovery) return;
    this.#recovery = null;
    if (moved === null) return;
    const { position, leaderEpoch, gap } = moved;
    this.#position = position;
    this.#leaderEpoch = leaderEpoch;
    if (gap !== null) { for (const member of this.#members) member.moved({ ...moved, gap }); }
    if (this.#members.size > 0) this.#startPoll();
  }

  /**
   * Deals with an answer that is not records, for the feed or for one subscription: where to go on, and what is lost.
   * Returns: null where it is over. Never rejects.
   */
  async settle(
    outcome: ReadOutcome | null,
    { position, leaderEpoch }: { readonly position: number; readonly leaderEpoch: number },
  ): Promise<Moved | null> {
    switch (outcome?.kind) {
      case "diverged": {
        const { endOffset, epoch } = outcome;
        const gap: FeedGap = {
          reason: "truncation",
          fromOffset: position,
          toOffset: endOffset,
        };
        return { position: endOffset, leaderEpoch: epoch, gap };
      }
      case "outOfRange":
        return await this.#settleRange(position);
      case "damaged":
        this.end({
          reason: "damaged",
          detail: `partition ${this.key.partition} of ${this.key.topic} is damaged at offset ` +
            `${position}: its leader does not serve it, and its log names the place`,
        });
        return null;
      default:
        await this.#relocate();
        return this.#end === null ? { position, leaderEpoch, gap: null } : null;
    }
  }

  async #settleRange(position: number): Promise<Moved | null> {
    for (let backoffMs = FIRST_BACKOFF_MS;; backoffMs = Math.min(2 * backoffMs, MAX_BACKOFF_MS)) {
      const client = this.#client();
      if (client === null) return null;
      try {
        const { start, end } = await this.#range(client);
        if (position < start) {
          const gap: FeedGap = { reason: "retention", fromOffset: position, toOffset: start };
          return { position: start, leaderEpoch: -1, gap };
        }
        if (position > end) {
          const gap: FeedGap = { reason: "truncation", fromOffset: position, toOffset: end };
          return { position: end, leaderEpoch: -1, gap };
        }
        return { position, leaderEpoch: -1, gap: null };
      } catch (error) {
        throwUnlessOfCluster(error);
        // Without an answer there is no telling: its leader is looked for, which also finds that the topic is gone.
        await this.#relocate();
      }
      if (this.#end !== null) return null;
      await client.clock.sleep(client.jitter(backoffMs), this.#host.stopping);
    }
  }

  async #range(client: KafkaClient): Promise<{ readonly start: number; readonly end: number }> {
    const { topic, partition, readCommitted } = this.key;
    const at = async (timestamp: number) => {
      const found = await listOffsets(client, topic, [partition], timestamp, { readCommitted });
      return found.get(partition)?.offset ?? -1;
    };
    const start = await at(SpecialTimestamp.earliest);
    return { start, end: await at(SpecialTimestamp.latest) };
  }

  /** Who leads; null once the feed has ended. Waits until somebody does. */
  async leader(): Promise<Leader | null> {
    if (this.#leader === NOBODY) await this.#locate(-Infinity);
    return this.#end === null && this.#leader !== NOBODY ? this.#leader : null;
  }

  async #relocate(): Promise<void> {
    this.#leader = NOBODY;
    await this.#locate(0);
  }

  async #locate(sinceMs: number): Promise<void> {
    this.#locating ??= this.#lookForLeader(sinceMs).finally(() => {
      this.#locating = null;
    });
    await this.#locating;
  }

  /** `sinceMs`: −Infinity where any answer will do that is not old. */
  async #lookForLeader(sinceMs: number): Promise<void> {
    let looksInVain = 0;
    for (let backoffMs = FIRST_BACKOFF_MS;; backoffMs = Math.min(2 * backoffMs, MAX_BACKOFF_MS)) {
      const client = this.#client();
      if (client === null) return;
      const { clock } = client;
      const nowMs = clock.monotonicMs();
      // Many partitions look at the same time, and share an answer.
      const freshMs = sinceMs === -Infinity ? sinceMs : nowMs - backoffMs / 2;
      const leader = await this.#leaderIn(client, freshMs);
      looksInVain = leader === null ? looksInVain + 1 : 0;
      if (looksInVain >= GONE_AFTER_LOOKS) return this.end(this.#gone());
      // The same one again may need a moment, too.
      const isAgain = nowMs - this.#leaderFoundAtMs < MAX_BACKOFF_MS;
      const isFound = leader !== null && leader.leaderId >= 0;
      if (!isFound || isAgain) {
        await clock.sleep(client.jitter(backoffMs), this.#host.stopping);
      }
      if (isFound) {
        this.#leaderFoundAtMs = nowMs;
        this.#leader = leader;
        return;
      }
      sinceMs = nowMs;
    }
  }

  /** Who leads, nobody where no broker answers; null where there is no such partition. */
  async #leaderIn(client: KafkaClient, sinceMs: number): Promise<Leader | null> {
    const { topic, topicId, partition } = this.key;
    try {
      const found = await this.#host.topics.find(client, topic, sinceMs);
      return found?.topicId === topicId ? found.leaders[partition] ?? null : null;
    } catch (error) {
      throwUnlessOfCluster(error);
      // Tried again for as long as somebody reads.
      return NOBODY;
    }
  }

  #gone(): FeedEnd {
    const { topic, partition } = this.key;
    const detail = `partition ${partition} of ${topic} is gone: the topic was deleted, and one ` +
      "that has its name now is another one";
    return { reason: "deleted", detail };
  }

  /** Ends the feed where this node serves no more. */
  #client(): KafkaClient | null {
    const client = this.#host.stopping.aborted ? null : this.#host.client();
    if (this.#end !== null) return null;
    if (client === null) this.end(UNAVAILABLE);
    return client;
  }

  /** Tells all subscriptions that nothing more comes. */
  end(end: FeedEnd): void {
    this.#end ??= end;
    this.#stopPoll();
    this.#recent.clear();
    this.#host.forget(this);
    for (const subscription of [...this.#subscriptions]) subscription.end(this.#end);
  }
}

/** What subscribers are told when this node stops. */
export const UNAVAILABLE: FeedEnd = {
  reason: "unavailable",
  detail: "this node serves no more: it stops, or is no broker; another one goes on",
};

/** Where reading goes on. */
export interface Moved {
  readonly position: number;
  readonly leaderEpoch: number;
  readonly gap: FeedGap | null;
}

/** One time in the polls: a feed that leaves and comes back is not in two rounds at once. */
class Ticket implements Polled {
  isPolled = true;
  readonly #feed: Feed;

  constructor(feed: Feed) {
    this.#feed = feed;
  }

  read(): PartitionRead {
    return this.#feed.read();
  }

  answered(outcome: ReadOutcome | null): void {
    this.#feed.answered(outcome);
  }
}
