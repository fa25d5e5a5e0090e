/** Many seeds of a simulation, one after another; each that fails is named with the command that repeats it. */

/** Seeds that nobody has chosen. */
export function freshSeeds(count: number): number[] {
  return [...crypto.getRandomValues(new Uint32Array(count))];
}

/** A seed that failed. */
export interface FailedSeed {
  readonly seed: number;
  readonly failure: Error;
}

/**
 * Runs one seed. Returns: what failed, in the life itself or in a promise that nobody awaited, or null.
 *
 * The same seed is the same life, so one that fails and then holds tells of something else in this process.
 */
export async function runSeed(
  seed: number,
  live: (seed: number) => Promise<void>,
): Promise<FailedSeed | null> {
  let failure: Error | null = null;
  const stray = (reason: unknown) => {
    failure ??= new Error(`A promise that nobody awaited was rejected: ${reason}`, {
      cause: reason,
    });
  };
  process.on("unhandledRejection", stray);
  try {
    await live(seed);
  } catch (cause) {
    failure ??= cause instanceof Error ? cause : new Error(String(cause));
  }
  // What was rejected last is told of after the microtasks, and is no fault of the next life.
  await Bun.sleep(0);
  process.off("unhandledRejection", stray);
  return failure === null ? null : { seed, failure };
}
