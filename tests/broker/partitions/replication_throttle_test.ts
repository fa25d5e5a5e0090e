/** How much passes a throttle, over any time and in pieces of any size. */

import { expect, test } from "bun:test";
import {
  isThrottledReplica,
  ReplicationThrottle,
} from "../../../broker/partitions/replication_throttle.ts";
import { SimRandom } from "../../sim/sim_random.ts";

test("ReplicationThrottle: lets the rate pass, a second's worth and a piece more at most", () => {
  for (let seed = 0; seed < 50; seed++) {
    const random = new SimRandom(seed);
    const rate = 1000 + random.below(100_000);
    const pieceBytes = 1 + random.below(rate);
    const throttle = new ReplicationThrottle(() => rate);
    let moved = 0;
    const endMs = 60_000;
    for (let nowMs = 0; nowMs < endMs; nowMs += 1 + random.below(50)) {
      if (throttle.waitMs(nowMs) > 0) continue;
      throttle.note(pieceBytes, nowMs);
      moved += pieceBytes;
    }
    expect(moved).toBeLessThanOrEqual(rate * (endMs / 1000 + 1) + pieceBytes);
    const wanted = Math.min(rate * endMs / 1000, pieceBytes * endMs / 51);
    expect(moved).toBeGreaterThan(0.9 * wanted - pieceBytes);
  }
});

test("ReplicationThrottle: waits as long as it says, and for ever at a rate of 0", () => {
  let rate = 100;
  const throttle = new ReplicationThrottle(() => rate);
  throttle.note(500, 0);
  const waitMs = throttle.waitMs(0);
  expect(waitMs).toBe(4000);
  expect(throttle.waitMs(waitMs - 1)).toBeGreaterThan(0);
  expect(throttle.waitMs(waitMs + 1)).toBe(0);
  rate = 0;
  expect(throttle.waitMs(1e9)).toBeGreaterThan(0);
});

test("isThrottledReplica: reads the topic's list", () => {
  expect(isThrottledReplica("", 0, 1)).toBe(false);
  expect(isThrottledReplica("*", 5, 1)).toBe(true);
  expect(isThrottledReplica("0:1, 3:2", 3, 2)).toBe(true);
  expect(isThrottledReplica("0:1,3:2", 3, 1)).toBe(false);
});
