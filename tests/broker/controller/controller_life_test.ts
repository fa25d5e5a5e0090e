/** Random lives of clusters (`controller_world.ts`): nobody leads without what was committed. */

import { expect, test } from "bun:test";
import { ControllerWorld } from "./controller_world.ts";

const SEEDS = Number(process.env["WEIR_CONTROLLER_SEEDS"] ?? 120);
const STEPS = 150;

test(
  `Controller: random lives of brokers and partitions keep every invariant (${SEEDS} seeds)`,
  async () => {
    const counts = new Map<string, number>();
    for (let seed = 1; seed <= SEEDS; seed++) {
      const world = await ControllerWorld.start(seed);
      try {
        for (let i = 0; i < STEPS; i++) await world.step();
      } catch (failure) {
        const story = world.story.slice(-40).join("\n");
        throw new Error(`seed ${seed}: ${String(failure)}\n${story}`, { cause: failure });
      }
      world.cluster.controller.stop();
      for (const [name, count] of world.counts) counts.set(name, (counts.get(name) ?? 0) + count);
    }
    // A life in which a kind of thing never happens shows nothing of it.
    for (const name of ["kill", "restart", "unclean", "power cut", "disk", "feature"]) {
      expect(counts.get(name) ?? 0, name).toBeGreaterThan(SEEDS / 20);
    }
  },
  120_000,
);
