import { describe, expect, test } from "bun:test";
import { WireError } from "../../protocol/bytes.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { CONTROL_BIT, TRANSACTIONAL_BIT } from "../../protocol/record_batch.ts";
import { snapshotEntries } from "../../storage/producer_snapshot.ts";
import {
  decrementSequence,
  incrementSequence,
  type ProducerBatch,
  ProducerState,
  type TransactionMarker,
} from "../../storage/producer_state.ts";
import { ProducerTable } from "../../storage/producer_table.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimRandom, testSeeds } from "../sim/sim_random.ts";
import { loadWhole } from "./producer_model.ts";

const MAX = 0x7fff_ffff;
const CLIENT = { origin: "client" } as const;
const COORDINATOR = { origin: "coordinator" } as const;

interface TestBatch extends ProducerBatch {
  readonly marker: TransactionMarker | null;
}

function batch(
  over: Partial<TestBatch> & { count?: number; transactional?: boolean } = {},
): TestBatch {
  const { count = 1, transactional = false, ...rest } = over;
  return {
    producerId: 1,
    producerEpoch: 0,
    baseSequence: 0,
    baseOffset: 0,
    lastOffsetDelta: count - 1,
    maxTimestamp: 100,
    attributes: (transactional ? TRANSACTIONAL_BIT : 0) |
      (over.marker === undefined ? 0 : TRANSACTIONAL_BIT | CONTROL_BIT),
    marker: null,
    ...rest,
  };
}

function give(state: ProducerState, ...batches: TestBatch[]): void {
  for (const one of batches) state.update(one, one.marker);
}

const COMMIT = { isCommit: true, coordinatorEpoch: 0 };
const ABORT = { isCommit: false, coordinatorEpoch: 0 };

describe("ProducerState.check: answers as Kafka does", () => {
  const cases: [string, TestBatch[], TestBatch, number][] = [
    ["an unknown producer starts at 0", [], batch(), 0],
    ["an unknown producer may start anywhere", [], batch({ baseSequence: 77 }), 0],
    [
      "the next sequence follows",
      [batch({ count: 3 })],
      batch({ baseSequence: 3, baseOffset: 3 }),
      0,
    ],
    [
      "a gap",
      [batch({ count: 3 })],
      batch({ baseSequence: 4 }),
      ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    ],
    [
      "going back",
      [batch({ count: 3 })],
      batch({ baseSequence: 2 }),
      ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    ],
    [
      "the sequence wraps past 2^31 − 1",
      [batch({ baseSequence: MAX })],
      batch({ baseSequence: 0, baseOffset: 1 }),
      0,
    ],
    [
      "it wraps in the middle of a batch",
      [batch({ baseSequence: MAX - 1, count: 4 })],
      batch({ baseSequence: 2, baseOffset: 4 }),
      0,
    ],
    ["a new epoch starts at 0", [batch()], batch({ producerEpoch: 1, baseOffset: 1 }), 0],
    [
      "a new epoch does not start elsewhere",
      [batch()],
      batch({ producerEpoch: 1, baseSequence: 1 }),
      ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    ],
    [
      "an older epoch",
      [batch({ producerEpoch: 3 })],
      batch({ producerEpoch: 2 }),
      ErrorCode.INVALID_PRODUCER_EPOCH,
    ],
    [
      "outside of its open transaction",
      [batch({ transactional: true })],
      batch({ baseSequence: 1, baseOffset: 1 }),
      ErrorCode.INVALID_TXN_STATE,
    ],
    [
      "a marker of an older coordinator",
      [
        batch({ transactional: true }),
        batch({ marker: { isCommit: true, coordinatorEpoch: 5 }, baseSequence: -1, baseOffset: 1 }),
      ],
      batch({ marker: { isCommit: true, coordinatorEpoch: 4 }, baseSequence: -1, baseOffset: 2 }),
      ErrorCode.TRANSACTION_COORDINATOR_FENCED,
    ],
    [
      "a marker that raises the epoch starts its sequence anew",
      [
        batch({ transactional: true, count: 3 }),
        batch({ marker: COMMIT, producerEpoch: 1, baseSequence: -1, baseOffset: 3 }),
      ],
      batch({ producerEpoch: 1, baseSequence: 3, baseOffset: 4 }),
      ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    ],
  ];
  for (const [name, before, next, expected] of cases) {
    test(name, () => {
      const state = new ProducerState("orders-0");
      for (const one of before) {
        expect(state.check(one, one.marker, CLIENT)).toBeNull();
        state.update(one, one.marker);
      }
      expect(state.check(next, next.marker, CLIENT)?.error ?? 0).toBe(expected as 0);
    });
  }
});

