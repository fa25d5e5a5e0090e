import { describe, expect, test } from "bun:test";
import { buildBatch } from "../../protocol/records.ts";
import { readLastOffset } from "../../protocol/record_batch.ts";
import { BufferPool } from "../../storage/buffer_pool.ts";
import { LiveReads } from "../../storage/live_reads.ts";

const pool = () => new BufferPool({ capBytes: 1 << 20 });

/** Three batches of one record each, offsets 10, 11 and 12, in a lent buffer. */
function threeBatches(buffers: BufferPool) {
  const batches = [10, 11, 12].map((baseOffset) =>
    buildBatch({ baseOffset, records: [{ key: null, value: new Uint8Array(100), timestamp: 1 }] })
  );
  const byteCount = batches.reduce((sum, { length }) => sum + length, 0);
  const buffer = buffers.acquire(byteCount);
  let at = 0;
  for (const batch of batches) {
    buffer.bytes.set(batch, at);
    at += batch.length;
  }
  const records = buffer.bytes.subarray(0, byteCount);
  return { read: { records, nextOffset: 13, buffer }, batchBytes: batches[0]!.length };
}

describe("LiveReads", () => {
  const { batchBytes } = threeBatches(pool());
  const cases: [string, number, boolean, number, number | null][] = [
    ["all of it", 10_000, true, 13, 3],
    ["what fits", 2 * batchBytes + 1, false, 13, 2],
    ["exactly what fits", 3 * batchBytes, false, 13, 3],
    ["the first batch, if one must be", 1, true, 13, 1],
    ["nothing of it, if none fits", 1, false, 13, null],
    ["what lies below the bound", 10_000, true, 12, 2],
    ["nothing of it, if the first batch is past the bound", 10_000, true, 10, null],
    ["nothing of it, if there may be more", 10_000, true, 14, null],
    ["its part, if there is more than it may have", 2 * batchBytes, true, 14, 2],
  ];
  for (const [title, maxBytes, minOneMessage, upToOffset, count] of cases) {
    test(`LiveReads: a second reader gets ${title}`, () => {
      const buffers = pool();
      const reads = new LiveReads();
      const first = reads.add(10, threeBatches(buffers).read);
      const second = reads.find(10, { maxBytes, minOneMessage, upToOffset });
      if (count === null) return expect(second).toBeNull();
      expect(second!.records.length).toBe(count * batchBytes);
      expect(second!.nextOffset as number).toBe(10 + count);
      expect(second!.records.buffer).toBe(first.records.buffer);
      expect(readLastOffset(second!.records, (count - 1) * batchBytes)).toBe(9 + count);
    });
  }

  test("LiveReads: the buffer goes back when the last holder lets go, once", () => {
    const buffers = pool();
    const reads = new LiveReads();
    const first = reads.add(10, threeBatches(buffers).read);
    const second = reads.find(10, { maxBytes: 10_000, minOneMessage: true, upToOffset: 13 })!;
    first.release();
    first.release();
    expect(buffers.lentBytes).toBeGreaterThan(0);
    expect(reads.size).toBe(1);
    second.release();
    expect(buffers.lentBytes).toBe(0);
    expect(reads.size).toBe(0);
    expect(reads.find(10, { maxBytes: 10_000, minOneMessage: true, upToOffset: 13 })).toBeNull();
  });

  test("LiveReads: another place, and what was cleared, is not found; its holders keep it", () => {
    const buffers = pool();
    const reads = new LiveReads();
    const first = reads.add(10, threeBatches(buffers).read);
    const bounds = { maxBytes: 10_000, minOneMessage: true, upToOffset: 13 };
    expect(reads.find(11, bounds)).toBeNull();
    reads.clear();
    expect(reads.find(10, bounds)).toBeNull();
    const fresh = reads.add(10, threeBatches(buffers).read);
    first.release();
    expect(reads.size).toBe(1);
    expect(buffers.lentBytes).toBeGreaterThan(0);
    fresh.release();
    expect(buffers.lentBytes).toBe(0);
  });
});
