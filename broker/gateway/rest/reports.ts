/**
 * Answers to a stream of records: for each record that comes in, one line goes out, in the same order.
 *
 *     body ──→ jsonValues ──→ answer(value) ──→ [at most WINDOW under way] ──→ line
 *
 * Nothing is read ahead of that: who does not read the lines is not read either.
 */

/** Records of one stream that may be under way. */
const WINDOW = 500;

/** Lines of JSON for the values. `answer` never rejects; an error of the values ends the lines by `last`. */
export async function* reports(
  values: AsyncGenerator<Uint8Array, void, void>,
  answer: (value: Uint8Array) => Promise<unknown>,
  last: (error: unknown) => unknown,
): AsyncGenerator<string, void, void> {
  const underWay: Promise<unknown>[] = [];
  let failure: { readonly error: unknown } | null = null;
  let next: Promise<IteratorResult<Uint8Array, void>> | null = values.next();
  // Whoever waits for it is told below.
  next.catch(() => undefined);
  try {
    while (next !== null || underWay.length > 0) {
      const head = underWay[0];
      const isFull = underWay.length >= WINDOW;
      const winner = await Promise.race([
        ...(head === undefined ? [] : [head.then((report) => ({ report }))]),
        ...(next === null || isFull ? [] : [next.then(
          (value) => ({ value }),
          (error: unknown) => ({ error }),
        )]),
      ]);
      if ("report" in winner) {
        void underWay.shift();
        yield line(winner.report);
      } else if ("error" in winner) {
        failure = winner;
        next = null;
      } else if (winner.value.done) next = null;
      else {
        underWay.push(answer(winner.value.value as Uint8Array));
        next = values.next();
        next.catch(() => undefined);
      }
    }
    if (failure !== null) yield line(last(failure.error));
  } finally {
    // The rest of the body is not wanted.
    void values.return().catch(() => undefined);
  }
}

function line(report: unknown): string {
  return `${JSON.stringify(report)}\n`;
}
