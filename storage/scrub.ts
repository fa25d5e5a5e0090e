/**
 * Reads all closed segments of a log directory again and again, slowly, and looks for bytes that have changed:
 * damage is found while there still is a backup, or a replica, and not when somebody needs the record.
 *
 *     orders-0: segment ─ segment ─ [active]     orders-1: segment ─ [active]
 *     └────────────────── one pass, at most so many bytes a second ────────────────┘
 *
 * Damage is told through the log, once a place, and no reader believes those bytes from then on. An index that
 * contradicts its log is made anew. What goes away while it is looked at is no damage. When the next pass is due
 * and how far this one has come is kept in a small file, so that restarts neither hurry nor hold up the scrub.
 */

import {
  checkpointNumber,
  formatCheckpoint,
  parseCheckpoint,
  readSmallText,
  textBytes,
  writeFileAtomically,
} from "./checkpoint.ts";
import type { FileCache } from "./file_cache.ts";
import {
  type IndexCheck,
  OffsetIndexCheck,
  TimeIndexCheck,
  TransactionIndexCheck,
} from "./index_check.ts";
import { IndexDraft } from "./index_draft.ts";
import type { IndexFile } from "./index_file.ts";
import type { DamagedPlace } from "./log.ts";
import { type Clock, type Disk, DiskError, type Logger, type Timer } from "./platform.ts";
import type { Segment } from "./segment.ts";
import {
  checkSegment,
  type FileSource,
  type SegmentCheckOptions,
  type SegmentDamage,
  type SoundBatch,
} from "./segment_check.ts";

/** The start has other things to do, and logs are opened meanwhile. */
const FIRST_LOOK_MS = 60_000;
/** The wall clock may jump: it is looked at this often. */
const MAX_WAIT_MS = 3_600_000;
/** How often the place reached is written down. */
const STORE_MS = 60_000;
/** When too many files are open. */
const RETRY_MS = 10_000;
const STATE_FILE = ".weir-scrub";
const STATE_WORDS = 4;
const NOWHERE = "-";

/** A log as the scrub sees it. */
export interface ScrubbedLog {
  readonly name: string;
  readonly directory: string;
  readonly segments: readonly Segment[];
  readonly offlineReason: string | null;
  readonly config: { readonly indexIntervalBytes: number };
  reportDamage(place: DamagedPlace): void;
}

/** What the scrub works with. */
export interface ScrubOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly files: FileCache;
  /** The log directory. */
  readonly path: string;
  /** 0 switches the scrub off. */
  readonly maxBytesPerSecond: number;
  /** Time from the end of one pass to the begin of the next. */
  readonly intervalMs: number;
  /** The open logs by their names. */
  readonly logs: ReadonlyMap<string, ScrubbedLog>;
  /** True while logs are being opened: a pass that began would miss them. */
  readonly isOpening: () => boolean;
  /** Told of failures to write, among which a sync's takes the directory offline. */
  readonly onFailure: (failure: DiskError) => void;
}

/** What the scrub has done since the start. */
export interface ScrubStats {
  readonly readBytes: number;
  readonly rebuiltIndexCount: number;
  /** Wall-clock time at which the last whole pass ended, −1 when none has. Units: ms. */
  readonly lastPassMs: number;
}

/** What the small file holds. Times are of the wall clock. Units: ms. */
interface ScrubState {
  /** From when the interval counts. */
  readonly sinceMs: number;
  readonly lastPassMs: number;
  /** Where the pass under way goes on: the log and the segment after which; null when none is. */
  readonly reached: { readonly name: string; readonly baseOffset: number } | null;
}

/** One pass. */
interface Pass {
  readBytes: number;
  segmentCount: number;
  damagedCount: number;
}

/** The scrub of one log directory. */
export class Scrub {
  readonly #options: ScrubOptions;
  readonly #stop = new AbortController();
  #state: ScrubState | null = null;
  #storedMs = -Infinity;
  #timer: Timer | null = null;
  #run: Promise<void> | null = null;
  /** From when more may be read. */
  #readyMs = 0;
  #readBytes = 0;
  #rebuiltIndexCount = 0;

