/**
 * Answers to a stream of records: for each record that comes in, one line goes out, in the same order.
 *
 *     body ──→ jsonValues ──→ answer(value) ──→ [at most WINDOW and WINDOW_BYTES under way] ──→ next()
 *
 * Nothing is read ahead of that: who does not read the lines is not read either.
 */

import type { ByteRoom } from "../../client/byte_room.ts";
import type { WholeBytes } from "../held_bytes.ts";
import type { LineSource } from "./streams.ts";

/** Records of one stream that may be under way, or wait to be told of. */
const WINDOW = 500;
/** Their bytes, unless one of them is larger: those that are always let in, and those for which there is room. */
const SMALL_WINDOW_BYTES = 32 * 1024;
const WINDOW_BYTES = 512 * 1024;

/** How values become lines. */
export interface ReportsOptions {
  readonly values: AsyncGenerator<WholeBytes, void, void>;
  /** Shared with all that clients send. */
  readonly room: ByteRoom;
  /** Ends the values, also while the next one is waited for. */
  readonly stop: () => void;
  /** Never rejects, but for bugs of ours. */
  readonly answer: (value: Uint8Array) => Promise<unknown>;
  /** The last line, where the values end with an error. */
  readonly failed: (error: unknown) => unknown;
}

/** A record, and its line once it is known. */
interface UnderWay {
  line: string | null;
}

/** Lines of JSON for values. */
export class Reports implements LineSource {
  readonly #options: ReportsOptions;
  #underWay: UnderWay[] = [];
  #underWayBytes = 0;
  /** There was no room for more than a small window. */
  #isCramped = false;
  #isReading = false;
  #hasEnded = false;
  #isClosed = false;
  /** A bug of ours. */
  #failure: { readonly error: unknown } | null = null;
  #wake: (() => void) | null = null;

  constructor(options: ReportsOptions) {
    this.#options = options;
  }

  /** The lines of all records at the head that are answered. */
  async next(): Promise<string | null> {
    for (;;) {
      this.#readOn();
      if (this.#failure !== null) throw this.#failure.error;
      const firstOpen = this.#underWay.findIndex(({ line }) => line === null);
      const count = firstOpen < 0 ? this.#underWay.length : firstOpen;
      if (count > 0) return this.#underWay.splice(0, count).map(({ line }) => line).join("");
      if (this.#isClosed || (this.#hasEnded && this.#underWay.length === 0)) return null;
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
    }
  }

  /** Reads values as long as there is room for them. */
  #readOn(): void {
    const mayRead = !this.#isReading && !this.#hasEnded && !this.#isClosed;
    const windowBytes = this.#isCramped ? SMALL_WINDOW_BYTES : WINDOW_BYTES;
    const isFull = this.#underWay.length >= WINDOW || this.#underWayBytes >= windowBytes;
    if (!mayRead || isFull) return;
    this.#isReading = true;
    this.#options.values.next().then(
      ({ done, value }) => {
        this.#isReading = false;
        if (done === true) this.#hasEnded = true;
        else if (this.#isClosed) value.release();
        else this.#take(value);
        this.#readOn();
        this.#wakeUp();
      },
      (error: unknown) => {
        this.#isReading = false;
        this.#hasEnded = true;
        try {
          this.#underWay.push({ line: lineOf(this.#options.failed(error)) });
        } catch (bug) {
          this.#failure = { error: bug };
        }
        this.#wakeUp();
      },
    );
  }

  #take({ bytes, release }: WholeBytes): void {
    const underWay: UnderWay = { line: null };
    this.#underWay.push(underWay);
    const byteCount = bytes.length;
    const isSmall = this.#underWayBytes + byteCount <= SMALL_WINDOW_BYTES;
    const { room } = this.#options;
    const takenBytes = !isSmall && room.tryTake(byteCount) ? byteCount : 0;
    this.#isCramped = !isSmall && takenBytes === 0;
    this.#underWayBytes += byteCount;
    this.#options.answer(bytes).then(
      (report) => {
        underWay.line = lineOf(report);
      },
      (error: unknown) => {
        this.#failure = { error };
      },
    ).finally(() => {
      this.#underWayBytes -= byteCount;
      release();
      if (takenBytes > 0) room.giveBack(takenBytes);
      this.#readOn();
      if (this.#failure !== null || this.#underWay[0] === underWay) this.#wakeUp();
    });
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = null;
  }

  close(): void {
    this.#isClosed = true;
    this.#wakeUp();
    this.#options.stop();
  }
}

function lineOf(report: unknown): string {
  return `${JSON.stringify(report)}\n`;
}
