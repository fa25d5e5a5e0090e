import { expect, test } from "bun:test";
import type { KafkaClient } from "../../../../broker/client/kafka_client.ts";
import { Recent } from "../../../../broker/gateway/console/recent.ts";
import { SimClock } from "../../../sim/sim_clock.ts";

test("Recent: asks once for all who come within a second, and again after a failure or a change", async () => {
  const clock = new SimClock();
  const client = {} as KafkaClient;
  let asked = 0;
  let fails = false;
  const recent = new Recent(clock, () => {
    asked++;
    return fails ? Promise.reject(new Error("away")) : Promise.resolve(asked);
  });
  expect(await Promise.all([recent.get(client), recent.get(client)])).toEqual([1, 1]);
  await clock.advance(1000);
  expect(await recent.get(client)).toBe(1);
  await clock.advance(1);
  expect(await recent.get(client)).toBe(2);
  recent.forget();
  expect(await recent.get(client)).toBe(3);
  fails = true;
  recent.forget();
  expect(recent.get(client)).rejects.toThrow("away");
  fails = false;
  await clock.advance(0);
  expect(await recent.get(client)).toBe(5);
});
