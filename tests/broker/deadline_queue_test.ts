import { expect, test } from "bun:test";
import { DeadlineQueue } from "../../broker/deadline_queue.ts";
import { SimRandom } from "../sim/sim_random.ts";

test("DeadlineQueue: gives out what is due in order, as a sorted list does", () => {
  for (let seed = 1; seed <= 50; seed++) {
    const random = new SimRandom(seed);
    const queue = new DeadlineQueue<number>();
    const twin = new Map<number, number>();
    for (let step = 0; step < 400; step++) {
      const thing = random.below(40);
      const atMs = random.chance(0.15) ? Infinity : random.below(1_000);
      queue.set(thing, atMs);
      if (atMs === Infinity) twin.delete(thing);
      else twin.set(thing, atMs);
      if (random.chance(0.3)) {
        const nowMs = random.below(1_000);
        const expected = Math.min(Infinity, ...twin.values());
        expect(queue.nextMs, `seed ${seed}`).toBe(expected);
        const due = queue.popDue(nowMs);
        if (expected > nowMs) expect(due).toBeUndefined();
        else {
          expect(twin.get(due!), `seed ${seed}`).toBe(expected);
          twin.delete(due!);
        }
      }
      expect(queue.size).toBe(twin.size);
    }
  }
});
