import { expect, test } from "bun:test";
import type { CoordinatorLog } from "../../../broker/coordination/coordinator_log.ts";
import { GroupShard } from "../../../broker/groups/group_shard.ts";
import { CompressionCodec } from "../../../protocol/compression.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { leaderEpoch, offset, timestampMs, ZERO_UUID } from "../../../protocol/types.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimLogger } from "../../sim/sim_logger.ts";

function newShard(openLog: () => Promise<CoordinatorLog | null>) {
  const clock = new SimClock();
  const logger = new SimLogger();
  const shard = new GroupShard({
    partition: 7,
    openLog,
    inTurn: (read) => read(),
    clock,
    logger,
    settings: { maxSize: 10, initialRebalanceDelayMs: 0 },
    compression: CompressionCodec.none,
    appendTimeoutMs: 5_000,
    host: {
      joinAnswered() {},
      syncAnswered() {},
      deadlineChanged() {},
      rebalanceStarted() {},
      consumerContext: () => expect.unreachable(),
      regexesWanted: () => expect.unreachable(),
    },
  });
  return { shard, clock, logger };
}

/** A log that holds `records`, or says that it does. */
function logOf(records: Uint8Array, endOffset: number): CoordinatorLog {
  return {
    isLed: true,
    isFollowedBy: () => true,
    startOffset: 0,
    endOffset,
    append: () => expect.unreachable(),
    read: () => ({ error: ErrorCode.NONE, records, release() {} }),
  };
}

test("GroupShard.close: does not wait for a log that is still being opened", async () => {
  const { shard, clock } = newShard(() => new Promise(() => {}));
  const loading = shard.load();
  expect(shard.availability).toBe(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
  shard.close(ErrorCode.NOT_COORDINATOR);
  await clock.run(loading);
  expect(shard.availability).toBe(ErrorCode.NOT_COORDINATOR);
  expect(clock.pendingTimers).toBe(0);
});

test.each([
  ["a log that is not here", () => null],
  ["a log that ends before its end offset", () => logOf(new Uint8Array(0), 3)],
  ["a batch that is cut", () => logOf(new Uint8Array(40), 3)],
  ["a batch of zeros", () => logOf(new Uint8Array(200), 3)],
])("GroupShard.load: %s is refused, said once, and never served as empty", async (_, openLog) => {
  const { shard, clock, logger } = newShard(() => Promise.resolve(openLog()));
  await clock.run(shard.load());
  expect(shard.availability).toBe(ErrorCode.NOT_COORDINATOR);
  expect(logger.lines.filter(({ level }) => level === "error").length).toBe(1);
});

test("GroupShard.commitOffsets: what is in the log for good is shown, on however few replicas", async () => {
  const log: CoordinatorLog = {
    ...logOf(new Uint8Array(0), 0),
    append(_batch, onSettled) {
      onSettled(ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND);
      return true;
    },
  };
  const { shard, clock } = newShard(() => Promise.resolve(log));
  await clock.run(shard.load());
  const entry = shard.getOrCreate("g");
  const value = {
    offset: offset(5),
    leaderEpoch: leaderEpoch(-1),
    metadata: "",
    commitTimestampMs: timestampMs(0),
    expireTimestampMs: timestampMs(-1),
    topicId: ZERO_UUID,
  };
  let told: ErrorCode | null = null;
  shard.commitOffsets(entry, [{ topic: "t", partition: 0, value }], (error) => told = error);
  expect(told as ErrorCode | null).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  // So it is, too, once the log is read again.
  expect(entry.offsets.get("t", 0)?.offset).toBe(offset(5));
});
