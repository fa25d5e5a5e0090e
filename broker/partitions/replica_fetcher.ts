/**
 * Follows one leader: fetches for all partitions that it leads and this node follows.
 *
 *     ready ──named in a fetch──→ at the leader ──records──→ written, syncing ──→ ready, further on
 *       ↑ ↑                           ├── parts from the leader's log ──→ truncating ──┐
 *       │ └─── backoff is over ───────┴── error: forgotten until then                  │
 *       └──────────────────────────────────────────────────────────────────────────────┘
 *
 * One session, in which a fetch names what has changed alone. A partition is not named before what it has is on
 * stable storage, since its fetch offset says so (decision 0040); all that one answer brought is synced
 * together, which is waited for a little, so that the next fetch names all of it. What takes longer is
 * forgotten until it is done, and holds up nobody. While a fetch waits at the leader another one may follow,
 * with partitions that have come or are ready meanwhile: the leader ends the wait of the one before.
 *
 * Errors of a partition are its own: it is left out for a while, and the others go on.
 *
 * Invariants: at most two requests are in flight, one without a session; records are appended only under the epoch
 * in which they were asked for, and only at the end of the log; a partition that is being truncated is not at
 * the leader, and what was asked of the leader before is not believed after.
 *
 * Source: KIP-227, KIP-595 (diverging epochs), Kafka's AbstractFetcherThread and FetchSessionHandler.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import { readBaseOffset, RECORD_BATCH_OVERHEAD } from "../../protocol/record_batch.ts";
import type { Encodable } from "../../protocol/schema.ts";
import { fetchRequest, type FetchResponse, fetchResponse } from "../../protocol/schemas/fetch.ts";
import { type Offset, offset, type Uuid } from "../../protocol/types.ts";
import { type Clock, DiskError, type Logger, type Timer } from "../../storage/platform.ts";
import { AnswerLoan } from "../frame_memory.ts";
import { type Endpoint, NetworkError } from "../network.ts";
import { call } from "../peers/call.ts";
import type { Peers } from "../peers/peers.ts";
import type { Partition } from "./partition.ts";

/** With the incarnation of the follower (KIP-903). */
const FETCH = call(ApiKey.Fetch, fetchRequest, fetchResponse, { lowest: 15 });
/** The first wait after an error; it doubles up to `backoffMs`. */
const FIRST_BACKOFF_MS = 20;
/** How long syncs of one answer may hold up the next fetch. */
const PATIENCE_MS = 5;
/** How much longer than its wait a fetch may take. */
const ANSWER_MS = 2_500;
const MAX_SESSION_EPOCH = 0x7fff_ffff;

type PartitionAnswer = FetchResponse["responses"][number]["partitions"][number];
type RequestTopics = Encodable<typeof fetchRequest>["topics"];

/** How to fetch: Kafka's `replica.fetch.*`. */
export interface ReplicaFetchSettings {
  readonly maxBytes: number;
  readonly minBytes: number;
  readonly responseMaxBytes: number;
  readonly maxWaitMs: number;
  readonly backoffMs: number;
  readonly socketTimeoutMs: number;
}

/** What a fetcher is made of. */
export interface ReplicaFetcherOptions {
  readonly nodeId: number;
  readonly leaderId: number;
  readonly channel: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly peers: Pick<Peers, "send">;
  /** Where the leader listens; null while nobody knows. */
  readonly endpoint: () => Endpoint | null;
  /** The epoch of this node's registration. */
  readonly brokerEpoch: () => number;
  readonly settings: () => ReplicaFetchSettings;
  /** Ends what must not go on while the log is truncated. */
  readonly beforeTruncation: (partition: Partition) => Promise<void>;
  /** The metadata may have changed meanwhile. */
  readonly afterTruncation: (partition: Partition) => void;
}

/** What the leader's session holds of a partition. */
interface Named {
  readonly fetchOffset: number;
  readonly lastFetchedEpoch: number;
  readonly logStartOffset: number;
}

interface Followed {
  readonly partition: Partition;
  readonly leaderEpoch: number;
  /** Null while it is not in the session. */
  named: Named | null;
  /** Answers to requests before it are of an older epoch, or of a log that has been cut since. */
  firstRequest: number;
  /** The request that named it as it is now: what those before it asked for is here by now. */
  lastNamed: number;
  isTruncating: boolean;
  isSyncing: boolean;
  failureCount: number;
  backoff: Timer | null;
}

interface Session {
  readonly id: number;
  /** Of the next request. */
  readonly epoch: number;
}

