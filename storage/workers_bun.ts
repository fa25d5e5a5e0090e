/**
 * Worker threads of Bun. A thread is started when a job finds none free, up to the lane's number, and ends
 * when it has been idle for a while: each costs some 20 MB.
 */

import type { Logger } from "./platform.ts";
import { decodeFailure, type FromWorker, type ToWorker } from "./worker_messages.ts";
import { cancelled, type Job, type Lane, type RunOptions, type Workers } from "./workers.ts";

const IDLE_MS = 10_000;

/** What threads are made from. */
export interface BunWorkersOptions {
  readonly logger: Logger;
  /** URL of `worker_main_bun.ts`, which a compiled file keeps beside `main.ts`. */
  readonly entry: string;
  /** The most threads at once, by lane, asked when one is needed; one where a lane is not named. */
  readonly threads?: Partial<Record<Lane, () => number>>;
}

// deno-lint-ignore no-explicit-any -- a lane holds jobs of any kind
type AnyJob = Job<any, any>;

interface Task {
  readonly job: AnyJob;
  readonly input: unknown;
  readonly options: RunOptions;
  readonly settle: (output: unknown) => void;
  readonly fail: (failure: Error) => void;
  /** Where it runs; null while it waits. */
  thread: Thread | null;
}

/** One thread and the task that it runs. */
class Thread {
  #worker: Worker;
  #task: Task | null = null;
  #idleTimer: ReturnType<typeof setTimeout> | null = null;
  readonly #logger: Logger;
  readonly #onFree: (thread: Thread) => void;
  readonly #onEnd: (thread: Thread) => void;

  constructor(
    options: {
      readonly logger: Logger;
      readonly entry: string;
      readonly onFree: (thread: Thread) => void;
      readonly onEnd: (thread: Thread) => void;
    },
  ) {
    this.#logger = options.logger;
    this.#onFree = options.onFree;
    this.#onEnd = options.onEnd;
    this.#worker = new Worker(options.entry);
    this.#worker.onmessage = ({ data }: { readonly data: FromWorker }) => this.#onMessage(data);
    this.#worker.onerror = ({ message }) => this.#onError(message);
  }

  get isFree(): boolean {
    return this.#task === null;
  }

  start(task: Task): void {
    if (this.#idleTimer !== null) clearTimeout(this.#idleTimer);
    this.#idleTimer = null;
    this.#task = task;
    task.thread = this;
    const message: ToWorker = { kind: "run", job: task.job.name, input: task.input };
    this.#worker.postMessage(message, task.options.moves ?? []);
  }

  /** Asks the job to end early. */
  cancel(): void {
    const message: ToWorker = { kind: "cancel" };
    this.#worker.postMessage(message);
  }

  end(): void {
    if (this.#idleTimer !== null) clearTimeout(this.#idleTimer);
    this.#worker.terminate();
    this.#onEnd(this);
  }

  #onMessage(message: FromWorker): void {
    const task = this.#task;
    if (task === null) return;
    if (message.kind === "progress") task.options.onProgress?.(message.value);
    else if (message.kind === "log") {
      const { level, components, message: text, fields } = message;
      components.reduce((logger, name) => logger.child(name), this.#logger)[level](text, fields);
    } else {
      if (message.kind === "output") task.settle(message.output);
      else if (task.options.signal?.aborted) task.fail(cancelled(task.job));
      else task.fail(decodeFailure(message.failure));
      this.#free();
    }
  }

  #free(): void {
    this.#task = null;
    this.#idleTimer = setTimeout(() => this.end(), IDLE_MS);
    this.#idleTimer.unref();
    this.#onFree(this);
  }

  /** An error that no job has thrown: the thread is of no use any more. */
  #onError(message: string): void {
    const task = this.#task;
    this.#task = null;
    this.end();
    task?.fail(new Error(`Cannot finish ${task.job.name}: its thread failed: ${message}`));
  }
}

/** The threads of one lane and the tasks that wait for one. */
class LaneThreads {
  readonly #maxThreads: () => number;
  readonly #options: BunWorkersOptions;
  readonly #threads = new Set<Thread>();
  readonly #tasks = new Set<Task>();

  constructor(maxThreads: () => number, options: BunWorkersOptions) {
    this.#maxThreads = maxThreads;
    this.#options = options;
  }

  add(task: Task): void {
    this.#tasks.add(task);
    this.#pump();
  }

  remove(task: Task): void {
    this.#tasks.delete(task);
  }

  cancel(task: Task): void {
    if (task.thread === null) this.#tasks.delete(task);
    else {
      task.thread.cancel();
      if (task.options.awaitsEnd) return;
    }
    task.fail(cancelled(task.job));
  }

  close(): void {
    for (const task of this.#tasks) task.fail(cancelled(task.job));
    this.#tasks.clear();
    for (const thread of this.#threads) thread.end();
  }

  #pump(): void {
    for (const task of this.#tasks) {
      if (task.thread !== null) continue;
      const thread = this.#threads.values().find(({ isFree }) => isFree) ?? this.#startThread();
      if (thread === null) return;
      thread.start(task);
    }
  }

  #startThread(): Thread | null {
    if (this.#threads.size >= this.#maxThreads()) return null;
    const thread = new Thread({
      ...this.#options,
      onFree: () => this.#pump(),
      onEnd: (ended) => {
        this.#threads.delete(ended);
        this.#pump();
      },
    });
    this.#threads.add(thread);
    return thread;
  }
}

class BunWorkers implements Workers {
  readonly #options: BunWorkersOptions;
  readonly #lanes = new Map<Lane, LaneThreads>();
  #isClosed = false;

  constructor(options: BunWorkersOptions) {
    this.#options = options;
  }

  run<Input, Output>(
    job: Job<Input, Output>,
    input: Input,
    options: RunOptions = {},
  ): Promise<Output> {
    const { signal } = options;
    if (this.#isClosed || signal?.aborted) return Promise.reject(cancelled(job));
    const { promise, resolve, reject } = Promise.withResolvers<Output>();
    const lane = this.#lane(job.lane);
    const onAbort = () => lane.cancel(task);
    const done = () => {
      lane.remove(task);
      signal?.removeEventListener("abort", onAbort);
    };
    const task: Task = {
      job,
      input,
      options,
      thread: null,
      settle: (output) => {
        done();
        resolve(output as Output);
      },
      fail: (failure) => {
        done();
        reject(failure);
      },
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    lane.add(task);
    return promise;
  }

  close(): Promise<void> {
    this.#isClosed = true;
    for (const lane of this.#lanes.values()) lane.close();
    this.#lanes.clear();
    return Promise.resolve();
  }

  #lane(name: Lane): LaneThreads {
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = new LaneThreads(this.#options.threads?.[name] ?? (() => 1), this.#options);
      this.#lanes.set(name, lane);
    }
    return lane;
  }
}

/** Worker threads that run the jobs of `jobs.ts`. Started when first needed. */
export function bunWorkers(options: BunWorkersOptions): Workers {
  return new BunWorkers(options);
}