test("ProducerState.check: the coordinator's batches have no sequence, only an epoch", () => {
  const state = new ProducerState("orders-0");
  give(state, batch({ producerEpoch: 2, baseSequence: 9 }));
  const offsets = batch({ producerEpoch: 2, baseSequence: -1, transactional: true });
  expect(state.check(offsets, null, COORDINATOR)).toBeNull();
  const old = { ...offsets, producerEpoch: 1 };
  expect(state.check(old, null, COORDINATOR)?.error).toBe(ErrorCode.INVALID_PRODUCER_EPOCH);
  expect(state.check(old, null, { origin: "replication" })).toBeNull();
});

test("ProducerState.check: a marker of transaction version 2 must raise the epoch", () => {
  const state = new ProducerState("orders-0");
  give(state, batch({ producerEpoch: 3, transactional: true }));
  const late = batch({ producerEpoch: 3, marker: COMMIT, baseSequence: -1, baseOffset: 1 });
  const options = { origin: "coordinator", transactionVersion: 2 } as const;
  expect(state.check(late, COMMIT, COORDINATOR)).toBeNull();
  expect(state.check(late, COMMIT, options)?.error).toBe(ErrorCode.INVALID_PRODUCER_EPOCH);
  const raised = { ...late, producerEpoch: 4 };
  expect(state.check(raised, COMMIT, options)).toBeNull();
  expect(state.update(raised, COMMIT)).not.toBeNull();
  // The coordinator did not hear the answer and sends it again: nothing is open any more.
  expect(state.check(raised, COMMIT, options)).toBeNull();
  expect(state.check(late, COMMIT, options)?.error).toBe(ErrorCode.INVALID_PRODUCER_EPOCH);
});

test("ProducerState.findDuplicate: knows the last five batches, no more", () => {
  const state = new ProducerState("orders-0");
  const sent = Array.from(
    { length: 7 },
    (_, i) => batch({ baseSequence: 2 * i, baseOffset: 10 * i, count: 2, maxTimestamp: 7 * i }),
  );
  give(state, ...sent);
  const found = sent.map((one) => state.findDuplicate(one));
  expect(found.map((one) => one?.lastOffset ?? null)).toEqual([null, null, 21, 31, 41, 51, 61]);
  expect(found.map((one) => one?.timestamp ?? null)).toEqual([null, null, 14, 21, 28, 35, 42]);
  expect(state.findDuplicate(batch({ baseSequence: 12, count: 1 }))).toBeNull();
  expect(state.findDuplicate(batch({ baseSequence: 12, count: 2, producerEpoch: 1 }))).toBeNull();
});

test("ProducerState.findDuplicate: batches that do not follow one another are not remembered together", () => {
  const state = new ProducerState("orders-0");
  // As a log is replayed whose producer had been forgotten in between.
  give(state, batch({ baseSequence: 5 }), batch({ baseSequence: 90, baseOffset: 1 }));
  expect(state.findDuplicate(batch({ baseSequence: 5 }))).toBeNull();
  expect(state.findDuplicate(batch({ baseSequence: 90 }))?.lastOffset).toBe(1);
  // Nor those that lie four billion offsets apart.
  give(state, batch({ baseSequence: 91, baseOffset: 2 + 2 ** 32 }));
  expect(state.findDuplicate(batch({ baseSequence: 90 }))).toBeNull();
  give(state, batch({ baseSequence: 92, baseOffset: 1 + 2 ** 33 }));
  expect(state.findDuplicate(batch({ baseSequence: 91 }))?.lastOffset).toBe(2 + 2 ** 32);
});

test("ProducerState: the oldest open transaction holds the stable offset", () => {
  const state = new ProducerState("orders-0");
  give(state, batch({ producerId: 1, baseOffset: 10, transactional: true }));
  give(state, batch({ producerId: 2, baseOffset: 20, transactional: true }));
  expect(state.firstUnstableOffset(30)).toBe(10);
  const completed = state.update(batch({ producerId: 1, baseOffset: 30, marker: ABORT }), ABORT);
  expect(completed).toEqual({ producerId: 1, firstOffset: 10, lastOffset: 30, isAborted: true });
  expect(state.lastStableOffsetAfter(completed!)).toBe(20);
  // The marker is above the high watermark: the transaction still counts as open.
  expect(state.firstUnstableOffset(30)).toBe(10);
  expect(state.firstUnstableOffset(31)).toBe(20);
  expect(state.update(batch({ producerId: 9, baseOffset: 31, marker: ABORT }), ABORT)).toBeNull();
});

