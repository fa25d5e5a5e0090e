/**
 * One sync for many: whoever asks while a sync is in flight shares the next one.
 *
 *     ask ──→ next ──→ in flight ──→ done       what was changed before the ask is stable by then
 *     ask ──┘            ask ──→ next …
 *
 * Thousands of partitions that are made or deleted together change names in the same directory.
 */

import { DiskError } from "./platform.ts";

/** Shares the calls of a sync. */
export class SharedSync {
  readonly #sync: () => Promise<void>;
  #inFlight: Promise<void> | null = null;
  #next: Promise<void> | null = null;

  /** `sync` makes stable whatever was changed before it is called. */
  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  /** Resolves when what was changed before the call is on stable storage. Errors: those of the sync. */
  request(): Promise<void> {
    this.#next ??= this.#start(this.#inFlight);
    return this.#next;
  }

  async #start(before: Promise<void> | null): Promise<void> {
    // Whose sync fails is told by it; the next one is tried all the same. Without one, the rest of this
    // turn of the loop shares as well.
    await before?.catch(() => {});
    this.#inFlight = this.#next;
    this.#next = null;
    const mine = this.#inFlight;
    try {
      await this.#sync();
    } finally {
      if (this.#inFlight === mine) this.#inFlight = null;
    }
  }
}

/** Waits for all of them. Errors: the gravest, since a sync that failed must not be tried again. */
export async function allSynced(syncs: readonly Promise<void>[]): Promise<void> {
  const failures: unknown[] = [];
  for (const ended of await Promise.allSettled(syncs)) {
    if (ended.status === "rejected") failures.push(ended.reason);
  }
  if (failures.length === 0) return;
  const isPassing = (failure: unknown) => failure instanceof DiskError && failure.isOutOfHandles;
  throw failures.find((failure) => !isPassing(failure)) ?? failures[0];
}
