/**
 * Reads of one log whose bytes are still here, so that those who read the same stretch share them.
 *
 * A thousand consumers at the tail of a partition all read the same megabyte in the same moment, and ten that go along
 * side by side read it within some milliseconds. With a buffer each that is a gigabyte, and a copy out of the page cache
 * for each; here the first one reads, and the others hold on to a part of the same window.
 *
 *     window  [ batch ][ batch ][ batch ]      held by 3: a batch, two batches, all of it
 *
 * A window is here as long as somebody holds a part of it. Where readers come one after the other it is *kept*, too,
 * until it is the least used one over all logs (`KeptReads`): that is so while reads keep finding what they want in
 * windows, and begins when one asks for what was read a moment ago. A lone consumer has nothing kept for it.
 *
 * Invariants: a buffer goes back to the pool when its last holder has let go and it is not kept; what a truncation made
 * untrue is not found any more (`clear`), though its holders keep it.
 */

import type { Offset } from "../protocol/types.ts";
import { offset } from "../protocol/types.ts";
import type { KeptRead, KeptReads } from "./kept_reads.ts";
import type { ReadWindow, WindowPart } from "./read_window.ts";

/** Reads in a row that found no window until none is kept any more. */
const KEEPING_READS = 8;
/** Stretches remembered, to tell that one is read again. */
const RECENT_COUNT = 8;
/** Windows of one log that are kept: each read looks through them. */
const MAX_KEPT = 8;

/** Whole batches. `records` belongs to the pool: `release` it when it has been sent. */
export interface ReadRecords {
  readonly error: 0;
  readonly records: Uint8Array;
  /** Offset to go on with. */
  readonly nextOffset: Offset;
  release(): void;
}

/** A window with those who hold parts of it. */
export class SharedWindow implements KeptRead {
  readonly window: ReadWindow;
  readonly #reads: SharedReads;
  holderCount = 0;
  isKept = false;

  constructor(reads: SharedReads, window: ReadWindow) {
    this.#reads = reads;
    this.window = window;
  }

  get capacityBytes(): number {
    return this.window.capacityBytes;
  }

  forgotten(): void {
    this.#reads.forgotten(this);
  }
}

class Holder implements ReadRecords {
  readonly error = 0;
  readonly records: Uint8Array;
  readonly nextOffset: Offset;
  readonly #reads: SharedReads;
  #shared: SharedWindow | null;

  constructor(reads: SharedReads, shared: SharedWindow, part: WindowPart) {
    this.#reads = reads;
    this.#shared = shared;
    this.records = shared.window.bytes(part);
    this.nextOffset = offset(part.nextOffset);
    shared.holderCount++;
    shared.window.rest(false);
  }

  release(): void {
    const shared = this.#shared;
    this.#shared = null;
    if (shared !== null) this.#reads.letGo(shared);
  }
}

/** The windows of one log. */
export class SharedReads {
  readonly #keptReads: KeptReads;
  readonly #byStart = new Map<number, SharedWindow>();
  /** The newest is the last. */
  readonly #kept: SharedWindow[] = [];
  #keepingReads = 0;
  readonly #recentStarts = new Float64Array(RECENT_COUNT).fill(-1);
  readonly #recentEnds = new Float64Array(RECENT_COUNT).fill(-1);
  #nextRecent = 0;

  constructor(kept: KeptReads) {
    this.#keptReads = kept;
  }

  /** Windows that can be found now. */
  get size(): number {
    return this.#byStart.size;
  }

  /** True while what is read is likely to be read again soon. */
  get isKeeping(): boolean {
    return this.#keepingReads > 0;
  }

  /** The window in which a read from `startOffset` on begins; null for none. */
  find(startOffset: number): SharedWindow | null {
    for (let i = this.#kept.length - 1; i >= 0; i--) {
      if (this.#kept[i]!.window.covers(startOffset)) return this.#kept[i]!;
    }
    return this.#byStart.get(startOffset) ?? null;
  }

  /** Takes in a new window with its first reader, who gets a part of it. */
  add(window: ReadWindow, part: WindowPart): ReadRecords {
    const shared = new SharedWindow(this, window);
    this.#byStart.set(window.startOffset, shared);
    this.#noteRead(window);
    const holder = new Holder(this, shared, part);
    if (this.isKeeping && window.capacityBytes <= this.#keptReads.capBytes) this.#keep(shared);
    return holder;
  }

  /** A part of a window that was found. */
  hold(shared: SharedWindow, part: WindowPart): ReadRecords {
    this.#keepingReads = KEEPING_READS;
    this.#keptReads.touch(shared);
    return new Holder(this, shared, part);
  }

  /** Forgets all: what was read may not be what the log has now. */
  clear(): void {
    for (const shared of [...this.#kept]) this.#keptReads.drop(shared);
    this.#byStart.clear();
    this.#recentStarts.fill(-1);
    this.#recentEnds.fill(-1);
    this.#keepingReads = 0;
  }

  /** For the holders. */
  letGo(shared: SharedWindow): void {
    shared.holderCount--;
    this.#releaseUnused(shared);
  }

  /** For the kept reads. */
  forgotten(shared: SharedWindow): void {
    shared.isKept = false;
    this.#kept.splice(this.#kept.indexOf(shared), 1);
    this.#releaseUnused(shared);
  }

  #keep(shared: SharedWindow): void {
    if (this.#kept.length === MAX_KEPT) this.#keptReads.drop(this.#kept[0]!);
    shared.isKept = true;
    this.#kept.push(shared);
    this.#keptReads.keep(shared);
  }

  /** Who reads what was read a moment ago follows somebody, and is likely to go on so. */
  #noteRead({ startOffset, nextOffset }: ReadWindow): void {
    const isAgain = this.#recentStarts.some((start, i) =>
      startOffset >= start && startOffset < this.#recentEnds[i]!
    );
    if (isAgain) this.#keepingReads = KEEPING_READS;
    else if (this.#keepingReads > 0) this.#keepingReads--;
    this.#recentStarts[this.#nextRecent] = startOffset;
    this.#recentEnds[this.#nextRecent] = nextOffset;
    this.#nextRecent = (this.#nextRecent + 1) % RECENT_COUNT;
  }

  #releaseUnused(shared: SharedWindow): void {
    if (shared.holderCount > 0) return;
    if (shared.isKept) return shared.window.rest(true);
    const { startOffset } = shared.window;
    if (this.#byStart.get(startOffset) === shared) this.#byStart.delete(startOffset);
    shared.window.release();
  }
}
