/**
 * A consumer with read_committed that reads from a follower in its rack (KIP-392), beside a slow twin that knows every
 * batch and goes through all of them: nothing past what the follower knows to be committed, nothing of a transaction
 * that is open there, and what is aborted named as on the leader.
 */

import { expect, test } from "bun:test";
import assert from "node:assert/strict";
import type { Partition } from "../../../broker/partitions/partition.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { buildBatch, readRecords } from "../../../protocol/records.ts";
import {
  batches,
  isControl,
  isTransactional,
  readAttributes,
  readBaseOffset,
  readProducerId,
} from "../../../protocol/record_batch.ts";
import { offset } from "../../../protocol/types.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { batch, DataHarness, follow } from "./harness.ts";

const LEADER = 2;
const EPOCH = 4;
const SEEDS = Array.from({ length: 5 }, (_, index) => index + 1);
const BATCH_COUNT = 60;

/** A batch that was written: what it holds, and of which transaction. */
interface Written {
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly producerId: number | null;
  readonly marker: "commit" | "abort" | null;
}

/** Writes plain batches, those of three transactional producers, and markers. */
function write(partition: Partition, random: SimRandom): Written[] {
  const open = new Set<number>();
  const sequences = new Map<number, number>();
  const written: Written[] = [];
  for (let i = 0; i < BATCH_COUNT; i++) {
    const producerId = random.chance(0.3) ? null : 1 + random.below(3);
    const isEnd = producerId !== null && open.has(producerId) && random.chance(0.4);
    const marker = !isEnd ? null : random.chance(0.5) ? "commit" as const : "abort" as const;
    const producer = { producerId: producerId ?? -1, producerEpoch: 0, transactional: true };
    const count = 1 + random.below(3);
    const sequence = sequences.get(producerId ?? -1) ?? 0;
    const bytes = marker !== null
      ? buildBatch({ ...producer, control: true, records: [markerRecord(marker)] })
      : batch(count, producerId === null ? {} : { ...producer, baseSequence: sequence });
    const baseOffset = partition.log.endOffset;
    const result = partition.log.appendAsLeader(bytes, {
      leaderEpoch: 0,
      origin: marker === null ? "replication" : "coordinator",
    });
    assert.equal(result.error, ErrorCode.NONE);
    if (producerId !== null && marker === null) {
      open.add(producerId);
      sequences.set(producerId, sequence + count);
    } else if (producerId !== null) open.delete(producerId);
    written.push({ baseOffset, endOffset: partition.log.endOffset, producerId, marker });
  }
  return written;
}

function markerRecord(marker: "commit" | "abort") {
  const key = new Uint8Array([0, 0, 0, marker === "commit" ? 1 : 0]);
  return { key, value: new Uint8Array(6), timestamp: Date.UTC(2026, 0, 1) };
}

/** What somebody may read who knows the log up to its high watermark. */
function twin(written: readonly Written[], highWatermark: number) {
  const committed: number[] = [];
  const aborted: { producerId: number; firstOffset: number }[] = [];
  const open = new Map<number, Written[]>();
  for (const one of written.filter(({ endOffset }) => endOffset <= highWatermark)) {
    const { producerId, marker } = one;
    if (producerId === null) committed.push(one.baseOffset);
    else if (marker === null) open.set(producerId, [...open.get(producerId) ?? [], one]);
    else {
      const [first, ...rest] = open.get(producerId)!;
      if (marker === "abort") aborted.push({ producerId, firstOffset: first!.baseOffset });
      else committed.push(...[first!, ...rest].map(({ baseOffset }) => baseOffset));
      open.delete(producerId);
    }
  }
  const firstOpen = [...open.values()].map(([first]) => first!.baseOffset);
  const lastStableOffset = Math.min(highWatermark, ...firstOpen);
  return {
    lastStableOffset,
    // What ends past the last stable offset is named with it as soon as it begins below.
    aborted: aborted.filter(({ firstOffset }) => firstOffset < lastStableOffset)
      .sort((left, right) => left.firstOffset - right.firstOffset),
    committed: committed.filter((at) => at < lastStableOffset).sort((a, b) => a - b),
  };
}

