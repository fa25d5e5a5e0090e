import { describe, expect, test } from "bun:test";
import { WireError } from "../../protocol/bytes.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  decodeSnapshot,
  decrementSequence,
  incrementSequence,
  type ProducerBatch,
  ProducerState,
} from "../../storage/producer_state.ts";

const MAX = 0x7fff_ffff;

function batch(over: Partial<ProducerBatch> & { count?: number } = {}): ProducerBatch {
  const baseOffset = over.baseOffset ?? 0;
  return {
    producerId: 1,
    producerEpoch: 0,
    baseSequence: 0,
    baseOffset,
    lastOffset: baseOffset + (over.count ?? 1) - 1,
    maxTimestamp: 100,
    isTransactional: false,
    marker: null,
    ...over,
  };
}

describe("ProducerState.check: answers as Kafka does", () => {
  const cases: [string, ProducerBatch[], ProducerBatch, number][] = [
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
      [batch({ isTransactional: true })],
      batch({ baseSequence: 1, baseOffset: 1 }),
      ErrorCode.INVALID_TXN_STATE,
    ],
    [
      "a marker of an older coordinator",
      [
        batch({ isTransactional: true }),
        batch({ marker: { isCommit: true, coordinatorEpoch: 5 }, baseSequence: -1 }),
      ],
      batch({ marker: { isCommit: true, coordinatorEpoch: 4 }, baseSequence: -1 }),
      ErrorCode.TRANSACTION_COORDINATOR_FENCED,
    ],
  ];
  for (const [name, before, next, expected] of cases) {
    test(name, () => {
      const state = new ProducerState("orders-0");
      for (const one of before) {
        expect(state.check(one, "client")).toBeNull();
        state.update(one);
      }
      expect(state.check(next, "client")?.error ?? 0).toBe(expected as 0);
    });
  }
});

test("ProducerState.check: the coordinator's batches have no sequence, only an epoch", () => {
  const state = new ProducerState("orders-0");
  state.update(batch({ producerEpoch: 2, baseSequence: 9 }));
  const commit = batch({ producerEpoch: 2, baseSequence: -1, isTransactional: true });
  expect(state.check(commit, "coordinator")).toBeNull();
  expect(state.check({ ...commit, producerEpoch: 1 }, "coordinator")?.error)
    .toBe(ErrorCode.INVALID_PRODUCER_EPOCH);
  expect(state.check({ ...commit, producerEpoch: 1 }, "replication")).toBeNull();
});

test("ProducerState.findDuplicate: knows the last five batches, no more", () => {
  const state = new ProducerState("orders-0");
  const sent = Array.from(
    { length: 7 },
    (_, i) => batch({ baseSequence: 2 * i, baseOffset: 10 * i, count: 2 }),
  );
  for (const one of sent) state.update(one);
  const found = sent.map((one) => state.findDuplicate(one)?.lastOffset ?? null);
  expect(found).toEqual([null, null, 21, 31, 41, 51, 61]);
  expect(state.findDuplicate(batch({ baseSequence: 12, count: 1 }))).toBeNull();
  expect(state.findDuplicate(batch({ baseSequence: 12, count: 2, producerEpoch: 1 }))).toBeNull();
});

test("ProducerState: the oldest open transaction holds the stable offset", () => {
  const state = new ProducerState("orders-0");
  state.update(batch({ producerId: 1, baseOffset: 10, isTransactional: true }));
  state.update(batch({ producerId: 2, baseOffset: 20, isTransactional: true }));
  expect(state.firstUnstableOffset(30)).toBe(10);
  const marker = { isCommit: false, coordinatorEpoch: 0 };
  const completed = state.update(batch({ producerId: 1, baseOffset: 30, marker }));
  expect(completed).toEqual({ producerId: 1, firstOffset: 10, lastOffset: 30, isAborted: true });
  expect(state.lastStableOffsetAfter(completed!)).toBe(20);
  // The marker is above the high watermark: the transaction still counts as open.
  expect(state.firstUnstableOffset(30)).toBe(10);
  expect(state.firstUnstableOffset(31)).toBe(20);
  expect(state.update(batch({ producerId: 9, baseOffset: 31, marker }))).toBeNull();
});

test("ProducerState.removeExpired: spares open transactions", () => {
  const state = new ProducerState("orders-0");
  state.update(batch({ producerId: 1, maxTimestamp: 100 }));
  state.update(batch({ producerId: 2, maxTimestamp: 100, isTransactional: true }));
  state.update(batch({ producerId: 3, maxTimestamp: 150 }));
  state.removeExpired(200, 100);
  expect([...state.entries()].map(({ producerId }) => producerId)).toEqual([2, 3]);
});

describe("ProducerState snapshots", () => {
  function filled(): ProducerState {
    const state = new ProducerState("orders-0");
    state.update(
      batch({ producerId: 5, baseOffset: 40, isTransactional: true, baseSequence: MAX }),
    );
    state.update(batch({ producerId: 4, baseOffset: 30, isTransactional: true }));
    state.update(batch({ producerId: 6, baseOffset: 50, count: 3 }));
    state.update(
      batch({ producerId: 6, baseOffset: 53, marker: { isCommit: true, coordinatorEpoch: 8 } }),
    );
    return state;
  }

  test("encodeSnapshot, loadSnapshot: come back with the last batch of each producer", () => {
    const state = new ProducerState("orders-0");
    state.loadSnapshot(filled().encodeSnapshot(), 100, 1000);
    expect(state.count).toBe(3);
    expect(state.firstUnstableOffset(0)).toBe(30);
    expect(state.entry(6)).toEqual({
      producerId: 6,
      producerEpoch: 0,
      coordinatorEpoch: 8,
      lastTimestamp: 100,
      currentTxnFirstOffset: -1,
      batches: [{ lastSequence: 2, lastOffset: 52, offsetDelta: 2, timestamp: 100 }],
    });
    expect(
      state.findDuplicate(batch({ producerId: 5, baseSequence: MAX, baseOffset: 99 }))?.lastOffset,
    ).toBe(40);
  });

  test("loadSnapshot: leaves out what has expired, but for open transactions", () => {
    const state = new ProducerState("orders-0");
    state.loadSnapshot(filled().encodeSnapshot(), 5000, 1000);
    expect([...state.entries()].map(({ producerId }) => producerId).sort()).toEqual([4, 5]);
  });

  test("decodeSnapshot: refuses every cut and every flipped bit", () => {
    const bytes = filled().encodeSnapshot();
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeSnapshot(bytes.subarray(0, length))).toThrow(WireError);
    }
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = bytes.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => decodeSnapshot(damaged)).toThrow(WireError);
    }
  });

  test("encodeSnapshot: many producers take 46 bytes each", () => {
    const state = new ProducerState("orders-0");
    for (let id = 0; id < 20_000; id++) state.update(batch({ producerId: id, baseOffset: id }));
    const bytes = state.encodeSnapshot();
    expect(bytes.length).toBe(10 + 46 * 20_000);
    expect(decodeSnapshot(bytes)).toHaveLength(20_000);
  });
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