const NO_SESSION: Session = { id: 0, epoch: 0 };

/** Fetches from one leader. */
export class ReplicaFetcher {
  readonly #options: ReplicaFetcherOptions;
  readonly #followed = new Map<string, Followed>();
  /** Those that may have to be named anew, or forgotten. */
  readonly #changed = new Set<Followed>();
  /** Left to be forgotten, by the same key. */
  readonly #gone = new Map<string, Partition>();
  readonly #work = new Set<Promise<void>>();
  #session = NO_SESSION;
  #generation = 0;
  #inFlight = 0;
  #requestCount = 0;
  #syncingCount = 0;
  #patience: Timer | null = null;
  #pause: Timer | null = null;
  #failureCount = 0;
  #isClosed = false;

  constructor(options: ReplicaFetcherOptions) {
    this.#options = options;
  }

  get partitionCount(): number {
    return this.#followed.size;
  }

  /** Follows the partition under the epoch of now. */
  add(partition: Partition): void {
    const key = keyOf(partition.topicId, partition.partition);
    const before = this.#followed.get(key);
    if (before !== undefined) this.#drop(before);
    const followed: Followed = {
      partition,
      leaderEpoch: partition.leaderEpoch,
      named: null,
      firstRequest: Infinity,
      lastNamed: Infinity,
      isTruncating: false,
      isSyncing: false,
      failureCount: 0,
      backoff: null,
    };
    this.#followed.set(key, followed);
    this.#gone.delete(key);
    this.#changed.add(followed);
    this.#awaitSync(followed);
    this.#pump();
  }

  /** Follows it no more. */
  remove(partition: Partition): void {
    const key = keyOf(partition.topicId, partition.partition);
    const followed = this.#followed.get(key);
    if (followed === undefined) return;
    this.#followed.delete(key);
    if (followed.named !== null) this.#gone.set(key, partition);
    this.#drop(followed);
  }

  /** It may have to be named anew, or forgotten: as long as it is followed. */
  #touch(followed: Followed): void {
    const { topicId, partition } = followed.partition;
    if (this.#followed.get(keyOf(topicId, partition)) === followed) this.#changed.add(followed);
  }

