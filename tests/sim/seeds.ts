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
 */
export async function runSeed(
  seed: number,
  live: (seed: number) => Promise<void>,
): Promise<FailedSeed | null> {
  let failure: unknown = null;
  const stray = (reason: unknown) => {
    failure ??= reason;
  };
  process.on("unhandledRejection", stray);
  try {
    await live(seed);
    // What was rejected last is told of after the microtasks.
    await Bun.sleep(0);
  } catch (cause) {
    failure ??= cause;
  } finally {
    process.off("unhandledRejection", stray);
  }
  if (failure === null) return null;
  return { seed, failure: failure instanceof Error ? failure : new Error(String(failure)) };
}
