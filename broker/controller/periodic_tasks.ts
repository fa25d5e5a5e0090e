/**
 * Tasks that a node does again and again for as long as it is the active controller.
 *
 * A task is done by calling it; the next turn comes an interval after the end of the one before, so no task
 * ever waits for itself. After `stop` nothing is called any more.
 */

import type { Clock, Timer } from "../../storage/platform.ts";

/** A task and how long to wait before each of its turns; asked anew each time. */
export interface PeriodicTask {
  readonly intervalMs: () => number;
  readonly run: () => void;
}

/** Runs tasks until it is stopped. */
export class PeriodicTasks {
  readonly #clock: Clock;
  readonly #timers = new Map<PeriodicTask, Timer>();

  constructor(clock: Clock, tasks: readonly PeriodicTask[]) {
    this.#clock = clock;
    for (const task of tasks) this.#schedule(task);
  }

  /** Ends all tasks. */
  stop(): void {
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  #schedule(task: PeriodicTask): void {
    const timer = this.#clock.timer(task.intervalMs(), () => {
      task.run();
      if (this.#timers.get(task) === timer) this.#schedule(task);
    });
    this.#timers.set(task, timer);
  }
}
