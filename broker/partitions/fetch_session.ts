/**
 * Fetch sessions: what a consumer fetches is remembered, so that a fetch names only what has changed and
 * an answer carries only what is new (KIP-227).
 *
 *     epoch 0 ──→ a new session with all partitions ──→ answer: session id, everything
 *     epoch n ──→ partitions added, changed, forgotten ──→ answer: only partitions with something new
 *     epoch −1 ──→ the session ends; the request is answered whole, without one
 *
 * A follower's session follows thousands of partitions of which few move at a time. It watches them, and reads only
 * those that were named or have moved since they were read, have more to give, or are in trouble; all of them now
 * and then, so that whatever moves a partition unseen is seen soon, and leaders know who is silent.
 *
 * Invariants: a session's epoch grows by one with each fetch; the cache never holds more sessions than its
 * slots, nor more partitions than its bound. A partition that gave records goes to the end of its session,
 * so that a full answer does not starve the others. What a follower's session does not read has nothing for it.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { Uuid } from "../../protocol/types.ts";
import type { Clock, Random } from "../../storage/platform.ts";
import type { Partition, PartitionWatch } from "./partition.ts";

/** Epoch that asks for a new session. */
const INITIAL_EPOCH = 0;
/** Epoch of a fetch outside any session. */
const FINAL_EPOCH = -1;
const MAX_EPOCH = 0x7fff_ffff;
/** Partitions over all sessions: memory that clients can make this node hold. */
const MAX_CACHED_PARTITIONS = 500_000;
/** Time between two reads of all partitions of a follower's session; a small part of the silence that is allowed. */
const FULL_READ_MS = 250;

/** One partition of a fetch. */
export interface FetchPartition {
  readonly topic: string;
  readonly topicId: Uuid;
  readonly partition: number;
  fetchOffset: number;
  maxBytes: number;
  currentLeaderEpoch: number;
  lastFetchedEpoch: number;
  logStartOffset: number;
  /** What its session remembers; undefined outside of one. */
  readonly remembered?: RememberedPartition;
}

/** What a request says of sessions. */
export interface FetchSessionRequest {
  readonly sessionId: number;
  readonly sessionEpoch: number;
  /** True when topics are named by id (version 13 and later). */
  readonly usesTopicIds: boolean;
  readonly isFollower: boolean;
  readonly partitions: readonly FetchPartition[];
  readonly forgotten: readonly Pick<FetchPartition, "topic" | "topicId" | "partition">[];
}

/** What is to be said of a partition. */
export interface PartitionState {
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  readonly logStartOffset: number;
  readonly hasError: boolean;
  readonly hasRecords: boolean;
}

/** A fetch that waits. */
interface WaitingFetch {
  /** Answers with what there is now. */
  expire(): void;
  /** Something came that may be worth an answer. */
  appended(): void;
}

/** How one fetch is to be answered. */
export interface FetchContext {
  /** NONE, or why the whole fetch is refused. */
  readonly error: ErrorCode;
  /** 0 outside a session. */
  readonly sessionId: number;
  /** How many partitions it is about. */
  readonly partitionCount: number;
  /** True when what moves wakes the fetch that waits; else it has to look for itself. */
  readonly isWatched: boolean;
  /** The partitions that may have something now, in order. */
  toRead(): readonly FetchPartition[];
  /** The next fetch of the session will end the wait of this one: both come from one reader. */
  wait(fetch: WaitingFetch): void;
  /** Tells whether the answer must carry one of the partitions, and remembers that it does. */
  include(partition: FetchPartition, state: PartitionState): boolean;
}

/** What a session remembers of a partition. NaN before the first answer: it differs from all, and exceeds none. */
class RememberedPartition implements PartitionWatch {
  readonly #session: FetchSession;
  /** Which partition of the session it is. */
  readonly #key: string;
  #watched: Partition | null = null;
  highWatermark = NaN;
  lastStableOffset = NaN;
  logStartOffset = NaN;
  #hadError = false;

  constructor(session: FetchSession, key: string) {
    this.#session = session;
    this.#key = key;
  }