  constructor(options: ScrubOptions) {
    this.#options = options;
  }

  /** What it has done. */
  get stats(): ScrubStats {
    return {
      readBytes: this.#readBytes,
      rebuiltIndexCount: this.#rebuiltIndexCount,
      lastPassMs: this.#state?.lastPassMs ?? -1,
    };
  }

  /** Looks in a while whether a pass is due, and from then on. */
  start(): void {
    if (this.#options.maxBytesPerSecond === 0) return;
    this.#state = this.#load();
    this.#arm(FIRST_LOOK_MS);
  }

  /** Ends the task, and waits until nothing is read any more. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#stop.abort();
    await this.#run;
  }

  #arm(delayMs: number): void {
    if (this.#stop.signal.aborted) return;
    this.#timer = this.#options.clock.timer(delayMs, () => {
      this.#run = this.#look().then((nextMs) => {
        this.#run = null;
        this.#arm(nextMs);
      });
    });
  }

  /** Runs a pass if it is due. Returns: when to look again. */
  async #look(): Promise<number> {
    const { clock, isOpening, intervalMs } = this.#options;
    if (isOpening()) return FIRST_LOOK_MS;
    const nowMs = clock.wallMs();
    const state = this.#state ?? { sinceMs: nowMs, lastPassMs: -1, reached: null };
    if (this.#state === null || state.sinceMs > nowMs) {
      await this.#store({ ...state, sinceMs: nowMs });
    }
    const waitMs = this.#state!.sinceMs + intervalMs - nowMs;
    if (state.reached === null && waitMs > 0) return Math.min(waitMs, MAX_WAIT_MS);
    await this.#pass(state.reached);
    return Math.min(intervalMs, MAX_WAIT_MS);
  }

  // ── one pass ────────────────────────────────────────────────────────────────────────────────────

  async #pass(from: ScrubState["reached"]): Promise<void> {
    const { clock, logger, logs, path } = this.#options;
    const beganMs = clock.monotonicMs();
    const pass: Pass = { readBytes: 0, segmentCount: 0, damagedCount: 0 };
    logger.info("Closed segments are being checked", { path, from: from?.name });
    const names = [...logs.keys()].filter((name) => from === null || name >= from.name).toSorted();
    for (const name of names) {
      const after = name === from?.name ? from.baseOffset : -1;
      await this.#checkLog(name, after, pass);
      if (this.#stop.signal.aborted) return await this.#store(this.#state!);
    }
    const nowMs = clock.wallMs();
    await this.#store({ sinceMs: nowMs, lastPassMs: nowMs, reached: null });
    const tookMs = Math.round(clock.monotonicMs() - beganMs);
    logger.info("Closed segments have been checked", { path, ...pass, tookMs });
  }

