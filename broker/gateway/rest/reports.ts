/**
 * Answers to a stream of records: for each record that comes in, one line goes out, in the same order.
 *
 *     body ──→ jsonValues ──→ answer(value) ──→ [at most WINDOW under way] ──→ line
 *
 * Nothing is read ahead of that: who does not read the lines is not read either.
 */

import type { LineSource } from "./streams.ts";

/** Records of one stream that may be under way. */
const WINDOW = 500;

/** How values become lines. */
export interface ReportsOptions {
  readonly values: AsyncGenerator<Uint8Array, void, void>;
  /** Never rejects, but for bugs of ours. */
  readonly answer: (value: Uint8Array) => Promise<unknown>;
  /** The last line, where the values end with an error. */
  readonly failed: (error: unknown) => unknown;
}

type Event =
  | { readonly kind: "report"; readonly report: unknown }
  | { readonly kind: "value"; readonly result: IteratorResult<Uint8Array, void> }
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "closed" };

/** Lines of JSON for values. */
export class Reports implements LineSource {
  readonly #options: ReportsOptions;
  readonly #underWay: Promise<Event>[] = [];
  readonly #closed = Promise.withResolvers<Event>();
  /** The value that comes next; null after the last one. */
  #next: Promise<Event> | null = null;
  #failure: { readonly error: unknown } | null = null;

  constructor(options: ReportsOptions) {
    this.#options = options;
    this.#readOn();
  }

  #readOn(): void {
    this.#next = this.#options.values.next().then(
      (result): Event => ({ kind: "value", result }),
      (error: unknown): Event => ({ kind: "failed", error }),
    );
  }

  async next(): Promise<string | null> {
    while (this.#next !== null || this.#underWay.length > 0) {
      const event = await this.#event();
      switch (event.kind) {
        case "report":
          void this.#underWay.shift();
          return line(event.report);
        case "value":
          if (event.result.done === true) this.#next = null;
          else this.#take(event.result.value);
          break;
        case "failed":
          this.#failure = event;
          this.#next = null;
          break;
        case "closed":
          return null;
      }
    }
    if (this.#failure === null) return null;
    const { error } = this.#failure;
    this.#failure = null;
    return line(this.#options.failed(error));
  }

  #take(value: Uint8Array): void {
    const { answer } = this.#options;
    this.#underWay.push(answer(value).then((report) => ({ kind: "report", report })));
    this.#readOn();
  }

  #event(): Promise<Event> {
    const [head] = this.#underWay;
    const reads = this.#next !== null && this.#underWay.length < WINDOW;
    return Promise.race([
      this.#closed.promise,
      ...(head === undefined ? [] : [head]),
      ...(reads ? [this.#next!] : []),
    ]);
  }

  close(): void {
    this.#closed.resolve({ kind: "closed" });
    // The rest of the body is not wanted, and nobody waits until that is understood.
    this.#options.values.return().catch(() => undefined);
  }
}

function line(report: unknown): string {
  return `${JSON.stringify(report)}\n`;
}