  /** Hears from now on when the partition moves. */
  watch(partition: Partition): void {
    if (this.#watched === partition) return;
    this.unwatch();
    this.#watched = partition;
    partition.addFollowerWatch(this);
  }

  unwatch(): void {
    this.#watched?.removeWatch(this);
    this.#watched = null;
  }

  appended(): void {
    this.#session.moved.add(this.#key);
    this.#session.waiting?.appended();
  }

  committed(): void {
    this.#session.moved.add(this.#key);
  }

  lost(): void {
    this.#session.moved.add(this.#key);
    this.#session.waiting?.expire();
  }

  /** Nothing was found in it: it is left out until it moves, unless what is known of it is to be said. */
  settle(state: PartitionState): void {
    if (!this.#isNews(state)) this.#session.moved.delete(this.#key);
  }

  /** Remembers what is said, moves what gave records to the end. Returns: whether it is worth saying. */
  include(fetch: FetchPartition, state: PartitionState): boolean {
    const isNews = this.#isNews(state);
    this.highWatermark = state.highWatermark;
    this.lastStableOffset = state.lastStableOffset;
    this.logStartOffset = state.logStartOffset;
    this.#hadError = state.hasError;
    const { partitions, moved } = this.#session;
    if (state.hasRecords && partitions.delete(this.#key)) {
      partitions.set(this.#key, fetch);
      if (moved.delete(this.#key)) moved.add(this.#key);
    }
    return isNews;
  }

  #isNews(state: PartitionState): boolean {
    return state.hasRecords || state.hasError || this.#hadError ||
      this.highWatermark !== state.highWatermark ||
      this.lastStableOffset !== state.lastStableOffset ||
      this.logStartOffset !== state.logStartOffset;
  }
}

class FetchSession {
  readonly id: number;
  readonly usesTopicIds: boolean;
  readonly isFollower: boolean;
  readonly partitions = new Map<string, FetchPartition>();
  /** Of a follower: keys of those that may have something for it. */
  readonly moved = new Set<string>();
  /** The newest fetch that had to wait; it may be answered by now. */
  waiting: WaitingFetch | null = null;
  epoch = 1;
  lastUsedMs: number;
  #fullReadMs = -Infinity;

  constructor(id: number, { usesTopicIds, isFollower }: FetchSessionRequest, nowMs: number) {
    this.id = id;
    this.usesTopicIds = usesTopicIds;
    this.isFollower = isFollower;
    this.lastUsedMs = nowMs;
  }

  #keyOf({ topic, topicId, partition }: Pick<FetchPartition, "topic" | "topicId" | "partition">) {
    return `${this.usesTopicIds ? topicId : topic}/${partition}`;
  }

  add(fetch: FetchPartition): void {
    const key = this.#keyOf(fetch);
    const known = this.partitions.get(key);
    if (known !== undefined) Object.assign(known, fetch);
    else {
      this.partitions.set(key, { ...fetch, remembered: new RememberedPartition(this, key) });
    }
    if (this.isFollower) this.moved.add(key);
  }

  forget(fetch: Pick<FetchPartition, "topic" | "topicId" | "partition">): void {
    const key = this.#keyOf(fetch);
    this.partitions.get(key)?.remembered?.unwatch();
    this.partitions.delete(key);
    this.moved.delete(key);
  }

  /** Lets go of all partitions. */
  end(): void {
    for (const { remembered } of this.partitions.values()) remembered?.unwatch();
  }

  /** How the fetch that has come is to be answered. */
  context(nowMs: number, include: FetchContext["include"]): FetchContext {
    if (this.isFollower && nowMs - this.#fullReadMs >= FULL_READ_MS) {
      this.#fullReadMs = nowMs;
      for (const key of this.partitions.keys()) this.moved.add(key);
    }
    return {
      error: ErrorCode.NONE,
      sessionId: this.id,
      partitionCount: this.partitions.size,
      isWatched: this.isFollower,
      toRead: this.isFollower ? () => this.#moved() : ownList(this.partitions.values()),
      wait: (fetch) => void (this.waiting = fetch),
      include,
    };
  }

  #moved(): FetchPartition[] {
    const list: FetchPartition[] = [];
    for (const key of this.moved) list.push(this.partitions.get(key)!);
    return list;
  }
}

/** The sessions of this node. */
export class FetchSessions {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #slots: number;
  readonly #evictionMs: number;
  /** Least recently used first. */
  readonly #sessions = new Map<number, FetchSession>();
  #partitionCount = 0;
  #evictionCount = 0;

  constructor({ clock, random, slots, evictionMs }: {
    readonly clock: Clock;
    readonly random: Random;
    /** Kafka's `max.incremental.fetch.session.cache.slots`. */
    readonly slots: number;
    /** A session that was used within this time is not evicted. */
    readonly evictionMs: number;
  }) {
    this.#clock = clock;
    this.#random = random;
    this.#slots = slots;
    this.#evictionMs = evictionMs;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Partitions that they remember, over all of them. */
  get partitionCount(): number {
    return this.#partitionCount;
  }

  /** Sessions that had to go for others. */
  get evictionCount(): number {
    return this.#evictionCount;
  }

  /** Finds out which partitions a fetch is about. */
  open(request: FetchSessionRequest): FetchContext {
    const { sessionId, sessionEpoch } = request;
    if (sessionEpoch === FINAL_EPOCH || sessionEpoch === INITIAL_EPOCH) {
      if (sessionId !== 0) this.#remove(sessionId);
      return sessionEpoch === FINAL_EPOCH ? sessionless(request) : this.#create(request);
    }
    const session = this.#sessions.get(sessionId);
    if (session === undefined) return refused(ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
    if (session.epoch !== sessionEpoch) return refused(ErrorCode.INVALID_FETCH_SESSION_EPOCH);
    if (session.usesTopicIds !== request.usesTopicIds) {
      return refused(ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR);
    }
    return this.#continue(session, request);
  }

  #create(request: FetchSessionRequest): FetchContext {
    const { partitions } = request;
    if (partitions.length === 0 || !this.#makeRoom(partitions.length)) return sessionless(request);
    const nowMs = this.#clock.monotonicMs();
    const session = new FetchSession(this.#newId(), request, nowMs);
    for (const partition of partitions) session.add(partition);
    this.#sessions.set(session.id, session);
    this.#partitionCount += session.partitions.size;
    return session.context(nowMs, (fetch, state) => {
      fetch.remembered?.include(fetch, state);
      return true;
    });
  }

  #continue(session: FetchSession, request: FetchSessionRequest): FetchContext {
    if (this.#partitionCount + request.partitions.length > MAX_CACHED_PARTITIONS) {
      // The client goes on with a full fetch, for which no session is made while the cache is full.
      this.#remove(session.id);
      return refused(ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
    }
    const { waiting } = session;
    session.waiting = null;
    waiting?.expire();
    const before = session.partitions.size;
    for (const partition of request.partitions) session.add(partition);
    for (const partition of request.forgotten) session.forget(partition);
    this.#partitionCount += session.partitions.size - before;
    session.epoch = session.epoch === MAX_EPOCH ? 1 : session.epoch + 1;
    session.lastUsedMs = this.#clock.monotonicMs();
    this.#sessions.delete(session.id);
    if (session.partitions.size === 0) return sessionless(request);
    this.#sessions.set(session.id, session);
    return session.context(
      session.lastUsedMs,
      (fetch, state) => fetch.remembered?.include(fetch, state) ?? true,
    );
  }

  #makeRoom(partitionCount: number): boolean {
    for (const [id, { lastUsedMs }] of this.#sessions) {
      const isFull = this.#sessions.size >= this.#slots ||
        this.#partitionCount + partitionCount > MAX_CACHED_PARTITIONS;
      if (!isFull) break;
      if (this.#clock.monotonicMs() - lastUsedMs < this.#evictionMs) return false;
      this.#remove(id);
      this.#evictionCount++;
    }
    return this.#sessions.size < this.#slots &&
      this.#partitionCount + partitionCount <= MAX_CACHED_PARTITIONS;
  }

  #remove(id: number): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    this.#sessions.delete(id);
    this.#partitionCount -= session.partitions.size;
    session.end();
  }

  #newId(): number {
    for (;;) {
      const id = this.#random.uint32() & 0x7fff_ffff;
      if (id !== 0 && !this.#sessions.has(id)) return id;
    }
  }
}

/** The same list each time: as it is now. */
function ownList(partitions: Iterable<FetchPartition>): () => readonly FetchPartition[] {
  const list = [...partitions];
  return () => list;
}

function sessionless({ partitions }: FetchSessionRequest): FetchContext {
  return withoutSession(ErrorCode.NONE, partitions);
}

function refused(error: ErrorCode): FetchContext {
  return withoutSession(error, []);
}

function withoutSession(error: ErrorCode, partitions: readonly FetchPartition[]): FetchContext {
  return {
    error,
    sessionId: 0,
    partitionCount: partitions.length,
    isWatched: false,
    toRead: () => partitions,
    wait: () => {},
    include: () => true,
  };
}
