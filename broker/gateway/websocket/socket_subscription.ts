/**
 * One subscription of one socket: its partitions, what it may still be sent, and what it says of itself.
 *
 *     begin: topics, places ──→ `subscribed` ──→ records, gaps … ──→ `end`
 *     as a group member:        `subscribed` ⇄ `revoked` ──→ `end`
 */

import type { Clock } from "../../../storage/platform.ts";
import { ClientError } from "../../client/client_error.ts";
import type { GroupOffset } from "../../client/group_member.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import type { Place } from "../../client/offsets.ts";
import { parseTime } from "../../client/times.ts";
import { type Feeds, type FeedStart, UnavailableError } from "../feeds/feeds.ts";
import { formatResumeToken, parseResumeToken, type ResumePoint } from "../feeds/resume_token.ts";
import type { FeedEnd, FeedGap } from "../feeds/subscriber.ts";
import type { FoundTopic } from "../feeds/topics.ts";
import type { GatewaySocket } from "../http_server.ts";
import { Filter } from "./filters.ts";
import { GroupReader } from "./group_reader.ts";
import type { From, Protocol, ServerMessage, SubscribeMessage } from "./messages.ts";
import { PartitionStream, type StreamOwner } from "./partition_stream.ts";

const INTERVAL_MS = 1000;

type End = Extract<ServerMessage, { type: "end" }>;

/** What a subscription uses of its socket's session. */
export interface SubscriptionSession {
  readonly protocol: Protocol;
  readonly clock: Clock;
  readonly feeds: Feeds;
  readonly socket: GatewaySocket;
  readonly client: () => KafkaClient | null;
  isFull(): boolean;
  send(frame: string | Uint8Array): void;
  tell(message: ServerMessage): void;
  /** Takes partitions into the socket's bound. Errors: ClientError past it. */
  addPartitions(count: number): void;
  /** It is over. */
  forget(subscription: SocketSubscription): void;
  /** Keeps work until it is done, for a stop to wait for. */
  track(work: Promise<void>): void;
}

/** What is asked is past a bound of the socket. */
export class LimitError extends ClientError {}
/** A token that is none, or of another topic. */
export class TokenError extends ClientError {}

interface Wanted {
  readonly topic: FoundTopic;
  readonly partition: number;
  readonly start: FeedStart;
}

/** A subscription of a socket. */
export class SocketSubscription implements StreamOwner {
  readonly id: number;
  readonly filter: Filter | null;
  readonly delivery: StreamOwner["delivery"];
  readonly intervalMs: number;
  readonly dropsSlow: boolean;
  credits: number;
  isBegun = false;
  readonly #session: SubscriptionSession;
  readonly #message: SubscribeMessage;
  readonly #streams: PartitionStream[] = [];
  #partitionCount = 0;
  #group: GroupReader | null = null;
  #isOver = false;

  constructor(session: SubscriptionSession, message: SubscribeMessage) {
    this.#session = session;
    this.#message = message;
    this.id = message.id;
    this.filter = message.filter === undefined ? null : new Filter(message.filter);
    this.delivery = message.delivery ?? "all";
    this.intervalMs = message.intervalMs ?? INTERVAL_MS;
    this.dropsSlow = message.slow === "drop";
    this.credits = message.credits ?? Infinity;
  }

  get protocol(): Protocol {
    return this.#session.protocol;
  }

  get clock(): Clock {
    return this.#session.clock;
  }

  get socket(): GatewaySocket {
    return this.#session.socket;
  }

  /** Partitions that count against the bound of the socket. */
  get partitionCount(): number {
    return this.#partitionCount;
  }

