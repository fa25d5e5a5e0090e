import { expect, test } from "bun:test";
import { OpeningProgress } from "../../../broker/partitions/opening_progress.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimLogger } from "../../sim/sim_logger.ts";

function makeProgress(left: number) {
  const clock = new SimClock();
  const logger = new SimLogger();
  const work = { left, recovered: 0 };
  const progress = new OpeningProgress({
    clock,
    logger,
    leftCount: () => work.left,
    recoveredBytes: () => work.recovered,
  });
  return { clock, logger, work, progress };
}

test("OpeningProgress: says how far a start has come while it lasts, and nothing once all is open", async () => {
  const { clock, logger, work, progress } = makeProgress(10);
  progress.start();
  expect(progress.reason).toBe("0 of 10 partitions are open");
  expect(progress.leftCount).toBe(10);
  work.left = 4;
  work.recovered = 2.5e9;
  expect(progress.reason).toBe("6 of 10 partitions are open; 2.50 GB were read to recover logs");
  await clock.advance(7000);
  expect(logger.lines.map(({ message }) => message)).toEqual([
    "Partitions are being opened",
    "Partitions are being opened",
  ]);
  expect(logger.lines[1]!.fields).toEqual({ open: 6, of: 10, recoveredBytes: 2.5e9, seconds: 6 });
  work.left = 0;
  progress.finish();
  expect(logger.lines.at(-1)).toMatchObject({
    message: "Partitions are open",
    fields: { of: 10, seconds: 7 },
  });
  // What opens later is no part of the start.
  work.left = 3;
  expect([progress.reason, progress.leftCount]).toEqual([null, 0]);
  progress.finish();
  expect(logger.lines.length).toBe(3);
  expect(clock.pendingTimers).toBe(0);
});

test("OpeningProgress: a start with nothing to open is over at once, and one that is given up tells no more", async () => {
  const empty = makeProgress(0);
  empty.progress.start();
  expect(empty.progress.reason).toBeNull();
  const given = makeProgress(2);
  given.progress.start();
  given.progress.close();
  await given.clock.advance(10_000);
  for (const { clock, logger } of [empty, given]) {
    expect(logger.lines).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  }
});
