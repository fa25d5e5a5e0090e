/**
 * Fetch sessions: what a consumer fetches is remembered, so that a fetch names only what has changed and
 * an answer carries only what is new (KIP-227).
 *
 *     epoch 0 ──→ a new session with all partitions ──→ answer: session id, everything
 *     epoch n ──→ partitions added, changed, forgotten ──→ answer: only partitions with something new
 *     epoch −1 ──→ the session ends; the request is answered whole, without one
 *
 * Invariants: a session's epoch grows by one with each fetch; the cache never holds more sessions than its
 * slots, nor more partitions than its bound. A partition that gave records goes to the end of its session,
 * so that a full answer does not starve the others.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { Uuid } from "../../protocol/types.ts";
import type { Clock, Random } from "../../storage/platform.ts";

/** Epoch that asks for a new session. */
const INITIAL_EPOCH = 0;
/** Epoch of a fetch outside any session. */
const FINAL_EPOCH = -1;
const MAX_EPOCH = 0x7fff_ffff;
/** Partitions over all sessions: memory that clients can make this node hold. */
const MAX_CACHED_PARTITIONS = 500_000;

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

/** What the last answer said of a partition. NaN before the first: it differs from all, and exceeds none. */
interface RememberedPartition {
  /** Which partition of the session it is. */
  readonly key: string;
  highWatermark: number;
  lastStableOffset: number;
  logStartOffset: number;
  hadError: boolean;
}

/** What a request says of sessions. */
export interface FetchSessionRequest {
  readonly sessionId: number;
  readonly sessionEpoch: number;
  /** True when topics are named by id (version 13 and later). */
  readonly usesTopicIds: boolean;
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
}

/** How one fetch is to be answered. */
export interface FetchContext {
  /** NONE, or why the whole fetch is refused. */
  readonly error: ErrorCode;
  /** 0 outside a session. */
  readonly sessionId: number;
  /** All partitions to read, in order. */
  readonly partitions: readonly FetchPartition[];
  /** The next fetch of the session will end the wait of this one: both come from one reader. */
  wait(fetch: WaitingFetch): void;
  /** Tells whether the answer must carry one of the partitions, and remembers that it does. */
  include(partition: FetchPartition, state: PartitionState): boolean;
}

class FetchSession {
  readonly id: number;
  readonly usesTopicIds: boolean;
  readonly partitions = new Map<string, FetchPartition>();
  /** The newest fetch that had to wait; it may be answered by now. */
  waiting: WaitingFetch | null = null;
  epoch = 1;
  lastUsedMs: number;

  constructor(id: number, usesTopicIds: boolean, nowMs: number) {
    this.id = id;
    this.usesTopicIds = usesTopicIds;
    this.lastUsedMs = nowMs;
  }

  keyOf({ topic, topicId, partition }: Pick<FetchPartition, "topic" | "topicId" | "partition">) {
    return `${this.usesTopicIds ? topicId : topic}/${partition}`;
  }

  add(fetch: FetchPartition): void {
    const key = this.keyOf(fetch);
    const known = this.partitions.get(key);
    if (known !== undefined) Object.assign(known, fetch);
    else this.partitions.set(key, { ...fetch, remembered: nothingSent(key) });
  }

  /** Remembers what is said, moves what gave records to the end. Returns: whether it is worth saying. */
  include(fetch: FetchPartition, state: PartitionState): boolean {
    const sent = fetch.remembered;
    if (sent === undefined) return true;
    const isNews = state.hasRecords || state.hasError || sent.hadError ||
      sent.highWatermark !== state.highWatermark ||
      sent.lastStableOffset !== state.lastStableOffset ||
      sent.logStartOffset !== state.logStartOffset;
    sent.highWatermark = state.highWatermark;
    sent.lastStableOffset = state.lastStableOffset;
    sent.logStartOffset = state.logStartOffset;
    sent.hadError = state.hasError;
    if (state.hasRecords && this.partitions.delete(sent.key)) this.partitions.set(sent.key, fetch);
    return isNews;
  }
}

function nothingSent(key: string): RememberedPartition {
  return { key, highWatermark: NaN, lastStableOffset: NaN, logStartOffset: NaN, hadError: false };
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
    const { partitions, usesTopicIds } = request;
    if (partitions.length === 0 || !this.#makeRoom(partitions.length)) return sessionless(request);
    const session = new FetchSession(this.#newId(), usesTopicIds, this.#clock.monotonicMs());
    for (const partition of partitions) session.add(partition);
    this.#sessions.set(session.id, session);
    this.#partitionCount += session.partitions.size;
    return {
      error: ErrorCode.NONE,
      sessionId: session.id,
      partitions: [...session.partitions.values()],
      wait: (fetch) => void (session.waiting = fetch),
      include(partition, state) {
        session.include(partition, state);
        return true;
      },
    };
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
    for (const partition of request.forgotten) session.partitions.delete(session.keyOf(partition));
    this.#partitionCount += session.partitions.size - before;
    session.epoch = session.epoch === MAX_EPOCH ? 1 : session.epoch + 1;
    session.lastUsedMs = this.#clock.monotonicMs();
    this.#sessions.delete(session.id);
    if (session.partitions.size === 0) return sessionless(request);
    this.#sessions.set(session.id, session);
    return {
      error: ErrorCode.NONE,
      sessionId: session.id,
      partitions: [...session.partitions.values()],
      wait: (fetch) => void (session.waiting = fetch),
      include: (partition, state) => session.include(partition, state),
    };
  }

  #makeRoom(partitionCount: number): boolean {
    for (const [id, { lastUsedMs }] of this.#sessions) {
      const isFull = this.#sessions.size >= this.#slots ||
        this.#partitionCount + partitionCount > MAX_CACHED_PARTITIONS;
      if (!isFull) break;
      if (this.#clock.monotonicMs() - lastUsedMs < this.#evictionMs) return false;
      this.#remove(id);
    }
    return this.#sessions.size < this.#slots &&
      this.#partitionCount + partitionCount <= MAX_CACHED_PARTITIONS;
  }

  #remove(id: number): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    this.#sessions.delete(id);
    this.#partitionCount -= session.partitions.size;
  }

  #newId(): number {
    for (;;) {
      const id = this.#random.uint32() & 0x7fff_ffff;
      if (id !== 0 && !this.#sessions.has(id)) return id;
    }
  }
}

function sessionless({ partitions }: FetchSessionRequest): FetchContext {
  return { error: ErrorCode.NONE, sessionId: 0, partitions, wait: () => {}, include: () => true };
}

function refused(error: ErrorCode): FetchContext {
  return { error, sessionId: 0, partitions: [], wait: () => {}, include: () => true };
}
