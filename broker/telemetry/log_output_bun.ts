/**
 * Where log lines go: a descriptor, standard error unless told otherwise.
 *
 * Lines queue up in memory and are written by the I/O pool, one write at a time, so that a reader who has
 * stopped reading (a stuck terminal, a full pipe) never holds the event loop. The queue is bounded: what
 * does not fit is left out and counted, and the count is written once there is room.
 */

import * as fs from "node:fs";
import { isatty } from "node:tty";

/** Most bytes that wait. */
const MAX_QUEUED_BYTES = 1024 * 1024;
/** How long `close` waits for a reader. */
const CLOSE_TIMEOUT_MS = 500;

/** A place for log lines. */
export interface LogOutput {
  readonly isTerminal: boolean;
  write(line: string): void;
  /** Takes no more lines; resolves when all are written, or after half a second. */
  close(): Promise<void>;
}

/** Standard error, or another open descriptor. */
export function bunLogOutput(descriptor = 2): LogOutput {
  return new DescriptorOutput(descriptor);
}

class DescriptorOutput implements LogOutput {
  readonly isTerminal: boolean;
  readonly #descriptor: number;
  #queue: string[] = [];
  #queuedBytes = 0;
  #leftOut = 0;
  #isWriting = false;
  /** What an asynchronous write has been given and has not confirmed. */
  #inFlight: Uint8Array | null = null;
  #isClosed = false;
  #onIdle: (() => void) | null = null;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
    this.isTerminal = isatty(descriptor);
  }

  write(line: string): void {
    if (this.#isClosed) return;
    if (this.#queuedBytes + line.length > MAX_QUEUED_BYTES) {
      this.#leftOut++;
      return;
    }
    this.#queue.push(line);
    this.#queuedBytes += line.length;
    this.#pump();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (!this.#isWriting) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle = resolve;
    const timeout = setTimeout(resolve, CLOSE_TIMEOUT_MS);
    await promise;
    clearTimeout(timeout);
  }

  #take(): Uint8Array | null {
    if (this.#leftOut > 0) {
      this.#queue.push(`${this.#leftOut} log lines left out: they were not read fast enough\n`);
      this.#leftOut = 0;
    }
    if (this.#queue.length === 0) return null;
    const bytes = Buffer.from(this.#queue.join(""));
    this.#queue = [];
    this.#queuedBytes = 0;
    return bytes;
  }

  #pump(): void {
    if (this.#isWriting) return;
    this.#inFlight ??= this.#take();
    const bytes = this.#inFlight;
    if (bytes === null) {
      this.#onIdle?.();
      return;
    }
    this.#isWriting = true;
    fs.write(this.#descriptor, bytes, 0, bytes.length, null, (error, written) => {
      this.#isWriting = false;
      // A descriptor that takes nothing more is not tried again with these bytes.
      this.#inFlight = error || written >= bytes.length ? null : bytes.subarray(written);
      this.#pump();
    });
  }
}