describe("ProducerState snapshots", () => {
  function filled(): ProducerState {
    const state = new ProducerState("orders-0");
    give(
      state,
      batch({ producerId: 5, baseOffset: 30, transactional: true, baseSequence: MAX }),
      batch({ producerId: 4, baseOffset: 40, transactional: true }),
      batch({ producerId: 6, baseOffset: 50, count: 3 }),
      batch({ producerId: 6, baseOffset: 53, marker: { isCommit: true, coordinatorEpoch: 8 } }),
    );
    return state;
  }

  test("encodeSnapshot, loadSnapshot: come back with the last batch of each producer", () => {
    const state = new ProducerState("orders-0");
    loadWhole(state, filled().encodeSnapshot(), { nowMs: 100, expirationMs: 1000 });
    expect(state.count).toBe(3);
    expect(state.firstUnstableOffset(0)).toBe(30);
    expect(state.entry(6)).toEqual({
      producerId: 6,
      producerEpoch: 0,
      coordinatorEpoch: 8,
      lastTimestamp: 100,
      currentTxnFirstOffset: -1,
      lastSequence: 2,
    });
    const again = batch({ producerId: 5, baseSequence: MAX, baseOffset: 99 });
    expect(state.findDuplicate(again)?.lastOffset).toBe(30);
  });

  test("loadSnapshot: leaves out what has expired, but for open transactions", () => {
    const state = new ProducerState("orders-0");
    loadWhole(state, filled().encodeSnapshot(), { nowMs: 5000, expirationMs: 1000 });
    expect([...state.entries()].map(({ producerId }) => producerId).sort()).toEqual([4, 5]);
  });

  test("loadSnapshot: refuses every cut and every flipped bit, and is empty then", () => {
    const bytes = filled().encodeSnapshot();
    const table = new ProducerTable();
    const state = new ProducerState("orders-0", table);
    function expectRefused(damaged: Uint8Array): void {
      give(state, batch({ producerId: 77, transactional: true }));
      const load = () => loadWhole(state, damaged, { nowMs: 100, expirationMs: 1000 });
      expect(load).toThrow(WireError);
      expect(() => [...snapshotEntries(damaged)]).toThrow(WireError);
      expect([state.count, table.count, state.firstUnstableOffset(99)]).toEqual([0, 0, -1]);
    }
    for (let length = 0; length < bytes.length; length++) expectRefused(bytes.subarray(0, length));
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = bytes.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      expectRefused(damaged);
    }
  });

  test("encodeSnapshot: many producers take 46 bytes each, and are loaded in slices", () => {
    const state = new ProducerState("orders-0");
    for (let id = 0; id < 20_000; id++) give(state, batch({ producerId: id, baseOffset: id }));
    const bytes = state.encodeSnapshot();
    expect(bytes.length).toBe(10 + 46 * 20_000);
    const again = new ProducerState("orders-0");
    const slices = [...again.loadSnapshot(bytes, { nowMs: 100, expirationMs: 1000 })];
    expect(slices).toHaveLength(9);
    expect(again.count).toBe(20_000);
    expect(Buffer.compare(again.encodeSnapshot(), bytes)).toBe(0);
  });
});

test("ProducerState.beginSnapshot: stays of its moment, whatever changes before it is whole", () => {
  for (const seed of testSeeds(10)) {
    const random = new SimRandom(seed);
    const table = new ProducerTable({ capBytes: 9500 * 128 });
    const state = new ProducerState("orders-0", table);
    const other = new ProducerState("returns-0", table);
    const twin = new ProducerState("orders-0");
    for (let id = 0; id < 9000; id++) {
      const first = batch({ producerId: id, baseOffset: id, transactional: random.chance(0.1) });
      give(state, first);
      give(twin, first);
    }
    const snapshot = state.beginSnapshot();
    expect(snapshot.isWhole).toBe(false);
    for (let step = 0; step < 3000; step++) {
      const next = batch({
        producerId: random.below(20_000),
        baseSequence: 1,
        baseOffset: 10_000 + step,
        transactional: random.chance(0.1),
      });
      give(random.chance(0.7) ? state : other, next);
      if (random.chance(0.001)) snapshot.writeSlice();
    }
    if (random.chance(0.5)) {
      state.clear();
      for (let id = 0; id < 2000; id++) give(other, batch({ producerId: 50_000 + id }));
    }
    expect(table.forgottenCount).toBeGreaterThan(0);
    expect(Buffer.compare(snapshot.finish(), twin.encodeSnapshot())).toBe(0);
  }
});

