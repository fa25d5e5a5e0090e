import { expect, test } from "bun:test";
import { LatestOffsets } from "../../../broker/groups/latest_offsets.ts";
import { SimRandom } from "../../sim/sim_random.ts";

const TOMBSTONE = -1;

/** Sets a key to a value, both somewhere in the middle of other bytes; a null value is a tombstone. */
function set(latest: LatestOffsets, key: Uint8Array, value: Uint8Array | null): boolean {
  const bytes = Buffer.concat([Buffer.from("before"), key, Buffer.from("-"), value ?? Buffer.of()]);
  const valueStart = 6 + key.length + 1;
  return latest.set(bytes, 6, key.length, valueStart, value?.length ?? TOMBSTONE);
}

function contents(latest: LatestOffsets): [string, string | null][] {
  return [...latest.records()].map(({ key, value }) => [
    Buffer.from(key).toString("latin1"),
    value === null ? null : Buffer.from(value).toString("latin1"),
  ]);
}

test("LatestOffsets: does what a map does that keeps the newest value of each key", () => {
  for (let seed = 1; seed <= 15; seed++) {
    const random = new SimRandom(seed);
    const below = (bound: number) => random.uint32() % bound;
    const latest = new LatestOffsets();
    const twin = new Map<string, string | null>();
    const takenOut = new Set<string>();
    // Keys of all lengths around the four bytes that are looked at together, and more than the table begins with.
    const keys = Array.from({ length: 1 + below(600) }, (_, at) => `${"k".repeat(at % 9)}${at}`);
    for (let step = 0; step < 3000; step++) {
      const name = keys[below(4) === 0 ? below(keys.length) : step % keys.length]!;
      const key = Buffer.from(name, "latin1");
      if (below(200) === 0) {
        const found = latest.takeOut(key, 0, key.length);
        const known = takenOut.has(name) ? undefined : twin.get(name);
        const value = found?.value;
        expect(value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : value)
          .toEqual(known);
        takenOut.add(name);
        twin.delete(name);
        continue;
      }
      const value = below(5) === 0 ? null : `${step}${"v".repeat(below(20) ** 2)}`;
      const isKept = set(latest, key, value === null ? null : Buffer.from(value, "latin1"));
      expect(isKept).toBe(!takenOut.has(name));
      if (isKept) twin.set(name, value);
    }
    expect(new Map(contents(latest))).toEqual(twin);
    expect(contents(latest)).toHaveLength(twin.size);
  }
});

test("LatestOffsets: keys stay in the order in which they came first, whatever becomes of their values", () => {
  const latest = new LatestOffsets();
  const [a, b] = [Buffer.from("a"), Buffer.from("b")];
  set(latest, a, Buffer.from("1"));
  set(latest, b, Buffer.from("2"));
  set(latest, a, Buffer.from("a value that does not fit into the room of the first"));
  set(latest, b, null);
  expect(contents(latest)).toEqual([
    ["a", "a value that does not fit into the room of the first"],
    ["b", null],
  ]);
});
