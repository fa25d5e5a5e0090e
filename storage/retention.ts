/**
 * Which old segments a log lets go, and the task that looks for them.
 *
 *     oldest ─ segment ─ segment ─ segment ─ active
 *       └─ older than retention.ms? ─┘
 *       └─ does what is left still hold retention.bytes? ─┘      never past the high watermark
 *
 * Whole segments go, from the oldest on, and the first that stays ends it. A segment's age counts from the
 * largest timestamp of its records; where they carry none, from the last change of its file. The active
 * segment is closed first when it is to go as well. Source: Kafka's UnifiedLog.deleteOldSegments.
 */

import { type Offset, offset } from "../protocol/types.ts";
import type { LogConfig } from "./log_config.ts";
import type { Clock, Timer } from "./platform.ts";

/** Kafka looks for the first time half a minute after the start. */
const FIRST_LOOK_MS = 30_000;
/** Looking at thousands of logs gives the loop back this often. */
const YIELD_AFTER_MS = 4;
/** On a full disk each refused append asks for a look, and a change of settings each log. */
const MIN_HURRY_MS = 1000;

/** A segment as retention sees it. */
export interface AgingSegment {
  readonly baseOffset: number;
  readonly sizeBytes: number;
  /** Largest timestamp of its records, or the time of its file's last change. Units: ms. */
  readonly newestMs: number;
}

/** The log that retention is applied to. */
export interface AgingLog {
  readonly segments: readonly AgingSegment[];
  readonly highWatermark: Offset;
  readonly endOffset: Offset;
}

/** The offset up to which a log's retention lets records go; the first segment's base when none may go. */
export function retentionOffset(
  log: AgingLog,
  { retentionMs, retentionBytes }: Pick<LogConfig, "retentionMs" | "retentionBytes">,
  nowMs: number,
): Offset {
  const { segments } = log;
  const isOld = ({ newestMs }: AgingSegment) => retentionMs >= 0 && nowMs - newestMs > retentionMs;
  const sizeBytes = segments.reduce((sum, segment) => sum + segment.sizeBytes, 0);
  let excessBytes = retentionBytes < 0 ? -1 : sizeBytes - retentionBytes;
  let isExpiring = true;
  let start = offset(segments[0]!.baseOffset);
  for (const [index, segment] of segments.entries()) {
    const next = segments[index + 1]?.baseOffset ?? log.endOffset;
    // An active segment without records has nothing to let go.
    if (next > log.highWatermark || next === segment.baseOffset) break;
    // Kafka applies the two in turn: what is old goes first, and counts towards the size.
    isExpiring &&= isOld(segment);
    if (!isExpiring && excessBytes - segment.sizeBytes < 0) break;
    excessBytes -= segment.sizeBytes;
    start = offset(next);
  }
  return start;
}

/** What the task looks at. */
export interface RetainedLog {
  /** Lets old segments go. Returns: bytes of the segments that went. */
  enforceRetention(): number;
}

/** What the task works with. */
export interface RetentionOptions {
  readonly clock: Clock;
  /** Time between two looks. */
  readonly intervalMs: number;
  readonly logs: () => Iterable<RetainedLog>;
}

/** Looks at all logs again and again, in slices. */
export class Retention {
  readonly #options: RetentionOptions;
  #timer: Timer | null = null;
  #run: Promise<number> | null = null;
  #hurryTimer: Timer | null = null;
  #hurriedAtMs = -Infinity;
  #isClosed = false;

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  /** Looks for the first time in a while, then at each interval. */
  start(): void {
    this.#arm(Math.min(FIRST_LOOK_MS, this.#options.intervalMs));
  }

  /** Looks soon: the disk is full, or a bound has changed. At most once a second, however often asked. */
  hurry(): void {
    if (this.#hurryTimer !== null || this.#isClosed) return;
    const { clock } = this.#options;
    const delayMs = Math.max(0, this.#hurriedAtMs + MIN_HURRY_MS - clock.monotonicMs());
    this.#hurryTimer = clock.timer(delayMs, () => {
      this.#hurryTimer = null;
      this.#hurriedAtMs = clock.monotonicMs();
      void this.run();
    });
  }

  /** Looks at every log once; joins a look that is under way. Returns: bytes of the segments that went. */
  run(): Promise<number> {
    this.#run ??= this.#lookAtAll().finally(() => {
      this.#run = null;
    });
    return this.#run;
  }

  /** Ends the task, and waits for the look that is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#hurryTimer?.cancel();
    await this.#run;
  }

  #arm(delayMs: number): void {
    const { clock, intervalMs } = this.#options;
    this.#timer = clock.timer(delayMs, () => {
      void this.run().then(() => {
        if (!this.#isClosed) this.#arm(intervalMs);
      });
    });
  }

  async #lookAtAll(): Promise<number> {
    const { clock, logs } = this.#options;
    let beganMs = clock.monotonicMs();
    let goneBytes = 0;
    for (const log of [...logs()]) {
      if (clock.monotonicMs() - beganMs >= YIELD_AFTER_MS) {
        await clock.sleep(0);
        beganMs = clock.monotonicMs();
      }
      if (this.#isClosed) break;
      goneBytes += log.enforceRetention();
    }
    return goneBytes;
  }
}
