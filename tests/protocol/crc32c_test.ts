import { expect, test } from "bun:test";
import { crc32c as native } from "@node-rs/crc32";
import { crc32c } from "../../protocol/crc32c.ts";

// RFC 3720 B.4, and the check value that every catalogue of CRCs gives.
const KNOWN: readonly (readonly [string, Uint8Array, number])[] = [
  ["nothing", new Uint8Array(0), 0],
  ["check value", new TextEncoder().encode("123456789"), 0xe3069283],
  ["32 zeros", new Uint8Array(32), 0x8a9136aa],
  ["32 ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ["ascending", Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
  ["descending", Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
];

for (const [name, bytes, expected] of KNOWN) {
  test(`crc32c: is Castagnoli's for ${name}`, () => {
    expect(crc32c(bytes)).toBe(expected);
  });
}

test("crc32c: pieces chained give the sum of the whole, at every cut", () => {
  const bytes = Uint8Array.from({ length: 100 }, (_, i) => i * 31);
  for (let cut = 0; cut <= bytes.length; cut++) {
    expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))).toBe(crc32c(bytes));
  }
});

test("crc32c: a view is summed, not the buffer around it", () => {
  const around = new Uint8Array(64).fill(7);
  around.set(new TextEncoder().encode("123456789"), 20);
  expect(crc32c(around.subarray(20, 29))).toBe(0xe3069283);
});

test("crc32c: is the same by tables as by the processor's instruction, at every length and place", () => {
  const bytes = Uint8Array.from({ length: 1000 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 13);
  for (let end = 0; end <= bytes.length; end++) {
    const start = end % 37;
    const range = bytes.subarray(Math.min(start, end), end);
    expect(crc32c(bytes, end, Math.min(start, end), end)).toBe(native(range, end));
  }
});

/** The shortest of many runs: other work on the machine only makes runs longer. Units: ms for each call. */
function shortest(calls: number, sum: () => number): number {
  let least = Infinity;
  for (let run = 0; run < 50; run++) {
    const startMs = performance.now();
    for (let call = 0; call < calls; call++) sum();
    least = Math.min(least, (performance.now() - startMs) / calls);
  }
  return least;
}

test("crc32c: large batches are summed in several streams at once", () => {
  const bytes = new Uint8Array(64 * 1024).fill(7);
  const short = bytes.subarray(0, 256);
  const byTables = shortest(100, () => crc32c(short)) * (bytes.length / short.length);
  const natively = shortest(20, () => crc32c(bytes));
  // One stream of the instruction comes to 6 times the tables, three of them to 17. Releases of the package differ.
  expect(byTables / natively).toBeGreaterThan(9);
});