  /** The segments past `after`, the active one left out. Those that are closed meanwhile come along. */
  async #checkLog(name: string, after: number, pass: Pass): Promise<void> {
    for (let reached = after;;) {
      const log = this.#options.logs.get(name);
      if (log === undefined || log.offlineReason !== null || this.#stop.signal.aborted) return;
      const segment = log.segments.find(({ baseOffset }) => baseOffset > reached);
      if (segment === undefined || segment === log.segments.at(-1)) return;
      await new SegmentScrub(this.#options, { log, segment, pass, pace: this.#pace }).run();
      if (this.#stop.signal.aborted) return;
      reached = segment.baseOffset;
      await this.#reach({ name, baseOffset: reached });
    }
  }

  async #reach(reached: NonNullable<ScrubState["reached"]>): Promise<void> {
    this.#state = { ...this.#state!, reached };
    if (this.#options.clock.monotonicMs() - this.#storedMs >= STORE_MS) {
      await this.#store(this.#state);
    }
  }

  /** How fast it may go, and what it comes to. */
  readonly #pace: Pace = {
    wait: async () => {
      const { clock } = this.#options;
      const waitMs = this.#readyMs - clock.monotonicMs();
      if (waitMs > 0) await clock.sleep(waitMs, this.#stop.signal);
      return !this.#stop.signal.aborted;
    },
    spend: (byteCount) => {
      const { clock, maxBytesPerSecond } = this.#options;
      this.#readBytes += byteCount;
      this.#readyMs = Math.max(this.#readyMs, clock.monotonicMs()) +
        byteCount / maxBytesPerSecond * 1000;
    },
    retry: async () => {
      await this.#options.clock.sleep(RETRY_MS, this.#stop.signal);
      return !this.#stop.signal.aborted;
    },
    noteRebuilt: () => this.#rebuiltIndexCount++,
  };

  // ── what is remembered ──────────────────────────────────────────────────────────────────────────

  /** Null when there is nothing, or nothing that can be believed. */
  #load(): ScrubState | null {
    const { disk, path, logger } = this.#options;
    const file = `${path}/${STATE_FILE}`;
    try {
      const text = readSmallText(disk, file);
      if (text === null) return null;
      const [words] = parseCheckpoint(text, file, STATE_WORDS);
      if (words === undefined) return null;
      const [sinceMs, lastPassMs, , baseOffset] = words.map((word, index) =>
        index === 2 ? 0 : checkpointNumber(word, file)
      );
      const name = words[2]!;
      const reached = name === NOWHERE ? null : { name, baseOffset: baseOffset! };
      return { sinceMs: sinceMs!, lastPassMs: lastPassMs!, reached };
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      logger.warn("When closed segments were checked last is not known", {
        path,
        found: failure.message,
      });
      return null;
    }
  }

  async #store(state: ScrubState): Promise<void> {
    this.#state = state;
    const { disk, path, logger, clock } = this.#options;
    this.#storedMs = clock.monotonicMs();
    const { sinceMs, lastPassMs, reached } = state;
    const line = `${sinceMs} ${lastPassMs} ${reached?.name ?? NOWHERE} ${reached?.baseOffset ?? 0}`;
    try {
      await writeFileAtomically(
        disk,
        `${path}/${STATE_FILE}`,
        textBytes(formatCheckpoint([line])),
      );
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      this.#options.onFailure(failure);
      logger.debug("When closed segments were checked is not written down", {
        path,
        found: failure.message,
      });
    }
  }
}

/** The rate, over all segments of a pass. */
interface Pace {
  /** Resolves when more may be read. Returns: false when the scrub is to end. */
  wait(): Promise<boolean>;
  spend(byteCount: number): void;
  /** Waits until what is short may be there again. Returns: as `wait`. */
  retry(): Promise<boolean>;
  noteRebuilt(): void;
}

interface SegmentScrubOptions {
  readonly log: ScrubbedLog;
  readonly segment: Segment;
  readonly pass: Pass;
  readonly pace: Pace;
}

/** Checks one closed segment. */
class SegmentScrub {
  readonly #options: ScrubOptions;
  readonly #log: ScrubbedLog;
  readonly #segment: Segment;
  readonly #cutCount: number;
  readonly #pass: Pass;
  readonly #pace: Pace;
  /** Bytes side by side that were found whole. */
  #soundFrom = 0;
  #soundTo = 0;

  constructor(options: ScrubOptions, { log, segment, pass, pace }: SegmentScrubOptions) {
    this.#options = options;
    this.#log = log;
    this.#segment = segment;
    this.#cutCount = segment.cutCount;
    this.#pass = pass;
    this.#pace = pace;
  }

