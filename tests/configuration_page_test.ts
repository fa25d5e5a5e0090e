/** docs/configuration.md and docs/metrics.md say what the code does. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { REBALANCE_CAUSES, RebalanceCounts } from "../broker/groups/rebalance.ts";
import { showCluster, showReplication } from "../broker/telemetry/cluster_metrics.ts";
import { LoopDelay } from "../broker/telemetry/loop_delay.ts";
import { Metrics } from "../broker/telemetry/metrics.ts";
import { configurationPage } from "../scripts/configuration.ts";
import { Harness } from "./broker/controller/harness.ts";
import { SimClock } from "./sim/sim_clock.ts";

const readPage = (name: string) => readFileSync(join(import.meta.dir, "..", "docs", name), "utf8");

test("docs/configuration.md: is what scripts/configuration.ts writes", () => {
  const cells = (text: string) => text.replaceAll(/[ ]+/g, " ").replaceAll(/-{3,}/g, "---");
  expect(cells(readPage("configuration.md"))).toBe(cells(configurationPage()));
});

test("docs/metrics.md: names every metric, and none that is not there", async () => {
  const clock = new SimClock();
  const usage = { startTimeSeconds: 1, residentBytes: () => 1, cpuSeconds: () => 1 };
  const metrics = new Metrics({ clock, version: "1", usage });
  metrics.watchLoop(new LoopDelay(clock));
  metrics.watchBudget({ limitBytes: 1, usedBytes: 1, waitingCount: 1 });
  metrics.watchProducers({ count: 1, forgottenCount: 1 });
  metrics.watchCleaner(() => ({
    maxDirtyPercent: 1,
    recopyPercent: 1,
    maxBufferUtilizationPercent: 1,
    maxCleanTimeSecs: 1,
    maxCompactionDelaySecs: 1,
    timeSinceLastRunMs: 1,
    uncleanablePartitionsCount: 1,
    uncleanableBytes: 1,
  }));
  metrics.watchDirectories(() => [
    { path: "/data", isOffline: false, totalBytes: 2, usableBytes: 1, arrivingCount: 0 },
  ]);
  metrics.watchIntegrity(() => ({
    damagedPlaceCount: 1,
    scrubbedBytes: 1,
    rebuiltIndexCount: 1,
    lastPassMs: 1,
  }));
  metrics.watchTransactions(() => ({
    idCount: 1,
    openCount: 1,
    endingCount: 0,
    committedCount: 1,
    abortedCount: 1,
    timedOutCount: 1,
  }));
  metrics.watchTransactionalData({ verificationFailureCount: () => 1, lateCount: () => 0 });
  metrics.watchRepairs({ repairCount: 1 });
  metrics.watchOpening({
    openingProgress: { leftCount: 0 },
    logDirectories: { recoveredBytes: 0 },
  });
  metrics.watchGroups({
    groups: () => [],
    offsets: () => [],
    rebalances: new RebalanceCounts(),
  });
  metrics.watchLifecycle({ state: 3, fencedReason: null });
  const { controller } = await Harness.start();
  showCluster(metrics, controller, 1);
  showReplication(metrics, {
    replicaManager: { partitions: () => [] },
    bytes: { sent: 0, received: 0 },
  });
  const rendering = metrics.render();
  await clock.advance(1000);
  const text = new TextDecoder().decode(await rendering);
  const served = [...text.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1]!);
  const named = firstCells("metrics.md").filter((name) => /^(weir|process)_/.test(name));
  expect(named.toSorted()).toEqual(served.toSorted());
});

test("docs/metrics.md: names every cause of a rebalance, and the types of groups that have it", () => {
  const types = (cause: string) =>
    new RegExp(`^\\| \`${cause}\` +\\| (\\S+)`, "m").exec(readPage("metrics.md"))?.[1];
  const named = firstCells("metrics.md").filter((name) => !/^(weir|process)_/.test(name));
  expect(named.toSorted()).toEqual(Object.keys(REBALANCE_CAUSES).toSorted());
  for (const [cause, of] of Object.entries(REBALANCE_CAUSES)) {
    expect(types(cause)).toBe(of.length === 2 ? "both" : of[0]);
  }
});

/** The names in the first column of a page's tables. */
function firstCells(page: string): string[] {
  return [...readPage(page).matchAll(/^\| `([a-z_]+)`/gm)].map((match) => match[1]!);
}
