/**
 * Garbage by seed: valid requests with flipped bits, cuts, lies in lengths and noise between them. Whatever
 * comes, the broker goes on: no handler fails, nothing stays charged, a healthy client is served.
 */

import { expect, test } from "bun:test";
import { nullApi } from "../../bench/server_bench.ts";
import { apiVersionsApi } from "../../../broker/apis/api_versions.ts";
import type { Api } from "../../../broker/apis/api.ts";
import { benchFrame } from "../../bench/server_bench.ts";
import type { SimRandom } from "../../sim/sim_random.ts";
import { concat, World } from "./harness.ts";

function served(): Api[] {
  const list: Api[] = [
    nullApi(false),
    apiVersionsApi({
      clusterId: "c",
      nodeId: 1,
      features: () => ({ epoch: 0, finalized: new Map(), supported: new Map() }),
      served: () => list,
    }),
  ];
  return list;
}

const valid = benchFrame();
const apiVersions = new Uint8Array([0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 9, 0xff, 0xff]);

function spoil(random: SimRandom): Uint8Array {
  const base = (random.uint32() % 3 === 0 ? apiVersions : valid).slice();
  const flips = random.uint32() % 4;
  for (let i = 0; i < flips; i++) {
    base[random.uint32() % base.length]! ^= 1 << (random.uint32() % 8);
  }
  switch (random.uint32() % 5) {
    case 0:
      return base.subarray(0, random.uint32() % base.length);
    case 1:
      return Uint8Array.from({ length: random.uint32() % 300 }, () => random.uint32() & 0xff);
    case 2:
      return base.with(random.uint32() % 4, random.uint32() & 0xff);
    default:
      return base;
  }
}

async function bombard(seed: number): Promise<void> {
  const world = new World({
    seed,
    apis: served(),
    network: { maxLatencyMs: 2, maxChunkBytes: 1 + seed % 200 },
    limits: { memoryBudgetBytes: 100_000, maxRequestBytes: 50_000 },
  });
  const random = world.random.fork("garbage");
  const healthy = await world.connect();
  const strangers = [];
  for (let i = 0; i < 20; i++) {
    const stranger = await world.connect();
    const parts = Array.from({ length: 1 + random.uint32() % 8 }, () => spoil(random));
    stranger.sendBytes(concat(parts));
    strangers.push(stranger);
    healthy.sendBytes(valid);
    await world.pass(random.uint32() % 3);
  }
  await world.pass(100);
  expect(healthy.answers.length).toBe(20);
  expect(world.logger.lines.filter(({ level }) => level === "error")).toEqual([]);
  expect(world.metrics.refused).not.toContain("handler_failed");
  for (const client of [healthy, ...strangers]) client.link.close();
  await world.pass(100);
  expect(world.server.connectionCount).toBe(0);
  expect(world.server.budget.usedBytes).toBe(0);
}

for (let seed = 1; seed <= 100; seed++) {
  test(`Server: goes on whatever comes, seed ${seed}`, () => bombard(seed));
}