  #drop(followed: Followed): void {
    followed.backoff?.cancel();
    this.#changed.delete(followed);
  }

  /** Ends. Returns: when nothing of it is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#generation++;
    this.#patience?.cancel();
    this.#pause?.cancel();
    for (const followed of this.#followed.values()) this.#drop(followed);
    this.#followed.clear();
    while (this.#work.size > 0) await Promise.all(this.#work);
  }

  #run(work: Promise<void>): void {
    const running = work.finally(() => this.#work.delete(running));
    this.#work.add(running);
  }

  // ── requests ────────────────────────────────────────────────────────────────────────────────────

  /** Sends what can be sent now. */
  #pump(): void {
    if (this.#isClosed || this.#pause !== null) return;
    if (this.#inFlight === 0 && !this.#isPatient) this.#send();
    else if (this.#inFlight === 1 && this.#session.id !== 0 && this.#hasNews()) this.#send();
  }

  /** What the last answer brought is about to be stable. */
  get #isPatient(): boolean {
    return this.#syncingCount > 0 && this.#patience !== null;
  }

  #hasNews(): boolean {
    for (const followed of this.#changed) {
      const next = this.#next(followed);
      if (next !== null && isNews(followed, next)) return true;
    }
    return false;
  }

  /** What to ask the leader for; null while it is not to be asked. */
  #next({ partition, leaderEpoch, isTruncating, backoff }: Followed): Named | null {
    const { log } = partition;
    if (isTruncating || backoff !== null || log.offlineReason !== null) return null;
    if (!partition.isFollowerIn(leaderEpoch)) return null;
    const fetchOffset = partition.replicatedOffset;
    if (fetchOffset < log.endOffset) return null;
    const isEmpty = fetchOffset <= log.logStartOffset;
    return {
      fetchOffset,
      // Of the last record: an epoch that began here without one is nothing to part about.
      lastFetchedEpoch: isEmpty ? -1 : log.leaderEpochs.epochForOffset(fetchOffset - 1),
      logStartOffset: log.logStartOffset,
    };
  }

  #send(): void {
    const { endpoint, peers, settings, channel } = this.#options;
    const to = endpoint();
    const body = to === null ? null : this.#request();
    if (to === null && this.#followed.size > 0) return this.#pauseFor(settings().backoffMs);
    if (to === null || body === null) return;
    const generation = this.#generation;
    const requestNumber = this.#requestCount++;
    this.#inFlight++;
    const timeoutMs = Math.min(settings().socketTimeoutMs, settings().maxWaitMs + ANSWER_MS);
    // After the end nobody waits for the answer: it may take as long as a fetch waits.
    const loan = new AnswerLoan();
    void peers.send(to, FETCH, body, { timeoutMs, channel, loan }).then(
      (answer) => {
        this.#inFlight--;
        if (generation === this.#generation) this.#take(answer, requestNumber);
        // What was to be written has been.
        loan.giveBack();
        this.#pump();
      },
      (failure: unknown) => {
        this.#inFlight--;
        if (!(failure instanceof NetworkError)) throw failure;
        if (generation === this.#generation) this.#lost(failure);
        this.#pump();
      },
    );
  }

  /** Null when there is nothing to ask for. */
  #request(): Encodable<typeof fetchRequest> | null {
    const { nodeId, brokerEpoch, settings } = this.#options;
    const { minBytes, maxWaitMs, responseMaxBytes } = settings();
    const isFull = this.#session.id === 0;
    if (isFull) this.#gone.clear();
    const { named, unnamed, isAny } = this.#changes(isFull);
    // Without a partition the session would end: what it has stays there until there is one.
    if (!isAny) return null;
    const forgotten = [...this.#gone.values(), ...unnamed.map(({ partition }) => partition)];
    this.#gone.clear();
    this.#changed.clear();
    for (const followed of unnamed) followed.named = null;
    for (const { followed, next } of named) {
      if (followed.firstRequest === Infinity) followed.firstRequest = this.#requestCount;
      followed.named = next;
      followed.lastNamed = this.#requestCount;
    }
    const { id: sessionId, epoch: sessionEpoch } = this.#session;
    if (!isFull) this.#session = { id: sessionId, epoch: nextEpoch(sessionEpoch) };
    return {
      replicaState: { replicaId: nodeId, replicaEpoch: brokerEpoch() },
      maxWaitMs,
      minBytes,
      maxBytes: responseMaxBytes,
      isolationLevel: 0,
      sessionId,
      sessionEpoch,
      topics: this.#topics(named.map(({ followed }) => followed)),
      forgottenTopicsData: forgottenTopics(forgotten),
      rackId: "",
    };
  }

  /** What is to be named, what is to be forgotten, and whether anything is in the session then. */
  #changes(isFull: boolean) {
    const named: { readonly followed: Followed; readonly next: Named }[] = [];
    const unnamed: Followed[] = [];
    let isAny = false;
    for (const followed of isFull ? this.#followed.values() : this.#changed) {
      const next = this.#next(followed);
      if (next === null) {
        if (followed.named !== null) unnamed.push(followed);
        continue;
      }
      isAny = true;
      if (isFull || isNews(followed, next)) named.push({ followed, next });
    }
    if (!isAny && !isFull) {
      for (const followed of this.#followed.values()) {
        if (followed.named !== null && !this.#changed.has(followed)) {
          return { named, unnamed, isAny: true };
        }
      }
    }
    return { named, unnamed, isAny };
  }

  #topics(named: readonly Followed[]): RequestTopics {
    const { maxBytes } = this.#options.settings();
    const topics = new Map<Uuid, RequestTopics[number]["partitions"][number][]>();
    for (const { partition, leaderEpoch, named: what } of named) {
      const body = {
        partition: partition.partition,
        currentLeaderEpoch: leaderEpoch,
        ...what!,
        partitionMaxBytes: maxBytes,
      };
      const known = topics.get(partition.topicId);
      if (known === undefined) topics.set(partition.topicId, [body]);
      else known.push(body);
    }
    return [...topics].map(([topicId, partitions]) => ({ topicId, partitions }));
  }

  #endSession(): void {
    this.#session = NO_SESSION;
    this.#generation++;
    for (const followed of this.#followed.values()) {
      followed.named = null;
      this.#changed.add(followed);
    }
  }

  #lost(failure: NetworkError): void {
    const { logger, leaderId, settings } = this.#options;
    const found = failure.message;
    if (this.#failureCount === 0) logger.warn("Cannot fetch from a leader", { leaderId, found });
    this.#endSession();
    this.#pauseFor(backoffMs(this.#failureCount++, settings().backoffMs));
  }

  #pauseFor(delayMs: number): void {
    this.#pause?.cancel();
    this.#pause = this.#options.clock.timer(delayMs, () => {
      this.#pause = null;
      this.#pump();
    });
  }

  // ── answers ─────────────────────────────────────────────────────────────────────────────────────

  #take(answer: FetchResponse, requestNumber: number): void {
    if (answer.errorCode !== ErrorCode.NONE) return this.#refused(answer.errorCode);
    this.#failureCount = 0;
    // A leader without room for sessions gets the whole list each time.
    if (this.#session.id !== answer.sessionId) {
      if (answer.sessionId === 0) this.#endSession();
      else this.#session = { id: answer.sessionId, epoch: 1 };
    }
    for (const { topicId, partitions } of answer.responses) {
      for (const one of partitions) {
        const followed = this.#followed.get(keyOf(topicId, one.partitionIndex));
        if (followed === undefined || requestNumber < followed.firstRequest) continue;
        this.#takePartition(followed, one, requestNumber);
      }
    }
    if (this.#syncingCount > 0) this.#bePatient();
  }

  #refused(error: number): void {
    this.#endSession();
    const isForgotten = error === ErrorCode.FETCH_SESSION_ID_NOT_FOUND ||
      error === ErrorCode.INVALID_FETCH_SESSION_EPOCH;
    if (isForgotten && this.#failureCount++ === 0) return;
    const { logger, leaderId, settings } = this.#options;
    logger.warn("A leader refuses fetches", { leaderId, error: errorName(error) });
    this.#pauseFor(backoffMs(this.#failureCount, settings().backoffMs));
  }

  #takePartition(followed: Followed, answer: PartitionAnswer, requestNumber: number): void {
    const { partition, leaderEpoch } = followed;
    if (followed.isTruncating || !partition.isFollowerIn(leaderEpoch)) return;
    const { errorCode, divergingEpoch, logStartOffset } = answer;
    if (errorCode === ErrorCode.OFFSET_OUT_OF_RANGE && logStartOffset >= 0) {
      this.#run(this.#truncate(followed, offset(logStartOffset), { isFull: true }));
    } else if (errorCode !== ErrorCode.NONE) {
      this.#failed(followed, errorName(errorCode));
    } else if (divergingEpoch.epoch >= 0) {
      const { target, isFull } = whereToCut(partition, answer);
      this.#run(this.#truncate(followed, target, { isFull }));
    } else this.#append(followed, answer, requestNumber);
  }

  #append(followed: Followed, answer: PartitionAnswer, requestNumber: number): void {
    const { partition, leaderEpoch } = followed;
    const { records, highWatermark, logStartOffset } = answer;
    const before = partition.log.logStartOffset;
    // What a second request asked for before the first was answered comes twice, and may come after a third was sent.
    const isNext = requestNumber >= followed.lastNamed &&
      partition.log.endOffset === followed.named?.fetchOffset;
    if (records !== null && records.length > 0 && isNext) {
      const { log } = partition;
      const isBatchBefore = records.length >= RECORD_BATCH_OVERHEAD &&
        readBaseOffset(records, 0) < log.endOffset;
      if (isBatchBefore && log.logStartOffset === log.endOffset) {
        return this.#run(this.#beginWithin(followed, answer));
      }
      const result = partition.appendFromLeader(records, leaderEpoch);
      if (!("baseOffset" in result)) return this.#failed(followed, result.message);
      this.#changed.add(followed);
      this.#awaitSync(followed);
      const waitMs = partition.noteFetched(records.length);
      if (waitMs > 0) this.#leaveOut(followed, waitMs);
    }
    followed.failureCount = 0;
    partition.noteLeader({ leaderEpoch, highWatermark, logStartOffset });
    if (partition.log.logStartOffset !== before) this.#changed.add(followed);
  }

  #failed(followed: Followed, found: string): void {
    const { logger, leaderId, settings } = this.#options;
    if (followed.failureCount === 0) {
      const fields = { partition: followed.partition.log.name, leaderId, found };
      logger.info("A partition is not fetched for a while", fields);
    }
    this.#leaveOut(followed, backoffMs(followed.failureCount++, settings().backoffMs));
  }

  #leaveOut(followed: Followed, delayMs: number): void {
    followed.backoff?.cancel();
    followed.backoff = this.#options.clock.timer(delayMs, () => {
      followed.backoff = null;
      this.#changed.add(followed);
      this.#pump();
    });
    this.#changed.add(followed);
  }

  // ── what takes time ─────────────────────────────────────────────────────────────────────────────

  #awaitSync(followed: Followed): void {
    const { partition } = followed;
    const { log } = partition;
    if (followed.isSyncing || partition.replicatedOffset >= log.endOffset) return;
    followed.isSyncing = true;
    this.#syncingCount++;
    const synced = log.whenSynced(log.endOffset).catch((failure: unknown) => {
      // It is offline or closed, and will not be asked for.
      if (!(failure instanceof DiskError)) throw failure;
    }).then(() => {
      followed.isSyncing = false;
      this.#syncingCount--;
      this.#touch(followed);
      this.#pump();
    });
    this.#run(synced);
  }

  #bePatient(): void {
    this.#patience?.cancel();
    this.#patience = this.#options.clock.timer(PATIENCE_MS, () => {
      this.#patience = null;
      this.#pump();
    });
  }

  /** The leader's log begins within a batch: an empty log begins with the whole of it. */
  async #beginWithin(followed: Followed, answer: PartitionAnswer): Promise<void> {
    // The answer is given back before the log has been cut.
    const records = answer.records!.slice();
    const { partition, leaderEpoch } = followed;
    await this.#truncate(followed, offset(readBaseOffset(records, 0)), { isFull: true }, () => {
      const result = partition.appendFromLeader(records, leaderEpoch);
      if (!("baseOffset" in result)) return this.#failed(followed, result.message);
      this.#awaitSync(followed);
    });
  }

  async #truncate(
    followed: Followed,
    target: Offset,
    how: { readonly isFull: boolean },
    then: () => void = () => {},
  ): Promise<void> {
    const { partition, leaderEpoch } = followed;
    const { logger, beforeTruncation, afterTruncation } = this.#options;
    followed.isTruncating = true;
    // What was asked before is answered with where the log of then parts from the leader's: not this one.
    followed.firstRequest = Infinity;
    this.#touch(followed);
    try {
      await beforeTruncation(partition);
      if (!partition.isFollowerIn(leaderEpoch) || this.#isClosed) return;
      const { log, highWatermark } = partition;
      const { name, endOffset } = log;
      const fields = { partition: name, endOffset, highWatermark, target, ...how };
      // The rest of an empty log's first batch is no record that it has.
      const drops = target < highWatermark && log.logStartOffset < endOffset;
      if (!drops) logger.info("Truncating a log that is not its leader's", fields);
      else logger.warn("Truncating committed records that the leader does not have", fields);
      await partition.truncate(leaderEpoch, target, how);
      then();
    } catch (failure) {
      // The log is offline now, or full and tried again.
      if (!(failure instanceof DiskError)) throw failure;
      this.#failed(followed, failure.message);
    } finally {
      followed.isTruncating = false;
      this.#touch(followed);
      afterTruncation(partition);
      this.#pump();
    }
  }
}

