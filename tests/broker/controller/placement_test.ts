import { expect, test } from "bun:test";
import { placeReplicas, type UsableBroker } from "../../../broker/controller/placement.ts";
import { SimRandom } from "../../sim/sim_random.ts";

function brokers(...racks: (string | null)[]): UsableBroker[] {
  return racks.map((rack, i) => ({ id: i + 1, rack, fenced: false }));
}

function place(
  members: readonly UsableBroker[],
  partitionCount: number,
  replicationFactor: number,
  seed = 1,
) {
  return placeReplicas(members, { partitionCount, replicationFactor }, new SimRandom(seed));
}

/** Largest difference between how often two of the brokers occur. */
function spread(members: readonly UsableBroker[], ids: readonly number[]): number {
  const counts = members.map(({ id }) => ids.filter((other) => other === id).length);
  return Math.max(...counts) - Math.min(...counts);
}

const refusals: readonly [string, UsableBroker[], number, string][] = [
  ["no replicas", brokers(null), 0, "must be positive"],
  ["more than brokers", brokers(null, null), 3, "only 2 broker(s) are registered"],
  ["no brokers", [], 1, "All brokers are currently fenced, or have all their"],
  [
    "all fenced",
    [{ id: 1, rack: null, fenced: true }],
    1,
    "All brokers are currently fenced, or have all their",
  ],
];
test.each(refusals)("placeReplicas: %s is refused", (_, members, replicationFactor, reason) => {
  const placement = place(members, 1, replicationFactor);
  expect(placement.ok).toBe(false);
  if (!placement.ok) expect(placement.reason).toContain(reason);
});

const clusters: readonly [string, UsableBroker[], number][] = [
  ["one broker", brokers(null), 1],
  ["three without racks", brokers(null, null, null), 3],
  ["five without racks, two replicas", brokers(null, null, null, null, null), 2],
  ["three racks of two", brokers("a", "a", "b", "b", "c", "c"), 3],
  ["two racks of three, three replicas", brokers("a", "a", "a", "b", "b", "b"), 3],
];
test.each(clusters)(
  "placeReplicas: %s: leaders and replicas spread evenly",
  (_, members, factor) => {
    for (let seed = 1; seed <= 30; seed++) {
      const count = members.length * 10;
      const placement = place(members, count, factor, seed);
      if (!placement.ok) throw new Error(placement.reason);
      const { assignments } = placement;
      expect(assignments.length).toBe(count);
      for (const replicas of assignments) {
        expect(replicas.length).toBe(factor);
        expect(new Set(replicas).size).toBe(factor);
      }
      expect(spread(members, assignments.map(([leader]) => leader!))).toBeLessThanOrEqual(2);
      expect(spread(members, assignments.flat())).toBeLessThanOrEqual(members.length);
    }
  },
);

test("placeReplicas: the replicas of a partition lie in as many racks as there are", () => {
  const members = brokers("a", "a", "a", "b", "c");
  const rackOf = new Map(members.map(({ id, rack }) => [id, rack]));
  for (let seed = 1; seed <= 50; seed++) {
    const placement = place(members, 20, 3, seed);
    if (!placement.ok) throw new Error(placement.reason);
    for (const replicas of placement.assignments) {
      expect(new Set(replicas.map((id) => rackOf.get(id))).size).toBe(3);
    }
  }
});

test("placeReplicas: a fenced broker is taken only when there are not enough others, and never first", () => {
  const members = brokers("a", "b", "c").map((broker) => ({ ...broker, fenced: broker.id === 2 }));
  for (let seed = 1; seed <= 50; seed++) {
    const two = place(members, 6, 2, seed);
    if (!two.ok) throw new Error(two.reason);
    expect(two.assignments.flat()).not.toContain(2);
    const three = place(members, 6, 3, seed);
    if (!three.ok) throw new Error(three.reason);
    for (const replicas of three.assignments) {
      expect(replicas[0]).not.toBe(2);
      expect(replicas).toContain(2);
    }
  }
});
