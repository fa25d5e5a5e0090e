/**
 * Log lines that a stranger on the network can cause, at a bounded rate: of each kind so many in a window,
 * and with the next one that gets through the count of those that were left out.
 */

import type { Clock, Logger } from "../../storage/platform.ts";

const LINES_PER_WINDOW = 10;
const WINDOW_MS = 10_000;

interface Window {
  startMs: number;
  lines: number;
  suppressed: number;
}

/** Writes warnings, each kind at a bounded rate. */
export class LogLimiter {
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** By message: constant sentences, so there are few. */
  readonly #windows = new Map<string, Window>();

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** `message` is a constant sentence; it names the kind. */
  warn(message: string, fields: Readonly<Record<string, unknown>>): void {
    const nowMs = this.#clock.monotonicMs();
    let window = this.#windows.get(message);
    if (window === undefined) {
      window = { startMs: nowMs, lines: 0, suppressed: 0 };
      this.#windows.set(message, window);
    }
    if (nowMs - window.startMs >= WINDOW_MS) {
      window.startMs = nowMs;
      window.lines = 0;
    }
    if (window.lines >= LINES_PER_WINDOW) {
      window.suppressed++;
      return;
    }
    window.lines++;
    const { suppressed } = window;
    window.suppressed = 0;
    this.#logger.warn(message, suppressed > 0 ? { ...fields, linesLeftOut: suppressed } : fields);
  }
}
