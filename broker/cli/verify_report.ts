/** What `weir log verify` has found so far: told place by place, counted for the end, and how far it is. */

import type { Timer } from "../../storage/platform.ts";
import type { CliIo } from "./io.ts";
import { formatBytes, formatCount, plural } from "./output.ts";

const PROGRESS_AFTER_MS = 1000;
const PROGRESS_EVERY_MS = 500;

/** A place that is not as it should be. */
export interface FoundPlace {
  /** `torn`: the end of a log that a start cuts off, since nothing acknowledged lies there. */
  readonly kind: "damage" | "torn";
  readonly file: string;
  /** Range of bytes; null where it is the file as a whole. */
  readonly position: number | null;
  readonly endPosition: number | null;
  /** The offset that should be there; null where there is none. */
  readonly expectedOffset: number | null;
  readonly found: string;
}

/** What was looked at. */
interface Tally {
  partitions: number;
  segments: number;
  bytes: number;
  batches: number;
  records: number;
}

/** Takes what is found and tells it. */
export class VerifyReport {
  readonly tally: Tally = { partitions: 0, segments: 0, bytes: 0, batches: 0, records: 0 };
  readonly #io: CliIo;
  readonly #json: boolean;
  readonly #beganMs: number;
  #damagedCount = 0;
  #tornCount = 0;
  #timer: Timer | null = null;
  #isShown = false;
  /** Lines that are not written yet: what finds them does not wait. */
  #lines: string[] = [];

  constructor(io: CliIo, json: boolean) {
    this.#io = io;
    this.#json = json;
    this.#beganMs = io.clock.monotonicMs();
    if (io.stderrIsTerminal) this.#schedule(PROGRESS_AFTER_MS);
  }

  /** Damaged places so far. */
  get damagedCount(): number {
    return this.#damagedCount;
  }

  /** Notes a place. `flush` writes it. */
  add(place: FoundPlace): void {
    if (place.kind === "damage") this.#damagedCount++;
    else this.#tornCount++;
    this.#lines.push(this.#json ? JSON.stringify(place) : placeLine(place));
  }

  /** The same for a file as a whole. */
  addFile(file: string, found: string): void {
    const place = { position: null, endPosition: null, expectedOffset: null };
    this.add({ kind: "damage", file, ...place, found });
  }

  /** A remark for people, which changes no result. */
  remark(text: string): void {
    this.#hide();
    this.#io.writeError(`${text}\n`);
  }

  /** Writes what was noted. */
  async flush(): Promise<void> {
    if (this.#lines.length === 0) return;
    const lines = this.#lines.splice(0);
    this.#hide();
    await this.#io.write(`${lines.join("\n")}\n`);
  }

  /** Ends the progress line. */
  stop(): void {
    this.#timer?.cancel();
    this.#hide();
  }

  /** Writes the summary. */
  async finish(): Promise<void> {
    await this.flush();
    const { tally } = this;
    const tookMs = this.#io.clock.monotonicMs() - this.#beganMs;
    if (this.#json) {
      const found = { damaged: this.#damagedCount, torn: this.#tornCount };
      const summary = { kind: "summary", ...tally, ...found, tookMs: Math.round(tookMs) };
      await this.#io.write(`${JSON.stringify(summary)}\n`);
      return;
    }
    const looked = [
      plural(tally.partitions, "partition"),
      plural(tally.segments, "segment"),
      formatBytes(tally.bytes),
      `${formatCount(tally.batches)} batches`,
      plural(tally.records, "record"),
    ].join(", ");
    const found = this.#damagedCount === 0
      ? "nothing is damaged"
      : `${plural(this.#damagedCount, "place")} damaged`;
    const torn = this.#tornCount === 0 ? "" : `, ${plural(this.#tornCount, "torn tail")}`;
    await this.#io.write(
      `${looked} in ${(tookMs / 1000).toFixed(1)} s, ${speed(tally.bytes, tookMs)}: ` +
        `${found}${torn}\n`,
    );
  }

  #schedule(delayMs: number): void {
    this.#timer = this.#io.clock.timer(delayMs, () => {
      this.#show();
      this.#schedule(PROGRESS_EVERY_MS);
    });
  }

  #show(): void {
    this.#isShown = true;
    const tookMs = this.#io.clock.monotonicMs() - this.#beganMs;
    const { bytes, segments, partitions } = this.tally;
    const line = `${plural(partitions, "partition")}, ${plural(segments, "segment")}, ` +
      `${formatBytes(bytes)}, ${speed(bytes, tookMs)}`;
    this.#io.writeError(`\r\x1b[K${line.slice(0, this.#io.columns - 1)}`);
  }

  #hide(): void {
    if (this.#isShown) this.#io.writeError("\r\x1b[K");
    this.#isShown = false;
  }
}

function speed(bytes: number, tookMs: number): string {
  return `${formatBytes(Math.round(bytes * 1000 / Math.max(1, tookMs)))}/s`;
}

function placeLine(
  { kind, file, position, endPosition, expectedOffset, found }: FoundPlace,
): string {
  const range = position === null ? "" : `: bytes ${position} to ${endPosition ?? position}`;
  const what = kind === "torn" ? "torn tail, which a start cuts off" : "damaged";
  const offset = expectedOffset === null ? "" : `, offset ${expectedOffset} should come`;
  return `${file}${range}: ${what}${offset}: ${found}`;
}