/**
 * Where a log parts from its leader's: at the end of the largest epoch that both may share, as both know it. The next
 * fetch finds out whether it has to go back further.
 */
function whereToCut(
  { log }: Partition,
  { divergingEpoch: { epoch, endOffset }, logStartOffset }: PartitionAnswer,
): { readonly target: Offset; readonly isFull: boolean } {
  const own = log.endOffsetForEpoch(epoch);
  const target = Math.min(endOffset, own.leaderEpoch < 0 ? endOffset : own.endOffset);
  return target < log.endOffset
    ? { target: offset(target), isFull: false }
    : { target: offset(logStartOffset), isFull: true };
}

function forgottenTopics(partitions: readonly Partition[]) {
  const topics = new Map<Uuid, number[]>();
  for (const { topicId, partition } of partitions) {
    const known = topics.get(topicId);
    if (known === undefined) topics.set(topicId, [partition]);
    else known.push(partition);
  }
  return [...topics].map(([topicId, indexes]) => ({ topicId, partitions: indexes }));
}

/** True when the leader is to hear where the log goes on. */
function isNews({ named, firstRequest }: Followed, next: Named): boolean {
  return named === null || firstRequest === Infinity || named.fetchOffset !== next.fetchOffset ||
    named.lastFetchedEpoch !== next.lastFetchedEpoch ||
    named.logStartOffset !== next.logStartOffset;
}

function nextEpoch(epoch: number): number {
  return epoch === MAX_SESSION_EPOCH ? 1 : epoch + 1;
}

function backoffMs(failureCount: number, longestMs: number): number {
  return Math.min(longestMs, FIRST_BACKOFF_MS * 2 ** Math.min(failureCount, 20));
}

function keyOf(topicId: Uuid, partition: number): string {
  return `${topicId}/${partition}`;
}
