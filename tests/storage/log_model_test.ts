/** Random lives of a log on a simulated disk against a model. `WEIR_SEED=n` runs one seed again. */

import { expect, test } from "bun:test";
import type { Disk, DiskFile } from "../../storage/platform.ts";
import type { SimDisk } from "../sim/sim_disk.ts";
import { testSeeds } from "../sim/sim_random.ts";
import { type DiskWrapper, LogModelRun, type RunCounts } from "./log_model.ts";

const STEPS = 120;

test("Log: keeps what was synced and serves what was written, whatever happens", async () => {
  const seeds = testSeeds(60);
  const sum: RunCounts = {
    steps: 0,
    appends: 0,
    crashes: 0,
    kills: 0,
    cleanRestarts: 0,
    cutRecords: 0,
  };
  for (const seed of seeds) {
    const run = new LogModelRun(seed);
    try {
      await run.run(STEPS);
    } catch (failure) {
      const hint = `WEIR_SEED=${seed} bun test tests/storage/log_model_test.ts`;
      throw new Error(`Seed ${seed} failed: ${hint}`, { cause: failure });
    }
    for (const key of Object.keys(sum) as (keyof RunCounts)[]) sum[key] += run.counts[key];
  }
  // A run in which little happens shows little.
  expect(sum.crashes).toBeGreaterThan(seeds.length);
  expect(sum.appends).toBeGreaterThan(20 * seeds.length);
  if (seeds.length > 1) expect(sum.cutRecords).toBeGreaterThan(0);
}, 600_000);

/** A disk whose files do something else than asked. */
function withFiles(change: (file: DiskFile, path: string) => Partial<DiskFile>): DiskWrapper {
  return (disk: SimDisk): Disk =>
    new Proxy(disk, {
      get(target, key) {
        const value = Reflect.get(target, key, target);
        if (key !== "open") return typeof value === "function" ? value.bind(target) : value;
        return (path: string, mode: "read" | "write") => {
          const file = target.open(path, mode);
          const changed = change(file, path);
          return new Proxy(file, {
            get(inner, name) {
              if (Object.hasOwn(changed, name)) return changed[name as keyof DiskFile];
              const member = Reflect.get(inner, name, inner);
              return typeof member === "function" ? member.bind(inner) : member;
            },
          });
        };
      },
    });
}

const FAULTS: Record<string, DiskWrapper> = {
  "a sync that is skipped": withFiles((_file, path) =>
    path.endsWith(".log") ? { sync: () => Promise.resolve() } : {}
  ),
  "one sync in ten that is skipped": withFiles((file, path) => {
    return {
      sync: () => path.endsWith(".log") && syncs++ % 10 === 0 ? Promise.resolve() : file.sync(),
    };
  }),
  "a cut of one byte too few": withFiles((file, path) =>
    path.endsWith(".log")
      ? { truncate: (sizeBytes) => file.truncate(Math.min(sizeBytes + 1, file.sizeBytes)) }
      : {}
  ),
  "an index that is not cut": withFiles((_file, path) =>
    path.endsWith(".index") ? { truncate: () => {} } : {}
  ),
  "a directory that is not synced": (disk) =>
    new Proxy(disk, {
      get(target, key) {
        if (key === "syncDirectory") return () => Promise.resolve();
        const value = Reflect.get(target, key, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    }),
};
let syncs = 0;

for (const [name, wrap] of Object.entries(FAULTS)) {
  test(`LogModelRun: notices ${name}`, async () => {
    let failure: unknown = null;
    for (let seed = 1; seed <= 60 && failure === null; seed++) {
      await new LogModelRun(seed, wrap).run(STEPS).catch((cause: unknown) => {
        failure = cause;
      });
    }
    expect(failure).toBeInstanceOf(Error);
  }, 120_000);
}
