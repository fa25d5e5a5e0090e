/**
 * How far the opening of the partitions has come that a start begins with: told in the log every few
 * seconds while it lasts, and to whoever asks.
 */

import type { Clock, Logger, Timer } from "../../storage/platform.ts";

const TELL_EVERY_MS = 3000;
const GIGABYTE = 1e9;

/** Where to look. */
export interface OpeningProgressOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Partitions that are not open yet. */
  readonly leftCount: () => number;
  /** Bytes of records that recoveries have read so far. */
  readonly recoveredBytes: () => number;
}

/** The progress of one start. */
export class OpeningProgress {
  readonly #options: OpeningProgressOptions;
  #totalCount = 0;
  #beganMs = 0;
  #timer: Timer | null = null;

  constructor(options: OpeningProgressOptions) {
    this.#options = options;
  }

  /** Begins to count: what is left now is all that there is to do. */
  start(): void {
    this.#totalCount = this.#options.leftCount();
    this.#beganMs = this.#options.clock.monotonicMs();
    if (this.#totalCount > 0) this.#arm();
  }

  /** Partitions of the start that are not open yet. */
  get leftCount(): number {
    return this.#timer === null ? 0 : this.#options.leftCount();
  }

  /** One sentence; null once everything has been open. */
  get reason(): string | null {
    if (this.#timer === null) return null;
    const { open, of, recoveredBytes } = this.#state();
    const sentence = `${open} of ${of} partitions are open`;
    return recoveredBytes === 0
      ? sentence
      : `${sentence}; ${(recoveredBytes / GIGABYTE).toFixed(2)} GB were read to recover logs`;
  }

  /** Everything is open: what opens from now on is no part of the start. */
  finish(): void {
    if (this.#timer === null) return;
    this.close();
    const { of, recoveredBytes, seconds } = this.#state();
    this.#options.logger.info("Partitions are open", { of, recoveredBytes, seconds });
  }

  /** Tells nothing any more. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #arm(): void {
    this.#timer = this.#options.clock.timer(TELL_EVERY_MS, () => {
      this.#options.logger.info("Partitions are being opened", this.#state());
      this.#arm();
    });
  }

  #state() {
    const { leftCount, recoveredBytes, clock } = this.#options;
    const left = leftCount();
    const of = Math.max(this.#totalCount, left);
    const seconds = Math.round(clock.monotonicMs() - this.#beganMs) / 1000;
    return { open: of - left, of, recoveredBytes: recoveredBytes(), seconds };
  }
}
