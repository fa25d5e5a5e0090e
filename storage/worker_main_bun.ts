/** Where a worker thread begins: runs the job that it is told, one at a time. */

import { heapSize } from "bun:jsc";
import { JOBS } from "./jobs.ts";
import type { Logger } from "./platform.ts";
import { bunClock, bunDisk } from "./platform_bun.ts";
import { encodeFailure, type FromWorker, type ToWorker } from "./worker_messages.ts";
import type { WorkerLogLine } from "./worker_messages.ts";

/** The thread's own end of the wire. */
interface WorkerScope {
  postMessage(message: FromWorker, moves?: ArrayBuffer[]): void;
  onmessage: ((event: { readonly data: ToWorker }) => void) | null;
}
const scope = globalThis as unknown as WorkerScope;

function forwardingLogger(components: readonly string[]): Logger {
  const forward = (level: WorkerLogLine["level"]) =>
  (
    message: string,
    fields?: Readonly<Record<string, unknown>>,
  ) => scope.postMessage({ kind: "log", level, components, message, fields });
  return {
    debug: forward("debug"),
    info: forward("info"),
    warn: forward("warn"),
    error: forward("error"),
    child: (component) => forwardingLogger([...components, component]),
  };
}

/** Memory that a job may leave to the collector, which lets hundreds of megabytes gather by itself. */
const MAX_GARBAGE_BYTES = 32 * 1024 * 1024;

const disk = bunDisk();
const clock = bunClock();
let running = new AbortController();

async function run(name: string, input: unknown): Promise<void> {
  running = new AbortController();
  try {
    const job = JOBS.get(name);
    if (job === undefined) throw new Error(`Cannot run ${name}: there is no such job`);
    const output: unknown = await job.run(input, {
      disk,
      clock,
      logger: forwardingLogger([]),
      signal: running.signal,
      progress: (value) => scope.postMessage({ kind: "progress", value }),
    });
    scope.postMessage({ kind: "output", output }, job.moves?.(output));
  } catch (failure) {
    scope.postMessage({ kind: "failure", failure: encodeFailure(failure) });
  }
  if (heapSize() > MAX_GARBAGE_BYTES) Bun.gc(true);
}

scope.onmessage = ({ data }) => {
  if (data.kind === "cancel") running.abort();
  else void run(data.job, data.input);
};
