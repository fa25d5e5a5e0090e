import { describe, expect, test } from "bun:test";
import { buildBatch } from "../../protocol/records.ts";
import { scanSegment, type ScanSource } from "../../storage/recovery.ts";
import { SimRandom } from "../sim/sim_random.ts";

function source(bytes: Uint8Array): ScanSource {
  return {
    sizeBytes: bytes.length,
    readCold(position, into) {
      const piece = bytes.subarray(position, position + into.length);
      into.set(piece);
      return Promise.resolve(piece.length);
    },
  };
}

/** Batches of 2 records from offset 10 on. `starts` has the end too. */
function segment(batchCount: number, valueBytes = 300): { bytes: Uint8Array; starts: number[] } {
  const random = new SimRandom(batchCount);
  const starts = [0];
  const pieces: Uint8Array[] = [];
  for (let i = 0; i < batchCount; i++) {
    const value = random.bytes(valueBytes);
    const records = [{ key: null, value, timestamp: 5 }, { key: null, value: null, timestamp: 5 }];
    const batch = buildBatch({ records, baseOffset: 10 + 2 * i, partitionLeaderEpoch: 0 });
    pieces.push(batch);
    starts.push(starts.at(-1)! + batch.length);
  }
  return { bytes: new Uint8Array(Buffer.concat(pieces)), starts };
}

async function scan(bytes: Uint8Array, verifyFrom = 0) {
  const seen: number[] = [];
  const result = await scanSegment(source(bytes), {
    baseOffset: 10,
    verifyFrom,
    onBatch: (header) => seen.push(header.baseOffset),
  });
  return { ...result, seen };
}

describe("scanSegment:", () => {
  const { bytes, starts } = segment(8);

  test("whole batches, to the end", async () => {
    expect(await scan(bytes)).toEqual({
      validBytes: bytes.length,
      nextOffset: 26,
      doubt: null,
      end: { kind: "whole" },
      seen: [10, 12, 14, 16, 18, 20, 22, 24],
    });
  });

  test("a cut at every byte keeps the longest whole prefix and is a torn tail", async () => {
    for (let length = 0; length < bytes.length; length += 7) {
      const { validBytes, nextOffset, end } = await scan(bytes.subarray(0, length));
      const whole = starts.findLastIndex((start) => start <= length);
      expect([validBytes, nextOffset]).toEqual([starts[whole]!, 10 + 2 * whole]);
      expect(end.kind).toBe(length === starts[whole] ? "whole" : "torn");
    }
  });

  test("a flipped bit in the middle is damage, in the last batch a torn tail", async () => {
    for (let at = 17; at < bytes.length; at += 41) {
      const damaged = bytes.slice();
      damaged[at]! ^= 0x10;
      const batch = starts.findLastIndex((start) => start <= at);
      // The leader epoch is not under the checksum.
      if (at - starts[batch]! >= 12 && at - starts[batch]! < 16) continue;
      const { validBytes, end } = await scan(damaged);
      if (at - starts[batch]! < 8 && validBytes > starts[batch]!) continue;
      expect([at, validBytes]).toEqual([at, starts[batch]!]);
      expect([at, end.kind]).toEqual([at, batch === 7 ? "torn" : "damaged"]);
      if (end.kind === "damaged") expect(end.nextBatchPosition).toBe(starts[batch + 1]!);
    }
  });

  test("sectors of zeros before whole batches are lost writes", async () => {
    for (let sector = 0; sector * 512 + 512 <= starts[6]!; sector++) {
      const torn = bytes.slice();
      torn.fill(0, sector * 512, sector * 512 + 512);
      const batch = starts.findLastIndex((start) => start <= sector * 512);
      const { validBytes, end } = await scan(torn);
      expect([sector, validBytes, end.kind]).toEqual([sector, starts[batch]!, "lost"]);
    }
  });

  test("before the recovery point checksums are not computed", async () => {
    const damaged = bytes.slice();
    damaged[starts[2]! + 100]! ^= 1;
    expect((await scan(damaged, 16)).end.kind).toBe("whole");
    expect((await scan(damaged, 15)).end.kind).toBe("damaged");
  });

  test("a last batch whose offsets leave a gap is in doubt, one that is followed is not", async () => {
    const flipped = bytes.slice();
    flipped[starts[7]! + 6]! ^= 1;
    const [position, expectedOffset] = [starts[7]!, 24];
    expect((await scan(flipped)).doubt)
      .toEqual({ position, expectedOffset, baseOffset: expectedOffset + 256 });
    const hole = Buffer.concat([bytes.subarray(0, starts[3]), bytes.subarray(starts[4])]);
    expect(await scan(new Uint8Array(hole))).toMatchObject({ nextOffset: 26, doubt: null });
  });

  test("offsets and epochs that go back end the log", async () => {
    const twice = new Uint8Array(Buffer.concat([bytes, bytes]));
    expect((await scan(twice)).validBytes).toBe(bytes.length);
    const epochs = bytes.slice();
    epochs[starts[3]! + 15] = 7;
    expect((await scan(epochs)).nextOffset).toBe(18);
  });

  test("a torn batch full of what looks like headers is not searched for hours, nor cut", async () => {
    const fake = new Uint8Array(61);
    const view = new DataView(fake.buffer);
    view.setBigInt64(0, 50n);
    fake[16] = 2;
    const torn = new Uint8Array(2 * 1024 * 1024);
    for (let at = 0; at + 61 <= torn.length; at += 61) {
      view.setInt32(8, torn.length - at - 12);
      torn.set(fake, at);
    }
    const { validBytes, end } = await scan(new Uint8Array(Buffer.concat([bytes, torn])));
    expect(validBytes).toBe(bytes.length);
    expect(end.kind).toBe("damaged");
  });

  test("a batch larger than a piece is read whole", async () => {
    const large = segment(3, 1_500_000);
    expect((await scan(large.bytes)).nextOffset).toBe(16);
    large.bytes[large.starts[1]! + 1_200_000]! ^= 1;
    expect((await scan(large.bytes)).end).toEqual({
      kind: "damaged",
      nextBatchPosition: large.starts[2]!,
    });
  });

  test("any bytes: no crash, and what is kept is whole batches", async () => {
    const random = new SimRandom(11);
    for (let round = 0; round < 400; round++) {
      const copy = random.chance(0.2) ? random.bytes(random.below(2000)) : bytes.slice();
      for (let edits = random.below(5); edits > 0 && copy.length > 0; edits--) {
        const at = random.below(copy.length);
        const piece = random.chance(0.3)
          ? new Uint8Array(600)
          : random.bytes(random.between(1, 30));
        copy.set(piece.subarray(0, copy.length - at), at);
      }
      const { validBytes, seen } = await scan(copy);
      const prefix = await scan(copy.subarray(0, validBytes));
      expect([prefix.end.kind, prefix.seen]).toEqual(["whole", seen]);
    }
  });
});
