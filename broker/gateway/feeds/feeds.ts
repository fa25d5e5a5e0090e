/**
 * Feeds: what this node reads for everybody who streams a partition from it, whoever leads it.
 *
 *     subscribers ── Subscription ──┐
 *     subscribers ── Subscription ──┼── Feed (one a partition) ── LeaderPolls (one a leader) ── Kafka client
 *     subscribers ── Subscription ──┘
 *
 * However many read a partition at its tail, it is fetched, decoded and encoded once. Bounds: four long polls a leader
 * of 1 MiB each, four catch-up reads of 256 KiB at once for all together (or one batch, where that is larger), 16 MiB of
 * what was just handed out; nothing is kept for anybody who is slow.
 */

import type { Clock } from "../../../storage/platform.ts";
import { TurnQueue } from "../../../storage/turn_queue.ts";
import { ClientError } from "../../client/client_error.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { type Place, resolvePlace } from "../../client/offsets.ts";
import { Feed, type FeedHost, type FeedKey, UNAVAILABLE } from "./feed.ts";
import { LeaderPolls } from "./leader_polls.ts";
import { RecentBudget } from "./recent_batches.ts";
import type { FeedSubscriber } from "./subscriber.ts";
import { Subscription, type SubscriptionStart } from "./subscription.ts";
import { type FoundTopic, Topics } from "./topics.ts";

/** Pieces that are read at once for those who are behind. */
const MAX_CATCH_UP_READS = 4;

/** Where a subscription starts: a place, or where another one ended. */
export type FeedStart =
  | Place
  | { readonly kind: "resume"; readonly offset: number; readonly leaderEpoch: number };

/** What is subscribed to. */
export interface FeedRequest {
  readonly topic: string;
  readonly partition: number;
  readonly start: FeedStart;
  /** False: records of transactions that are open or were aborted come too. True when left out. */
  readonly readCommitted?: boolean;
}

/** What feeds are made of. */
export interface FeedsOptions {
  /** The way to the cluster; null while this node does not serve it. */
  readonly client: () => KafkaClient | null;
  readonly clock: Clock;
}

/** This node does not serve, now or any more: another one does, or this one later. */
export class UnavailableError extends ClientError {}

/** All feeds of a node. */
export class Feeds {
  readonly #options: FeedsOptions;
  readonly #feeds = new Map<string, Feed>();
  readonly #polls = new Map<string, LeaderPolls>();
  readonly #topics: Topics;
  readonly #turns: TurnQueue;
  readonly #recent = new RecentBudget();
  readonly #stopping = new AbortController();
  readonly #work = new Set<Promise<void>>();
  #nextId = 0;

  constructor(options: FeedsOptions) {
    this.#options = options;
    this.#topics = new Topics(options.clock);
    this.#turns = new TurnQueue({ clock: options.clock, maxAtOnce: () => MAX_CATCH_UP_READS });
  }

  /** Partitions that are read or have somebody behind. */
  get partitionCount(): number {
    return this.#feeds.size;
  }

  /**
   * A topic with its partitions. Errors: rejects with ClientError for one that does not exist, UnavailableError where this
   * node does not serve, with KafkaError and NetworkError.
   */
  async topic(name: string): Promise<FoundTopic> {
    const client = this.#client();
    const found = await client.retry(async () => await this.#topics.find(client, name));
    if (found !== null) return found;
    throw new ClientError(`topic ${name} does not exist`);
  }

  /**
   * Reads a partition for a subscriber, from a place on. It may be told something just before this has resolved.
   * Errors: rejects with ClientError for a partition that does not exist, UnavailableError where this node does not
   * serve, with KafkaError and NetworkError.
   */
  async subscribe(request: FeedRequest, subscriber: FeedSubscriber): Promise<Subscription> {
    const { topic, partition, start, readCommitted = true } = request;
    const { topicId, leaders } = await this.topic(topic);
    if (partition >= leaders.length) {
      throw new ClientError(
        `partition ${partition} does not exist; topic ${topic} has partitions 0 to ` +
          `${leaders.length - 1}`,
      );
    }
    const feed = this.#feed({ topic, topicId, partition, readCommitted });
    let from: SubscriptionStart;
    try {
      from = await this.#startAt(feed, start);
      this.#client();
    } catch (error) {
      if (feed.counts.subscriptions === 0) this.#forget(feed);
      throw error;
    }
    // It may have been forgotten meanwhile, and made anew by another subscriber.
    return new Subscription(this.#feed(feed.key), subscriber, from, {
      client: this.#options.client,
      clock: this.#options.clock,
      turns: this.#turns,
      id: this.#nextId++,
      track: (work) => this.#track(work),
    });
  }

  async #startAt(feed: Feed, start: FeedStart): Promise<SubscriptionStart> {
    const client = this.#client();
    const { topic, partition } = feed.key;
    switch (start.kind) {
      case "resume":
        return { position: start.offset, leaderEpoch: start.leaderEpoch, isAtEnd: false };
      case "end":
        return { position: await feed.tail(client), leaderEpoch: -1, isAtEnd: true };
      default: {
        const offsets = await resolvePlace(client, topic, [partition], start);
        return { position: offsets.get(partition) ?? 0, leaderEpoch: -1, isAtEnd: false };
      }
    }
  }

  /** Ends all subscriptions, and waits for what is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const feed of [...this.#feeds.values()]) feed.end(UNAVAILABLE);
    while (this.#work.size > 0) await Promise.all(this.#work);
  }

  #client(): KafkaClient {
    const client = this.#stopping.signal.aborted ? null : this.#options.client();
    if (client === null) throw new UnavailableError(UNAVAILABLE.detail);
    return client;
  }

  #feed(key: FeedKey): Feed {
    const name = nameOf(key);
    let feed = this.#feeds.get(name);
    if (feed === undefined) this.#feeds.set(name, feed = new Feed(key, this.#host));
    return feed;
  }

  #forget(feed: Feed): void {
    const name = nameOf(feed.key);
    if (this.#feeds.get(name) === feed) this.#feeds.delete(name);
  }

  get #host(): FeedHost {
    return {
      client: this.#options.client,
      topics: this.#topics,
      stopping: this.#stopping.signal,
      recent: this.#recent,
      pollsOf: (leaderId, readCommitted) => this.#pollsOf(leaderId, readCommitted),
      track: (work) => this.#track(work),
      forget: (feed) => this.#forget(feed),
    };
  }

  #pollsOf(leaderId: number, readCommitted: boolean): LeaderPolls {
    const name = `${leaderId} ${readCommitted}`;
    let polls = this.#polls.get(name);
    if (polls === undefined) {
      const { client, clock } = this.#options;
      const track = (work: Promise<void>) => this.#track(work);
      polls = new LeaderPolls({ client, clock, leaderId, readCommitted, track });
      this.#polls.set(name, polls);
    }
    return polls;
  }

  #track(work: Promise<void>): void {
    this.#work.add(work);
    void work.finally(() => this.#work.delete(work));
  }
}

function nameOf({ topicId, partition, readCommitted }: FeedKey): string {
  return `${topicId} ${partition} ${readCommitted}`;
}
