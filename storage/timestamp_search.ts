/**
 * From a timestamp to the first record at or after it, exact within a batch.
 *
 *     segments ──→ time index ──→ offset index ──→ headers, 512 at a time ──→ one batch, record by record
 *        └── largest timestamp below it: skipped                └── others have their turn in between
 *
 * The search is one offset that only grows: no record before it is wanted. Between two pieces of work anything
 * may happen to the log; each piece looks for that offset in the segments that there are by then.
 */

import { type Offset, offset } from "../protocol/types.ts";
import {
  type RecordTime,
  searchBatchJob,
  searchBatchNow,
  type WantedRecord,
} from "./batch_search.ts";
import type { LeaderEpochs } from "./leader_epochs.ts";
import type { LogConfig } from "./log_config.ts";
import type { LogReader } from "./log_reader.ts";
import type { Clock } from "./platform.ts";
import type { BatchPlace, Segment } from "./segment.ts";
import type { Workers } from "./workers.ts";

/** Headers of batches that are looked at in one turn of the loop: 1 to 2 ms. */
const HEADERS_PER_TURN = 512;
/** Segments whose largest timestamp is asked for in one turn: each may take a read. */
const SEGMENTS_PER_TURN = 256;

/** A record found by its timestamp. */
export interface TimestampedOffset {
  readonly offset: Offset;
  readonly timestampMs: number;
  readonly leaderEpoch: number;
}

/** The log as it is searched. Shape: `segments` is never empty. */
export interface SearchedLog {
  readonly segments: readonly Segment[];
  readonly logStartOffset: number;
  readonly config: LogConfig;
  readonly leaderEpochs: LeaderEpochs;
}

/** Searches one log by time. */
export class TimestampSearch {
  readonly #log: SearchedLog;
  readonly #reader: Pick<LogReader, "readBatch" | "segmentIndexFor">;
  readonly #clock: Clock;
  readonly #workers: Workers;

  constructor(
    log: SearchedLog,
    reader: Pick<LogReader, "readBatch" | "segmentIndexFor">,
    { clock, workers }: { readonly clock: Clock; readonly workers: Workers },
  ) {
    this.#log = log;
    this.#reader = reader;
    this.#clock = clock;
    this.#workers = workers;
  }

  /**
   * The first record with a timestamp of at least `timestampMs`, or null.
   * Errors: DiskError, TooLargeError where a record or a batch is past its bound, WireError,
   * JobCancelledError.
   */
  async offsetForTimestamp(timestampMs: number): Promise<TimestampedOffset | null> {
    for (let from = 0;;) {
      from = Math.max(from, this.#log.logStartOffset);
      const step = this.#findBatch(timestampMs, from);
      if (step === null) return null;
      if (typeof step === "number") {
        from = step;
        await this.#clock.sleep(0);
        continue;
      }
      const found = await this.#search(step.segment, step.place, timestampMs, from);
      if (found !== null) {
        return {
          offset: offset(found.offset),
          timestampMs: found.timestampMs,
          leaderEpoch: this.#log.leaderEpochs.epochForOffset(found.offset),
        };
      }
      from = step.place.lastOffset + 1;
    }
  }

  /** The first record that carries the largest timestamp of the log, or null when it has none. */
  async maxTimestampOffset(): Promise<TimestampedOffset | null> {
    let largest = -1;
    for (const [index, segment] of [...this.#log.segments].entries()) {
      if (index % SEGMENTS_PER_TURN === SEGMENTS_PER_TURN - 1) await this.#clock.sleep(0);
      largest = Math.max(largest, segment.largest.timestampMs);
    }
    if (largest < 0) return null;
    // The record may be gone, with the first part of its segment or by compaction: then what is left counts.
    return await this.offsetForTimestamp(largest) ?? await this.#largestLeft();
  }

  /** A batch that may hold the record; the offset to go on from in another turn; null when there is none. */
  #findBatch(
    timestampMs: number,
    from: number,
  ): { readonly segment: Segment; readonly place: BatchPlace } | number | null {
    const { segments } = this.#log;
    const first = this.#reader.segmentIndexFor(from);
    for (let index = first; index < segments.length; index++) {
      const segment = segments[index]!;
      if (index - first === SEGMENTS_PER_TURN) return segment.baseOffset;
      if (segment.largest.timestampMs < timestampMs) continue;
      const place = segment.findTimestamp(timestampMs, from, HEADERS_PER_TURN);
      if (place !== null) return typeof place === "number" ? place : { segment, place };
    }
    return null;
  }

  /** The wanted record of a batch, if it has one. */
  async #search(
    segment: Segment,
    place: BatchPlace,
    timestampMs: number | null,
    fromOffset: number,
  ): Promise<RecordTime | null> {
    const { maxDecompressedMessageBytes, maxDecompressedBatchBytes } = this.#log.config;
    const wanted: WantedRecord = {
      timestampMs,
      fromOffset,
      maxRecordBytes: maxDecompressedMessageBytes,
      maxBatchBytes: maxDecompressedBatchBytes,
    };
    const batch = this.#reader.readBatch(segment, place);
    const found = searchBatchNow(batch, wanted);
    if (found !== undefined) return found;
    const moves = [batch.buffer as ArrayBuffer];
    return await this.#workers.run(searchBatchJob, { batch, wanted }, { moves });
  }

  /** The same by looking at every header, where the largest time that was noted has no record any more. */
  async #largestLeft(): Promise<TimestampedOffset | null> {
    let largest = -1;
    for (let from: number | null = this.#log.logStartOffset; from !== null;) {
      const start: number = Math.max(from, this.#log.logStartOffset);
      const first = this.#placeOf(start);
      if (first !== null && first.place.baseOffset < start) {
        // Only a part of it counts, so that its header tells nothing.
        const found = await this.#search(first.segment, first.place, null, start);
        largest = Math.max(largest, found?.timestampMs ?? -1);
        from = first.place.lastOffset + 1;
        continue;
      }
      const turn = this.#largestOfTurn(start);
      largest = Math.max(largest, turn.largest);
      from = turn.next;
      await this.#clock.sleep(0);
    }
    return largest < 0 ? null : this.offsetForTimestamp(largest);
  }

  #placeOf(at: number): { readonly segment: Segment; readonly place: BatchPlace } | null {
    const segment = this.#log.segments[this.#reader.segmentIndexFor(at)]!;
    const place = segment.findBatch(at);
    return place === null ? null : { segment, place };
  }

  /** The largest time that the next headers name, and the offset to go on from; null at the end. */
  #largestOfTurn(from: number): { readonly largest: number; readonly next: number | null } {
    const { segments } = this.#log;
    const index = this.#reader.segmentIndexFor(from);
    let largest = -1;
    let next = segments[index + 1]?.baseOffset ?? null;
    let left = HEADERS_PER_TURN;
    const first = this.#placeOf(from);
    if (first === null) return { largest, next };
    first.segment.walk(first.place.position, ({ baseOffset, maxTimestamp }) => {
      if (left-- === 0) {
        next = baseOffset;
        return false;
      }
      largest = Math.max(largest, maxTimestamp);
      return true;
    });
    return { largest, next };
  }
}
