/**
 * Jobs on virtual time, in the process of the test: each runs on the simulated disk after a moment, so that
 * the caller goes on before it, as with a thread. Input and output are copied as between threads.
 */

import type { Clock, Disk, Logger } from "../../storage/platform.ts";
import { cancelled, type Job, type RunOptions, type Workers } from "../../storage/workers.ts";

/** What the jobs run on. */
export interface SimWorkersOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long a job waits until it begins, in virtual time; with 0 it needs no clock that moves. */
  readonly delayMs?: number;
}

/** Runs jobs where they are asked for. */
export class SimWorkers implements Workers {
  readonly #options: SimWorkersOptions;
  readonly #running = new Set<AbortController>();
  /** What is under way, also where nobody waits for it any more. Never rejects. */
  readonly #underWay = new Set<Promise<void>>();
  #isClosed = false;

  constructor(options: SimWorkersOptions) {
    this.#options = options;
  }

  async run<Input, Output>(
    job: Job<Input, Output>,
    input: Input,
    { signal, onProgress, moves, awaitsEnd }: RunOptions = {},
  ): Promise<Output> {
    if (this.#isClosed || signal?.aborted) throw cancelled(job);
    const copied = structuredClone(input, { transfer: moves ?? [] });
    const { disk, clock, logger, delayMs } = this.#options;
    const controller = new AbortController();
    this.#running.add(controller);
    const whenCancelled = new Promise<never>((_, reject) => {
      controller.signal.addEventListener("abort", () => reject(cancelled(job)), { once: true });
    });
    signal?.addEventListener("abort", () => controller.abort(), { once: true });
    const finish = async () => {
      if (delayMs !== 0) await clock.sleep(delayMs ?? 1, controller.signal);
      if (controller.signal.aborted) throw cancelled(job);
      const output = await job.run(copied, {
        disk,
        clock,
        logger,
        signal: controller.signal,
        progress: (value) => onProgress?.(value),
      });
      return structuredClone(output, { transfer: job.moves?.(output) ?? [] });
    };
    const finishing = finish();
    const underWay = finishing.then(() => {}, () => {}).then(() => {
      this.#underWay.delete(underWay);
    });
    this.#underWay.add(underWay);
    try {
      if (!awaitsEnd) return await Promise.race([finishing, whenCancelled]);
      whenCancelled.catch(() => {});
      return await finishing;
    } finally {
      this.#running.delete(controller);
    }
  }

  close(): Promise<void> {
    this.#isClosed = true;
    for (const controller of this.#running) controller.abort();
    return Promise.resolve();
  }

  /** Resolves when every job has ended by itself, which one that was cut short does as soon as its disk answers. */
  async ended(): Promise<void> {
    await Promise.all(this.#underWay);
  }
}