  /** Begins. Errors: rejects with ClientError, KafkaError or NetworkError; it is over then. */
  async begin(): Promise<void> {
    try {
      if (this.#message.group === undefined) await this.#start(await this.#wanted());
      else await this.#joinGroup(this.#message.group);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  async #wanted(): Promise<Wanted[]> {
    const { topics, resume = [], from } = this.#message;
    const points = resume.map(parseToken);
    const place = placeOf(from);
    const wanted: Wanted[] = [];
    for (const { topic: name, partitions } of topics) {
      const topic = await this.#session.feeds.topic(name);
      for (const partition of new Set(partitions ?? topic.leaders.keys())) {
        const at = points.findIndex((point) =>
          point.topicId === topic.topicId && point.partition === partition
        );
        const [point] = at < 0 ? [] : points.splice(at, 1);
        wanted.push({ topic, partition, start: point === undefined ? place : startAt(point) });
      }
    }
    const [stray] = points;
    if (stray !== undefined) {
      throw new TokenError(
        `a token is of partition ${stray.partition} of the topic with id ${stray.topicId}, which is none of those ` +
          "asked for: the topic was deleted and made anew, or the token is another subscription's",
      );
    }
    return wanted;
  }

  async #start(wanted: readonly Wanted[]): Promise<void> {
    this.#session.addPartitions(wanted.length);
    this.#partitionCount = wanted.length;
    const { readUncommitted = false } = this.#message;
    const places = await Promise.all(wanted.map(async ({ topic, partition, start }) => {
      const stream = new PartitionStream(this, topic.name, partition);
      const feed = await this.#session.feeds.subscribe(
        { topic: topic.name, partition, start, readCommitted: !readUncommitted },
        stream,
      );
      if (this.#isOver) feed.close();
      const { position, leaderEpoch } = feed;
      const { topicId } = topic;
      const token = formatResumeToken({ topicId, partition, offset: position, leaderEpoch });
      // Whoever is in it gets the same bytes.
      const group = [
        topicId,
        partition,
        readUncommitted,
        this.protocol,
        this.id,
        this.filter?.name ?? "",
      ].join(" ");
      stream.open(feed, token, group);
      this.#streams.push(stream);
      return { topic: topic.name, partition, next: position, token };
    }));
    if (this.#isOver) return this.#closeStreams();
    this.#session.tell({ type: "subscribed", id: this.id, partitions: places });
    this.isBegun = true;
    this.resume();
  }

  async #joinGroup(groupId: string): Promise<void> {
    const [only, ...others] = this.#message.topics;
    if (others.length > 0 || only!.partitions !== undefined || this.#message.resume !== undefined) {
      throw new ClientError("a group's subscription has one topic, without partitions or tokens");
    }
    const client = this.#session.client();
    if (client === null) throw new UnavailableError("this node does not serve groups now");
    const topic = await this.#session.feeds.topic(only!.topic);
    const reader = new GroupReader({
      client,
      clock: this.clock,
      groupId,
      topic: topic.name,
      assigned: async (committed) => await this.#assign(topic, committed),
      revoked: () => this.#revoke(),
      failed: (error) => this.#finish("failed", (error as Error).message),
    });
    this.#group = reader;
    this.#session.track(reader.run());
  }

  async #assign(topic: FoundTopic, committed: readonly GroupOffset[]): Promise<void> {
    const fallback = placeOf(this.#message.from);
    await this.#start(committed.map(({ partition, offset }) => ({
      topic,
      partition,
      start: offset < 0 ? fallback : { kind: "offset", offset },
    })));
  }

  #revoke(): void {
    this.#closeStreams();
    this.isBegun = false;
    const detail = "the members of the group share the partitions anew";
    this.#session.tell({ type: "revoked", id: this.id, detail });
  }

  /** Commits for the group. Errors: ClientError where it is no group's, KafkaError, NetworkError. */
  async acknowledge(offsets: readonly GroupOffset[]): Promise<void> {
    if (this.#group === null) throw new ClientError(`subscription ${this.id} is no group's`);
    await this.#group.commit(offsets);
  }

  /** More may be sent. */
  addCredits(count: number): void {
    this.credits += count;
    this.resume();
  }

  /** The socket has room again. */
  resume(): void {
    for (const stream of this.#streams) stream.resume();
  }

  /** The client wants no more. */
  unsubscribe(): void {
    this.#finish("unsubscribed", "as the client asked");
  }

  /** Ends without a word. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#closeStreams();
    this.#group?.close();
    this.#session.forget(this);
  }

  #closeStreams(): void {
    for (const stream of this.#streams.splice(0)) stream.close();
    this.#partitionCount = 0;
  }

  #finish(reason: End["reason"], detail: string): void {
    if (this.#isOver) return;
    const resume = this.#streams.flatMap(({ token }) => token ?? []);
    this.close();
    this.#session.tell({ type: "end", id: this.id, reason, detail, resume });
  }

  isFull(): boolean {
    return this.#session.isFull();
  }

  send(frame: string | Uint8Array): void {
    this.#session.send(frame);
  }

  gap({ topic, partition }: PartitionStream, { reason, fromOffset, toOffset }: FeedGap): void {
    this.#session.tell({
      type: "gap",
      id: this.id,
      topic,
      partition,
      reason,
      from: fromOffset,
      to: toOffset,
    });
  }

  ended({ reason, detail }: FeedEnd): void {
    this.#finish(reason, detail);
  }

  tooSlow(): void {
    const detail = "it did not take what came, and has asked to be dropped then";
    this.#finish("slow", detail);
  }
}

function parseToken(text: string): ResumePoint {
  try {
    return parseResumeToken(text);
  } catch (cause) {
    throw new TokenError((cause as Error).message, { cause });
  }
}

function startAt({ offset, leaderEpoch }: ResumePoint): FeedStart {
  return { kind: "resume", offset, leaderEpoch };
}

function placeOf(from: From = "latest"): Place {
  if (from === "latest") return { kind: "end" };
  if (from === "earliest") return { kind: "beginning" };
  if ("offset" in from) return { kind: "offset", offset: from.offset };
  const timestampMs = typeof from.timestamp === "number"
    ? from.timestamp
    : parseTime(from.timestamp);
  if (timestampMs === null) throw new ClientError(`"${from.timestamp}" is no ISO 8601 time`);
  return { kind: "timestamp", timestampMs };
}