describe("ProducerTable", () => {
  function expire(table: ProducerTable, nowMs: number): void {
    for (let row = 0; row >= 0;) row = table.removeExpired(row, { nowMs, expirationMs: 100 });
  }
  const ids = (state: ProducerState) =>
    [...state.entries()].map(({ producerId }) => producerId).sort((a, b) => a - b);

  test("removeExpired: spares open transactions, and a clock that goes back", () => {
    const table = new ProducerTable();
    const state = new ProducerState("orders-0", table);
    give(state, batch({ producerId: 1, maxTimestamp: 100 }));
    give(state, batch({ producerId: 2, maxTimestamp: 100, transactional: true }));
    give(state, batch({ producerId: 3, maxTimestamp: 150 }));
    for (const nowMs of [0, -1e9, 199]) expire(table, nowMs);
    expect(ids(state)).toEqual([1, 2, 3]);
    expire(table, 200);
    expect(ids(state)).toEqual([2, 3]);
    give(state, batch({ producerId: 2, baseOffset: 1, maxTimestamp: 100, marker: COMMIT }));
    expire(table, 249);
    expect(ids(state)).toEqual([3]);
  });

  test("makeRoom: forgets who was silent longest, in whatever partition, and says so once", () => {
    const logger = new SimLogger();
    const table = new ProducerTable({ capBytes: 4 * 128, logger });
    const orders = new ProducerState("orders-0", table);
    const returns = new ProducerState("returns-0", table);
    give(orders, batch({ producerId: 1, transactional: true }), batch({ producerId: 2 }));
    give(returns, batch({ producerId: 3 }), batch({ producerId: 4 }));
    give(orders, batch({ producerId: 2, baseSequence: 1, baseOffset: 1 }));
    expect(table.forgottenCount).toBe(0);
    give(orders, batch({ producerId: 5 }));
    expect([ids(orders), ids(returns)]).toEqual([[1, 2, 5], [4]]);
    give(orders, batch({ producerId: 6 }), batch({ producerId: 7 }));
    expect([ids(orders), ids(returns)]).toEqual([[1, 5, 6, 7], []]);
    expect([table.count, table.forgottenCount]).toEqual([4, 3]);
    expect(logger.lines.filter(({ level }) => level === "warn")).toHaveLength(1);
    // A forgotten producer goes on where it likes.
    expect(orders.check(batch({ producerId: 2, baseSequence: 9 }), null, CLIENT)).toBeNull();
  });

  test("makeRoom: a partition may lose its last producer to its next one", () => {
    const table = new ProducerTable({ capBytes: 128 });
    const state = new ProducerState("orders-0", table);
    for (let id = 0; id < 10; id++) {
      give(state, batch({ producerId: id }));
      expect([ids(state), table.count]).toEqual([[id], 1]);
    }
  });

  test("isFull: clients with new producers wait while every known one has a transaction open", () => {
    const table = new ProducerTable({ capBytes: 2 * 128 });
    const state = new ProducerState("orders-0", table);
    give(state, batch({ producerId: 1, transactional: true }));
    give(state, batch({ producerId: 2, baseOffset: 1, transactional: true }));
    const stranger = batch({ producerId: 3, baseOffset: 2 });
    expect(state.check(stranger, null, CLIENT)?.error).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    // What has been written elsewhere is taken note of whatever the bound says.
    expect(state.check(stranger, null, { origin: "replication" })).toBeNull();
    give(state, stranger);
    expect(table.count).toBe(3);
    give(state, batch({ producerId: 1, baseOffset: 3, marker: COMMIT }));
    expect(state.check(batch({ producerId: 4 }), null, CLIENT)).toBeNull();
    give(state, batch({ producerId: 4, baseOffset: 4 }));
    expect(table.count).toBe(3);
    expect(state.firstUnstableOffset(9)).toBe(1);
  });

  test("clear: gives every row back", () => {
    const table = new ProducerTable();
    const kept = new ProducerState("orders-0", table);
    give(kept, batch({ producerId: 7 }));
    for (let round = 0; round < 3; round++) {
      const state = new ProducerState("returns-0", table);
      for (let id = 0; id < 2000; id++) {
        give(state, batch({ producerId: id, transactional: id % 3 === 0 }));
      }
      expect(table.count).toBe(2001);
      state.clear();
      expect([table.count, state.count, state.firstUnstableOffset(0)]).toEqual([1, 0, -1]);
    }
    expect(kept.entry(7)).not.toBeNull();
  });
});

test("ProducerState.lastBatches: ids, epochs and last offsets side by side", () => {
  const state = new ProducerState("orders-0");
  give(state, batch({ producerId: 3, producerEpoch: 2, baseOffset: 10, count: 5 }));
  give(state, batch({ producerId: 9, producerEpoch: 1, baseOffset: 15, marker: COMMIT }));
  const { producerIds, producerEpochs, lastOffsets } = state.lastBatches();
  const rows = [...producerIds].map((id, at) => [id, producerEpochs[at], lastOffsets[at]]);
  expect(rows.sort()).toEqual([[3, 2, 14], [9, 1, -1]]);
});

test("incrementSequence, decrementSequence: wrap and undo each other", () => {
  for (
    const [sequence, by, sum] of [[0, 0, 0], [5, 3, 8], [MAX, 1, 0], [MAX - 1, 4, 2], [
      0,
      MAX,
      MAX,
    ]] as const
  ) {
    expect(incrementSequence(sequence, by)).toBe(sum);
    expect(decrementSequence(sum, by)).toBe(sequence);
  }
});
