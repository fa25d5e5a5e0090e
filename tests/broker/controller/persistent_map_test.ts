import { expect, test } from "bun:test";
import { PersistentMap } from "../../../broker/controller/persistent_map.ts";
import { SimRandom } from "../../sim/sim_random.ts";

test("PersistentMap: behaves as a Map under random changes, and old versions stay as they were", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SimRandom(seed);
    const twin = new Map<string, number>();
    let map = PersistentMap.empty<number>();
    const kept: { map: PersistentMap<number>; twin: Map<string, number> }[] = [];
    for (let i = 0; i < 2000; i++) {
      const key = `topic-${random.below(400)}`;
      if (random.chance(0.4)) {
        map = map.delete(key);
        twin.delete(key);
      } else {
        map = map.set(key, i);
        twin.set(key, i);
      }
      if (i % 250 === 0) kept.push({ map, twin: new Map(twin) });
    }
    kept.push({ map, twin });
    for (const version of kept) {
      expect(version.map.size).toBe(version.twin.size);
      expect(new Map(version.map.entries())).toEqual(version.twin);
      for (const [key, value] of version.twin) expect(version.map.get(key)).toBe(value);
      expect(version.map.get("absent")).toBeUndefined();
    }
  }
});

test("PersistentMap: keys of one hash live beside each other", () => {
  // FNV-1a over UTF-16 units gives both the same 32 bits.
  const [one, other] = collidingKeys();
  const map = PersistentMap.empty<string>().set(one, "one").set(other, "other").set("x", "x");
  expect([map.get(one), map.get(other), map.size]).toEqual(["one", "other", 3]);
  const without = map.delete(one);
  expect([without.get(one), without.get(other), without.size]).toEqual([undefined, "other", 2]);
  expect(without.delete(one)).toBe(without);
});

test("PersistentMap: a change among 10,000 keys shares nearly everything", () => {
  let map = PersistentMap.empty<object>();
  for (let i = 0; i < 10_000; i++) map = map.set(`topic-${i}`, {});
  const started = performance.now();
  for (let i = 0; i < 10_000; i++) map = map.set(`topic-${i}`, {});
  // Copying the map each time would take over 10 s; this takes some 20 ms.
  expect(performance.now() - started).toBeLessThan(1000);
  expect(map.size).toBe(10_000);
});

/** Two strings of equal hash, found by the birthday paradox. */
function collidingKeys(): [string, string] {
  const seen = new Map<number, string>();
  for (let i = 0;; i++) {
    const key = `k${i.toString(36)}`;
    let hash = 0x811c9dc5;
    for (let at = 0; at < key.length; at++) {
      hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
    }
    const known = seen.get(hash);
    if (known !== undefined) return [known, key];
    seen.set(hash, key);
  }
}
