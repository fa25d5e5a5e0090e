import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WireError } from "../../protocol/bytes.ts";
import { DiskError } from "../../storage/platform.ts";
import { removeJob } from "../../storage/removal.ts";
import { decodeFailure, encodeFailure } from "../../storage/worker_messages.ts";
import { type Job, JobCancelledError, type Workers } from "../../storage/workers.ts";
import { bunWorkers } from "../../storage/workers_bun.ts";
import { SimClock } from "../sim/sim_clock.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { SimWorkers } from "../sim/sim_workers.ts";

const WORKER_ENTRY = import.meta.resolve("../../storage/worker_main_bun.ts");

let root: string;
beforeAll(() => void (root = mkdtempSync(join(tmpdir(), "weir-workers-"))));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function fullDirectory(name: string): string {
  const path = join(root, name);
  mkdirSync(path);
  writeFileSync(join(path, "00000000000000000000.log"), "records");
  return path;
}

async function withWorkers(use: (workers: Workers) => Promise<void>): Promise<void> {
  const workers = bunWorkers({ logger: new SimLogger(), entry: WORKER_ENTRY });
  try {
    await use(workers);
  } finally {
    await workers.close();
  }
}

test("bunWorkers: run jobs on a thread, more of them than there are threads", () =>
  withWorkers(async (workers) => {
    const paths = Array.from({ length: 20 }, (_, i) => fullDirectory(`many-${i}`));
    await Promise.all(
      paths.map((path) => workers.run(removeJob, { files: [], directories: [path] })),
    );
    expect(paths.filter((path) => existsSync(path))).toEqual([]);
  }));

test("bunWorkers: a job that fails rejects with its error, and the thread goes on", () =>
  withWorkers(async (workers) => {
    const unknown: Job<null, null> = { name: "no-such-job", lane: "maintenance", run: () => null };
    await expect(workers.run(unknown, null)).rejects.toThrow("there is no such job");
    const path = fullDirectory("after-failure");
    await workers.run(removeJob, { files: [], directories: [path] });
    expect(existsSync(path)).toBe(false);
  }));

test("bunWorkers: who aborts is told at once, whether the job waits or runs", () =>
  withWorkers(async (workers) => {
    const aborted = new AbortController();
    const jobs = Array.from(
      { length: 3 },
      (_, i) =>
        workers.run(removeJob, { files: [join(root, `absent-${i}`)], directories: [] }, {
          signal: aborted.signal,
        }).catch((failure: unknown) => failure),
    );
    aborted.abort();
    for (const found of await Promise.all(jobs)) expect(found).toBeInstanceOf(JobCancelledError);
    await expect(
      workers.run(removeJob, { files: [], directories: ["x"] }, { signal: aborted.signal }),
    )
      .rejects.toThrow(JobCancelledError);
    await workers.run(removeJob, { files: [], directories: [join(root, "absent")] });
  }));

test("bunWorkers: close cancels what waits and what runs, and refuses more", async () => {
  const workers = bunWorkers({ logger: new SimLogger(), entry: WORKER_ENTRY });
  const jobs = [0, 1].map((i) =>
    workers.run(removeJob, { files: [], directories: [join(root, `closed-${i}`)] })
      .catch((failure: unknown) => failure)
  );
  await workers.close();
  for (const found of await Promise.all(jobs)) expect(found).toBeInstanceOf(JobCancelledError);
  await expect(workers.run(removeJob, { files: [], directories: ["x"] })).rejects.toThrow(
    JobCancelledError,
  );
});

test("decodeFailure: gives back the class, the code and the text", () => {
  const disk = decodeFailure(structuredClone(encodeFailure(new DiskError("Cannot read", "EIO"))));
  expect(disk).toBeInstanceOf(DiskError);
  expect(disk).toMatchObject({ message: "Cannot read", code: "EIO" });
  expect(disk).toMatchObject({ isFailedSync: false });
  const sync = new DiskError("Cannot sync", "EIO", { isFailedSync: true });
  expect(decodeFailure(structuredClone(encodeFailure(sync)))).toMatchObject({ isFailedSync: true });
  expect(decodeFailure(encodeFailure(new WireError("bad")))).toBeInstanceOf(WireError);
  const bug = decodeFailure(encodeFailure(new RangeError("ours")));
  expect(bug).toMatchObject({ name: "Error", message: "ours" });
});

test("SimWorkers: copies input and output, and moves what is named for it", async () => {
  const clock = new SimClock();
  const disk = new SimDisk({ random: new SimRandom(1) });
  const workers = new SimWorkers({ disk, clock, logger: new SimLogger() });
  const values: number[] = [];
  const reverse: Job<Uint8Array, Uint8Array> = {
    name: "reverse",
    lane: "batches",
    run(bytes, { progress }) {
      progress(bytes.length);
      return bytes.reverse();
    },
    moves: (output) => [output.buffer as ArrayBuffer],
  };
  const kept = new Uint8Array([1, 2, 3]);
  const copied = await clock.run(workers.run(reverse, kept));
  expect([...copied]).toEqual([3, 2, 1]);
  expect([...kept]).toEqual([1, 2, 3]);
  const options = { moves: [kept.buffer], onProgress: (value: number) => void values.push(value) };
  await clock.run(workers.run(reverse, kept, options));
  expect(kept.length).toBe(0);
  expect(values).toEqual([3]);
  await workers.close();
  await expect(workers.run(reverse, kept)).rejects.toThrow(JobCancelledError);
});
