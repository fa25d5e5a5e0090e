import { expect, test } from "bun:test";
import { LAG_INTERVAL_MS } from "../../../../broker/gateway/console/lag_history.ts";
import { ConsoleWorld } from "./console_world.ts";

test("LagHistory: keeps the lag of each group, and forgets groups that are gone", async () => {
  const world = await ConsoleWorld.start();
  const { clock } = world.machine;
  await world.weir("topic create orders --partitions 1");
  await world.weir("produce orders", "1\n2\n3\n4\n5\n");
  await world.weir("consume orders --group billing --count 3");
  const lag = async () => (await world.json("/console/api/lag?id=billing")).series.lag;
  const before = (await lag()).length;
  await clock.advance(LAG_INTERVAL_MS + 1000);
  expect((await lag()).slice(before)).toEqual([2]);
  await world.weir("produce orders", "6\n");
  await clock.advance(LAG_INTERVAL_MS);
  expect((await lag()).slice(before)).toEqual([2, 3]);
  const { times, sinceSeconds, untilSeconds } = await world.json("/console/api/lag?id=billing");
  expect(times.at(-1) - times.at(-2)).toBeCloseTo(LAG_INTERVAL_MS / 1000, -1);
  expect(untilSeconds - sinceSeconds).toBe(6 * 3600);
  expect((await world.ask("/?part=groups")).text).toContain("billing");
  await world.send("/console/group/delete?id=billing", {});
  await clock.advance(LAG_INTERVAL_MS);
  expect((await lag()).every((value: number | null) => value === null)).toBeTrue();
});
