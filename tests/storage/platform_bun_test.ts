/** The real disk, in a directory of its own. */

import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { METADATA_TOPIC_ID, offset } from "../../protocol/types.ts";
import { buildBatch } from "../../protocol/records.ts";
import { DEFAULT_LOG_CONFIG } from "../../storage/log.ts";
import { LogDirectory } from "../../storage/log_directory.ts";
import { DiskError } from "../../storage/platform.ts";
import { bunClock, bunDisk, bunRandom } from "../../storage/platform_bun.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { bunWorkers } from "../../storage/workers_bun.ts";

const WORKER_ENTRY = import.meta.resolve("../../storage/worker_main_bun.ts");

const root = mkdtempSync(`${tmpdir()}/weir-storage-`);
const disk = bunDisk();
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe("bunDisk", () => {
  test("open, write, read, truncate, sync: as the interface says", async () => {
    const path = `${root}/file`;
    const file = disk.open(path, "write");
    file.write(5, new Uint8Array([1, 2, 3]));
    expect(file.sizeBytes).toBe(8);
    const into = new Uint8Array(10);
    expect(file.read(4, into)).toBe(4);
    expect([...into.subarray(0, 4)]).toEqual([0, 1, 2, 3]);
    expect(await file.readCold(6, into)).toBe(2);
    await file.sync();
    file.truncate(6);
    expect(file.read(0, into)).toBe(6);
    file.close();
    file.close();
    const again = disk.open(path, "read");
    expect(again.sizeBytes).toBe(6);
    expect(() => again.write(0, into)).toThrow(DiskError);
    again.close();
  });

  test("errors carry the errno and what was being done", () => {
    try {
      disk.open(`${root}/missing/file`, "read");
      throw new Error("it opened");
    } catch (failure) {
      expect(failure).toBeInstanceOf(DiskError);
      expect((failure as DiskError).code).toBe("ENOENT");
      expect((failure as DiskError).message).toStartWith(`Cannot open ${root}/missing/file: `);
    }
  });

  test("directories: made with parents, listed, renamed, synced, removed", async () => {
    disk.makeDirectory(`${root}/a/b`);
    disk.makeDirectory(`${root}/a/b`);
    disk.open(`${root}/a/b/x`, "write").close();
    disk.rename(`${root}/a/b/x`, `${root}/a/b/y`);
    expect(disk.list(`${root}/a/b`)).toEqual([{ name: "y", kind: "file" }]);
    await disk.syncDirectory(`${root}/a/b`);
    disk.removeDirectory(`${root}/a`);
    expect(disk.exists(`${root}/a`)).toBe(false);
    expect(disk.freeBytes(root)).toBeGreaterThan(0);
  });

  test("lock: one holder, in this process or another", () => {
    const path = `${root}/.lock`;
    const lock = disk.lock(path);
    expect(lock).not.toBeNull();
    expect(disk.lock(path)).toBeNull();
    const script = `import { bunDisk } from ${
      JSON.stringify(import.meta.dir + "/../../storage/platform_bun.ts")
    };
      process.exit(bunDisk().lock(${JSON.stringify(path)}) === null ? 7 : 0);`;
    const other = () => Bun.spawnSync([process.execPath, "-e", script]).exitCode;
    expect(other()).toBe(7);
    lock!.release();
    expect(other()).toBe(0);
  });
});

test("bunClock: a timer that is cancelled does not fire, a sleep ends with its signal", async () => {
  const clock = bunClock();
  let fired = 0;
  clock.timer(0, () => fired++).cancel();
  const controller = new AbortController();
  const sleeping = clock.sleep(1e9, controller.signal);
  controller.abort();
  await sleeping;
  await clock.sleep(1);
  expect(fired).toBe(0);
  expect(bunRandom().uint32()).toBeLessThan(2 ** 32);
});

test("bunClock: a timer of 0 comes in the next turn of the loop, between others and not a millisecond later", async () => {
  const clock = bunClock();
  const order: string[] = [];
  clock.timer(0, () => order.push("timer"));
  void Promise.resolve().then(() => order.push("promise"));
  order.push("now");
  await clock.sleep(0);
  expect(order).toEqual(["now", "promise", "timer"]);
  // As many timeouts take a second at least, on any machine.
  let count = 0;
  const stopped = clock.sleep(500).then(() => true);
  while (count < 1000 && !await Promise.race([stopped, clock.sleep(0)])) count++;
  expect(count).toBe(1000);
});

test("LogDirectory on the real disk: comes back after a stop", async () => {
  async function open(): Promise<LogDirectory> {
    return await LogDirectory.open({
      disk,
      clock: bunClock(),
      random: bunRandom(),
      logger: new SimLogger(),
      workers: bunWorkers({ logger: new SimLogger(), entry: WORKER_ENTRY }),
      path: `${root}/data`,
      nodeId: 1,
    });
  }
  const first = await open();
  const config = { ...DEFAULT_LOG_CONFIG, segmentBytes: 20_000 };
  const log = await first.createLog({ topic: "a", partition: 0 }, METADATA_TOPIC_ID, config);
  for (let i = 0; i < 100; i++) {
    const records = [{ key: null, value: new Uint8Array(500).fill(i), timestamp: Date.now() }];
    expect(log.appendAsLeader(buildBatch({ records }), { leaderEpoch: 0, origin: "client" }).error)
      .toBe(0);
  }
  await log.whenSynced(offset(100));
  await first.close();
  const second = await open();
  expect(second.hadCleanShutdown).toBe(true);
  const [found] = second.found();
  const again = await second.openLog(found!.topicPartition, found!.topicId!, config);
  expect([again.endOffset, again.segments.length]).toEqual([offset(100), log.segments.length]);
  const read = again.read(offset(99), { maxBytes: 1, minOneMessage: true });
  expect("records" in read && read.records.at(-2)).toBe(99);
  await second.close();
});

test.skipIf(process.platform !== "linux")(
  "sizeIoPool: more syncs are under way at once than there are processors, unless the environment says otherwise",
  async () => {
    const script = `
      import * as fs from "node:fs";
      import { sizeIoPool } from ${
      JSON.stringify(`${import.meta.dir}/../../storage/platform_bun.ts`)
    };
      sizeIoPool();
      const file = fs.openSync(${JSON.stringify(`${root}/pool`)}, "w");
      const sync = () => new Promise((resolve) => fs.fdatasync(file, resolve));
      const nameOf = (task) => fs.readFileSync("/proc/self/task/" + task + "/comm", "utf8");
      let most = 0;
      // Threads are made as there is work for them, and get their names a little later.
      for (let round = 0; round < 20; round++) {
        await Promise.all(Array.from({ length: 100 }, sync));
        const threads = fs.readdirSync("/proc/self/task").map(nameOf);
        most = Math.max(most, threads.filter((name) => name.startsWith("Bun Pool")).length);
      }
      console.log(most);
    `;
    await Bun.write(`${root}/pool.ts`, script);
    // One file, as the executable is: to load several, Bun uses the pool before any of them runs.
    const built = await Bun.build({
      entrypoints: [`${root}/pool.ts`],
      outdir: root,
      target: "bun",
    });
    const threadsWith = (environment: Record<string, string>) => {
      const { UV_THREADPOOL_SIZE: _, ...env } = process.env;
      const child = Bun.spawnSync([process.execPath, built.outputs[0]!.path], {
        env: { ...env, ...environment },
      });
      return Number(child.stdout.toString());
    };
    expect(threadsWith({})).toBe(8);
    expect(threadsWith({ UV_THREADPOOL_SIZE: "3" })).toBe(3);
  },
);
