/** How many answers that go on there may be at once, whatever they stream. */

import { ProblemError } from "./problem.ts";

/** Counts the streams that are open. */
export class StreamSlots {
  readonly #max: number;
  #openCount = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get openCount(): number {
    return this.#openCount;
  }

  /** Returns: gives the slot back; more than once does nothing. Errors: ProblemError (429) when all are taken. */
  take(): () => void {
    if (this.#openCount >= this.#max) {
      const detail = `Cannot open another stream: ${this.#max} are (weir.gateway.max.streams)`;
      throw new ProblemError(429, detail);
    }
    this.#openCount++;
    let isTaken = true;
    return () => {
      if (isTaken) this.#openCount--;
      isTaken = false;
    };
  }
}