/** What a consumer makes of an answer: base offsets of the batches of data that are not aborted. */
function consumed(
  records: Uint8Array,
  aborted: readonly { readonly producerId: number; readonly firstOffset: number }[],
): number[] {
  const coming = [...aborted].sort((left, right) => left.firstOffset - right.firstOffset);
  const skipped = new Set<number>();
  const found: number[] = [];
  for (const position of batches(records)) {
    const baseOffset = readBaseOffset(records, position);
    const producerId = readProducerId(records, position);
    const attributes = readAttributes(records, position);
    while (coming.length > 0 && coming[0]!.firstOffset <= baseOffset) {
      skipped.add(coming.shift()!.producerId);
    }
    if (isControl(attributes)) {
      const [record] = readRecords(records, position, { maxDecompressedBytes: 1_000_000 });
      if (record!.key![3] === 0) skipped.delete(producerId);
    } else if (!isTransactional(attributes) || !skipped.has(producerId)) found.push(baseOffset);
  }
  return found;
}

/** What a consumer with read_committed is told that reads from the beginning, in the rack of whom it asks. */
async function readCommitted(node: DataHarness) {
  const found = await node.fetched("t", {}, { isolationLevel: 1, rackId: "near", maxWaitMs: 0 });
  assert.equal(found.errorCode, ErrorCode.NONE);
  const aborted = found.abortedTransactions!.map(({ producerId, firstOffset }) => ({
    producerId: Number(producerId),
    firstOffset: Number(firstOffset),
  })).sort((left, right) => left.firstOffset - right.firstOffset);
  const records = found.records ?? new Uint8Array(0);
  return {
    highWatermark: Number(found.highWatermark),
    lastStableOffset: Number(found.lastStableOffset),
    aborted,
    committed: consumed(records, aborted),
    bytes: records.length,
  };
}

/** This node follows the partition, and has nothing of it. */
async function follower(): Promise<{ readonly node: DataHarness; readonly partition: Partition }> {
  const node = await DataHarness.start();
  await node.makeTopic("t");
  const partition = node.partition("t");
  follow(partition, LEADER, EPOCH);
  return { node, partition };
}

test("Fetch: read_committed from a follower is what its high watermark lets be known, as on the leader", async () => {
  for (const seed of SEEDS) {
    const random = new SimRandom(seed);
    const leader = await DataHarness.start();
    await leader.makeTopic("t");
    const written = write(leader.partition("t"), random);
    const { log } = leader.partition("t");
    // The leader commits with it all that was written.
    assert.equal((await leader.produced("t", batch(1))).errorCode, ErrorCode.NONE);
    written.push({
      baseOffset: log.endOffset - 1,
      endOffset: log.endOffset,
      producerId: null,
      marker: null,
    });
    const { node, partition } = await follower();
    let told = 0;
    for (let step = 0; partition.log.endOffset < log.endOffset || told < log.endOffset; step++) {
      if (random.chance(0.7)) {
        const read = log.read(partition.log.endOffset, { maxBytes: 300, minOneMessage: true });
        assert("records" in read);
        const result = partition.appendFromLeader(read.records, EPOCH);
        assert.equal(result.error, ErrorCode.NONE);
        read.release();
      }
      // The leader may have committed what is not here yet.
      if (random.chance(0.5)) {
        const ahead = written.filter(({ endOffset }) => endOffset > told);
        told = ahead[random.below(Math.min(10, ahead.length))]?.endOffset ?? told;
      }
      const highWatermark = offset(told);
      partition.noteLeader({ leaderEpoch: EPOCH, highWatermark, logStartOffset: offset(0) });
      await node.clock.advance(50);
      const { bytes: _, ...found } = await readCommitted(node);
      const known = Math.min(told, partition.log.endOffset);
      expect({ seed, step, ...found }).toEqual({
        seed,
        step,
        highWatermark: known,
        ...twin(written, known),
      });
    }
    expect(await readCommitted(node)).toEqual(await readCommitted(leader));
  }
});