  async run(): Promise<void> {
    const { offsetIndex, timeIndex, transactionIndex } = this.#segment;
    const offsets = await this.#open(offsetIndex.file.path);
    const times = await this.#open(timeIndex.file.path);
    const transactions = transactionIndex.file.exists()
      ? await this.#open(transactionIndex.file.path)
      : null;
    const handles = [offsets, times, transactions];
    try {
      const of = (handle: OpenFile) => this.#indexOptions(handle);
      const main: readonly CheckedIndex[] = [
        { file: offsetIndex.file, check: offsets && new OffsetIndexCheck(of(offsets)) },
        { file: timeIndex.file, check: times && new TimeIndexCheck(of(times)) },
      ];
      const aborted = transactions && new TransactionIndexCheck(of(transactions));
      if (!await this.#checkLog([...main.map(({ check }) => check), aborted])) return;
      this.#pass.segmentCount++;
      if (aborted !== null && aborted.entries.found !== null) this.#reportTransactions(aborted);
      await this.#repair(main);
    } finally {
      for (const handle of handles) handle?.close();
    }
  }

  #indexOptions(source: FileSource) {
    return { source, baseOffset: this.#segment.baseOffset, mayHaveRoom: false };
  }

  /** Returns: false when the segment is gone, or the scrub is to end. */
  async #checkLog(given: readonly (IndexCheck | null)[]): Promise<boolean> {
    const checks = given.filter((check) => check !== null);
    const isComplete = await this.#walk({
      beforePiece: async () => {
        for (const { entries } of checks) await entries.fill();
      },
      onBatch: (batch) => {
        for (const check of checks) check.onBatch(batch);
        this.#noteSound(batch);
      },
      onDamage: (damage) => {
        for (const check of checks) check.onDamage(damage);
        this.#reportDamage(damage);
      },
    });
    if (isComplete) { for (const check of checks) check.finish(false); }
    return isComplete;
  }

  #noteSound({ position, sizeBytes }: SoundBatch): void {
    if (position !== this.#soundTo) this.#flushSound();
    if (this.#soundFrom === this.#soundTo) this.#soundFrom = position;
    this.#soundTo = position + sizeBytes;
  }

  #flushSound(): void {
    if (this.#isThere()) this.#segment.noteChecked(this.#soundFrom, this.#soundTo);
    this.#soundFrom = this.#soundTo = 0;
  }

  async #walk(
    visit: Pick<SegmentCheckOptions, "beforePiece" | "onBatch" | "onDamage">,
  ): Promise<boolean> {
    const source = await this.#open(this.#segment.path);
    if (source === null) return false;
    const missingBytes = this.#segment.sizeBytes - source.sizeBytes;
    try {
      const { isComplete, nextOffset } = await checkSegment(source, {
        baseOffset: this.#segment.baseOffset,
        endOffset: () => this.#endOffset(),
        ...visit,
      });
      if (isComplete) this.#flushSound();
      if (isComplete && missingBytes > 0) {
        visit.onDamage({
          position: source.sizeBytes,
          endPosition: source.sizeBytes + missingBytes,
          expectedOffset: nextOffset,
          found: "the file has become shorter",
          isUnsound: true,
        });
      }
      return isComplete && this.#isThere();
    } finally {
      source.close();
    }
  }

  #endOffset(): number {
    const { segments } = this.#log;
    return segments[segments.indexOf(this.#segment) + 1]?.baseOffset ?? Infinity;
  }

  /** True while the segment is a closed one of an open log, and as it was. */
  #isThere(): boolean {
    const log = this.#log;
    const index = log.segments.indexOf(this.#segment);
    return this.#options.logs.get(log.name) === log && log.offlineReason === null &&
      index >= 0 && index < log.segments.length - 1 && this.#segment.cutCount === this.#cutCount;
  }

  /** A handle of its own, since a segment's is closed at any time. Null when the file is not there. */
  async #open(path: string): Promise<OpenFile | null> {
    for (;;) {
      if (!this.#isThere()) return null;
      try {
        return this.#openNow(path);
      } catch (failure) {
        if (!(failure instanceof DiskError)) throw failure;
        if (!failure.isPassing) return this.#cannotOpen(path, failure);
        if (!await this.#pace.retry()) return null;
      }
    }
  }

  #cannotOpen(path: string, failure: DiskError): null {
    const isIndex = path !== this.#segment.path;
    // An index that is missing is made anew.
    if (isIndex && failure.code === "ENOENT") return null;
    const { baseOffset: offset } = this.#segment;
    this.#pass.damagedCount++;
    this.#log.reportDamage({ path, position: 0, offset, found: failure.message });
    return null;
  }

  #openNow(path: string): OpenFile {
    const file = this.#options.disk.open(path, "read");
    const read = async (position: number, into: Uint8Array): Promise<number> => {
      if (!await this.#pace.wait() || !this.#isThere()) return 0;
      const count = await file.readCold(position, into);
      this.#pace.spend(count);
      this.#pass.readBytes += count;
      return this.#isThere() ? count : 0;
    };
    return { sizeBytes: file.sizeBytes, read, close: () => file.close() };
  }

  // ── what is found ───────────────────────────────────────────────────────────────────────────────

  #reportDamage({ position, endPosition, expectedOffset, found, isUnsound }: SegmentDamage): void {
    if (!this.#isThere()) return;
    const { path } = this.#segment;
    if (isUnsound) this.#segment.noteDamaged(position, endPosition);
    this.#pass.damagedCount++;
    this.#log.reportDamage({
      path,
      position,
      offset: expectedOffset,
      found: `${path} is damaged at byte ${position}, up to byte ${endPosition}: ${found}`,
      isServed: !isUnsound,
    });
  }

  /** Only the records and who wrote them tell which were aborted: that is found out at a start. */
  #reportTransactions({ entries }: IndexCheck): void {
    const { path } = this.#segment.transactionIndex.file;
    this.#pass.damagedCount++;
    this.#log.reportDamage({
      path,
      position: entries.entryCount,
      offset: this.#segment.baseOffset,
      found: `${path} is damaged: ${entries.found!}; remove it while the broker does not run, ` +
        "and it is made anew from the records",
    });
  }

  async #repair(indexes: readonly CheckedIndex[]): Promise<void> {
    const problems = indexes.flatMap(({ file, check }) => {
      const found = check === null ? "it is missing" : check.entries.found;
      return found === null ? [] : [`${file.path}: ${found}`];
    });
    if (problems.length === 0) return;
    const { logger } = this.#options;
    const fields = { partition: this.#log.name, problem: problems.join("; ") };
    try {
      if (!await this.#rebuild()) return;
      this.#pace.noteRebuilt();
      logger.warn("Index contradicts its log and was rebuilt", fields);
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      this.#options.onFailure(failure);
      if (!this.#isThere()) return;
      logger.warn("Index contradicts its log and cannot be rebuilt", {
        ...fields,
        found: failure.message,
      });
    }
  }

  /**
   * Returns: false when the segment has gone meanwhile, or cannot be read whole: an index of what is left of
   * it would hide the rest, and the old one may be right about it. Errors: DiskError.
   */
  async #rebuild(): Promise<boolean> {
    const { disk } = this.#options;
    const { directory, config } = this.#log;
    const draft = new IndexDraft({
      ...this.#options,
      directory,
      segment: this.#segment,
      indexIntervalBytes: config.indexIntervalBytes,
    });
    let isDamaged = false;
    try {
      const isComplete = await this.#walk({
        onBatch: (batch) => draft.add(batch),
        onDamage: () => isDamaged = true,
      });
      if (!isComplete || isDamaged) return false;
      await draft.store();
      if (!this.#isThere()) return false;
      draft.takePlace();
      await disk.syncDirectory(directory);
      return true;
    } finally {
      draft.discard();
    }
  }
}

interface OpenFile extends FileSource {
  close(): void;
}

interface CheckedIndex {
  readonly file: IndexFile;
  /** Null when there is no file. */
  readonly check: IndexCheck | null;
}
