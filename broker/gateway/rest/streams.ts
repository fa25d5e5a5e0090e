/**
 * Answers that go on: lines that are sent as they come about, to so many clients at once.
 *
 * A client that reads slowly is given the next line when it has room for it, and not before; one that goes away ends what
 * makes the lines.
 */

import type { Context } from "hono";
import { ProblemError } from "../problem.ts";

const encoder = new TextEncoder();

/** Counts the streams that are open. */
export class StreamSlots {
  readonly #max: number;
  #open = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get openCount(): number {
    return this.#open;
  }

  /** Returns: gives the slot back; once is enough. Errors: ProblemError (429) when all are taken. */
  take(): () => void {
    if (this.#open >= this.#max) {
      const detail = `Cannot open another stream: ${this.#max} are (weir.gateway.max.streams)`;
      throw new ProblemError(429, detail);
    }
    this.#open++;
    let isTaken = true;
    return () => {
      if (isTaken) this.#open--;
      isTaken = false;
    };
  }
}

/** An answer of lines. `make` is called when there is a slot; its generator is ended when the client goes. */
export function lineStream(
  context: Context,
  slots: StreamSlots,
  contentType: string,
  make: () => AsyncGenerator<string, void, void>,
): Response {
  const giveBack = slots.take();
  const lines = make();
  const end = async () => {
    giveBack();
    await lines.return();
  };
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await lines.next();
        if (!done) return controller.enqueue(encoder.encode(value));
        giveBack();
        controller.close();
      } catch (error) {
        giveBack();
        controller.error(error);
      }
    },
    cancel: end,
  }, { highWaterMark: 0 });
  return context.body(body, 200, { "Content-Type": contentType });
}
