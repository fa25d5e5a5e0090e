import { expect, test } from "bun:test";
import { Deadlines } from "../../broker/deadlines.ts";
import { SimClock } from "../sim/sim_clock.ts";
import { SimRandom, testSeeds } from "../sim/sim_random.ts";

test.each(testSeeds(30))(
  "Deadlines: each is due in its time and once, as the last word has it, seed %i",
  async (seed) => {
    const random = new SimRandom(seed);
    const clock = new SimClock();
    const due = new Map<number, number>();
    const heard: (readonly [number, number])[] = [];
    const expected: (readonly [number, number])[] = [];
    const deadlines = new Deadlines<number>({
      clock,
      perTick: random.pick([1, 3, Infinity]),
      onDue(thing) {
        heard.push([thing, clock.monotonicMs()]);
        expected.push([thing, due.get(thing)!]);
        due.delete(thing);
      },
    });
    for (let step = 0; step < 200; step++) {
      const thing = random.below(20);
      if (random.chance(0.2)) {
        due.delete(thing);
        deadlines.delete(thing);
      } else {
        const atMs = clock.monotonicMs() + 1 + random.below(500);
        due.set(thing, atMs);
        deadlines.set(thing, atMs);
      }
      expect(deadlines.size).toBe(due.size);
      await clock.advance(random.below(50));
      expect(clock.pendingTimers).toBeLessThanOrEqual(1);
    }
    await clock.advance(1_000);
    expect(heard).toEqual(expected);
    expect([deadlines.size, due.size]).toEqual([0, 0]);
  },
);

test("Deadlines.stop: nothing is due any more, and what is left can be taken in order", async () => {
  const clock = new SimClock();
  const heard: string[] = [];
  const deadlines = new Deadlines<string>({ clock, onDue: (thing) => void heard.push(thing) });
  deadlines.set("late", clock.monotonicMs() + 20);
  deadlines.set("soon", clock.monotonicMs() + 10);
  deadlines.stop();
  deadlines.set("after", clock.monotonicMs() + 5);
  await clock.advance(100);
  expect([heard, clock.pendingTimers]).toEqual([[], 0]);
  expect([deadlines.take(), deadlines.take(), deadlines.take(), deadlines.take()])
    .toEqual(["after", "soon", "late", undefined]);
});
