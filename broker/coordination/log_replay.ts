/**
 * Reads a coordinator's log from its start to its end, batch by batch, so that a log of any size loads in memory
 * bounded by what it ends up with, and without holding the event loop.
 *
 * Invariant: whatever cannot be read is told, and never taken for the end.
 */

import { WireError } from "../../protocol/bytes.ts";
import { errorName } from "../../protocol/errors.ts";
import { batches, readLastOffset } from "../../protocol/record_batch.ts";
import { type Clock, DiskError } from "../../storage/platform.ts";
import { TimeSlice } from "../time_slice.ts";
import type { CoordinatorLog } from "./coordinator_log.ts";

const CHUNK_BYTES = 256 * 1024;
/** The event loop is given back at least so often, by each of the few logs that are read at once. */
const SLICE_MS = 2;

/** What a replay needs besides the log. */
export interface ReplayOptions {
  readonly clock: Clock;
  /** True when nobody wants the rest any more. */
  readonly isGivenUp: () => boolean;
  /** Takes the batch at `position` of `bytes`, which it must not keep. Errors: WireError when damaged. */
  readonly onBatch: (bytes: Uint8Array, position: number) => void;
  /** Does what is left once everything was read, a piece at each step. Errors: WireError when damaged. */
  readonly finish?: () => Iterable<void>;
}

/**
 * Hands over every batch of the log in its order.
 *
 * Returns: null at the end, or when it was given up; otherwise why it cannot be read.
 */
export async function replayLog(
  log: CoordinatorLog,
  options: ReplayOptions,
): Promise<string | null> {
  try {
    return await replay(log, options);
  } catch (error) {
    if (!(error instanceof WireError || error instanceof DiskError)) throw error;
    return error.message;
  }
}

async function replay(
  log: CoordinatorLog,
  { clock, isGivenUp, onBatch, finish }: ReplayOptions,
): Promise<string | null> {
  let position = log.startOffset;
  const slice = new TimeSlice(clock, SLICE_MS, -Infinity);
  while (position < log.endOffset) {
    if (slice.isOver) await slice.next();
    if (isGivenUp()) return null;
    const read = await log.read(position, CHUNK_BYTES);
    if (!("release" in read)) return `${errorName(read.error)}: ${read.message}`;
    const before = position;
    try {
      for (const at of batches(read.records)) {
        const lastOffset = readLastOffset(read.records, at);
        if (lastOffset < position) continue;
        onBatch(read.records, at);
        position = lastOffset + 1;
      }
    } finally {
      read.release();
    }
    if (position === before) {
      return `no batch at offset ${position}, though the log ends at ${log.endOffset}`;
    }
  }
  for (const _ of finish?.() ?? []) {
    if (slice.isOver) await slice.next();
    if (isGivenUp()) break;
  }
  return null;
}
