/** The benchmark of groups, run tiny: what it says of itself must be true, its figures are not judged here. */

import { expect, test } from "bun:test";
import { commitsBench } from "../bench/groups_bench_commits.ts";
import { loadBench } from "../bench/groups_bench_load.ts";
import { membersBench } from "../bench/groups_bench_members.ts";

const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;

for (const protocol of ["consumer", "classic"] as const) {
  test.skipIf(isExternal)(`groups_bench members: a ${protocol} group settles`, async () => {
    const figures = await membersBench({ protocol, members: 5, partitions: 7 });
    expect(figures.settledMs).toBeGreaterThan(0);
    // Each joins once at least, and hears that it has what the others have not.
    expect(figures.requests).toBeGreaterThanOrEqual(10);
  }, 60_000);
}

test.skipIf(isExternal)(
  "groups_bench commits: every commit is answered without an error",
  async () => {
    const figures = await commitsBench({
      groups: 60,
      rate: 200,
      seconds: 1,
      warmUpSeconds: 0.5,
      connections: 3,
      partitions: 2,
    });
    expect(figures.p50).toBeGreaterThan(0);
    expect(figures.max).toBeGreaterThanOrEqual(figures.p99);
  },
  60_000,
);

test.skipIf(isExternal)("groups_bench load: what was committed last is what loads", async () => {
  const [figures] = await loadBench({ megabytes: 1, groups: 120, partitions: 3, runs: 1 });
  expect(figures!.loadedMs).toBeGreaterThan(figures!.listeningMs);
}, 60_000);
