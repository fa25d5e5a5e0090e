/**
 * Group commit over many logs: who is synced next, how many at once, how much may be unsynced.
 *
 *     request(log) ──→ waiting ──→ in flight (at most N) ──→ done, or waiting again
 *
 * A log has at most one sync in flight; what is appended meanwhile shares the next one. Logs that nobody
 * asked to sync are synced after a while all the same, and sooner when too many bytes are dirty: an
 * unbounded page cache ends in the kernel stalling `write` for hundreds of milliseconds.
 *
 * A sync that fails is never tried again: the log reports it and is offline from then on.
 */

import type { Clock, Timer } from "./platform.ts";

/** Beyond it there are elections over many partitions, whose followers' records come one by one. */
const MAX_EXTRAS_A_SECOND = 16;

/** What the flusher syncs: a log. */
export interface Flushable {
  /** Syncs what has been written so far. Never rejects: a failure takes the log offline. */
  flush(): Promise<void>;
}

/** Bounds of a flusher. */
export interface FlusherOptions {
  readonly clock: Clock;
  /** Syncs in flight over all logs. */
  readonly maxInFlight?: number;
  /** Dirty bytes over all logs past which syncs are requested. */
  readonly maxDirtyBytes?: number;
  /** The longest that bytes stay dirty when nobody asks. */
  readonly maxDirtyMs?: number;
}

/** Schedules the syncs of many logs. */
export class Flusher {
  readonly #clock: Clock;
  readonly #maxInFlight: number;
  readonly #maxDirtyBytes: number;
  readonly #maxDirtyMs: number;
  readonly #waiting = new Set<Flushable>();
  readonly #running = new Set<Flushable>();
  readonly #dirty = new Map<Flushable, number>();
  #dirtyBytes = 0;
  #pumpScheduled = false;
  #extrasSinceMs = -Infinity;
  #extraCount = 0;
  #timer: Timer | null = null;
  #drained: (() => void)[] = [];
  /** Told how long each flush of a log took. */
  onFlushed: ((durationMs: number) => void) | null = null;

  constructor(options: FlusherOptions) {
    this.#clock = options.clock;
    this.#maxInFlight = options.maxInFlight ?? 16;
    this.#maxDirtyBytes = options.maxDirtyBytes ?? 64 * 1024 * 1024;
    this.#maxDirtyMs = options.maxDirtyMs ?? 1000;
  }

  /** Bytes written and not synced, over all logs. */
  get dirtyBytes(): number {
    return this.#dirtyBytes;
  }

  /** True when so much is dirty that producers should wait for `drained` before they append more. */
  get isSaturated(): boolean {
    return this.#dirtyBytes > 2 * this.#maxDirtyBytes;
  }

  /** True when a log waits for its sync behind others. */
  get isBusy(): boolean {
    return this.#waiting.size > 0;
  }

  /** Asked by a log that would store a file which nobody waits for. Returns: false where that is to be done later. */
  admitsExtra(): boolean {
    if (this.isBusy) return false;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#extrasSinceMs >= 1000) {
      this.#extrasSinceMs = nowMs;
      this.#extraCount = 0;
    }
    return ++this.#extraCount <= MAX_EXTRAS_A_SECOND;
  }

  /** Resolves when the flusher is not saturated. */
  drained(): Promise<void> {
    if (!this.isSaturated) return Promise.resolve();
    // Now the quiet logs count too: they may hold most of it.
    if (this.#drained.length === 0) this.#requestAllDirty();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  /** Syncs the log soon. Cheap to call again while one is in flight or waiting. */
  request(log: Flushable): void {
    if (this.#waiting.has(log)) return;
    this.#waiting.add(log);
    if (this.#pumpScheduled || this.#running.size >= this.#maxInFlight || this.#running.has(log)) {
      return;
    }
    // What else this turn of the loop appends shares the sync.
    this.#pumpScheduled = true;
    queueMicrotask(this.#pump);
  }

  /** Counts bytes that a log has written. */
  addDirty(log: Flushable, byteCount: number): void {
    this.#dirty.set(log, (this.#dirty.get(log) ?? 0) + byteCount);
    this.#dirtyBytes += byteCount;
    // Quiet logs are left to the timer: asking all of them at each append would cost more than it brings.
    if (this.#dirtyBytes > this.#maxDirtyBytes) this.request(log);
    this.#timer ??= this.#clock.timer(this.#maxDirtyMs, this.#onTimer);
  }

  /** Counts bytes that a log has synced, or lost with itself. */
  removeDirty(log: Flushable, byteCount: number): void {
    const left = (this.#dirty.get(log) ?? 0) - byteCount;
    if (left > 0) this.#dirty.set(log, left);
    else this.#dirty.delete(log);
    this.#dirtyBytes -= byteCount;
    if (!this.isSaturated && this.#drained.length > 0) {
      const waiters = this.#drained;
      this.#drained = [];
      for (const resolve of waiters) resolve();
    }
  }

  /** Forgets a log that is closed or offline. */
  forget(log: Flushable): void {
    this.#waiting.delete(log);
    this.removeDirty(log, this.#dirty.get(log) ?? 0);
  }

  /** Stops the timer. The logs must be closed before. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #requestAllDirty(): void {
    for (const log of this.#dirty.keys()) this.request(log);
  }

  readonly #onTimer = (): void => {
    this.#timer = null;
    this.#requestAllDirty();
    if (this.#dirty.size > 0) this.#timer = this.#clock.timer(this.#maxDirtyMs, this.#onTimer);
  };

  readonly #pump = (): void => {
    this.#pumpScheduled = false;
    for (const log of this.#waiting) {
      if (this.#running.size >= this.#maxInFlight) return;
      if (this.#running.has(log)) continue;
      this.#waiting.delete(log);
      this.#running.add(log);
      const startMs = this.#clock.monotonicMs();
      void log.flush().then(() => {
        this.onFlushed?.(this.#clock.monotonicMs() - startMs);
        this.#running.delete(log);
        this.#pump();
      });
    }
  };
}
