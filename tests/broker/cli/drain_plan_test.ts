import { describe, expect, test } from "bun:test";
import {
  type DrainInput,
  type DrainPartition,
  type DrainPlan,
  planLeaderDrain,
  planReplicaDrain,
} from "../../../broker/cli/drain_plan.ts";
import { SimRandom } from "../../sim/sim_random.ts";

const NODE = 2;
const at = (
  partition: number,
  replicas: readonly number[],
  isr: readonly number[] = replicas,
  leader = replicas[0]!,
): DrainPartition => ({ topic: "t", partition, leader, replicas, isr });

const input = (partitions: readonly DrainPartition[], given: Partial<DrainInput> = {}) => ({
  node: NODE,
  brokers: [1, 2, 3, 4].map((id) => ({ id, rack: null })),
  partitions,
  minInsyncReplicas: () => 2,
  ...given,
});
const replicasOf = ({ moves }: DrainPlan) => moves.map(({ replicas }) => replicas);

describe("planLeaderDrain", () => {
  test("planLeaderDrain: what it leads or would be given back is led by others, the fewest first", () => {
    const plan = planLeaderDrain(input([
      at(0, [2, 1, 3]),
      at(1, [1, 2, 3]),
      at(2, [2, 3, 1], [1, 2, 3], 3),
      at(3, [2, 1, 3]),
      at(4, [1, 3, 4]),
    ]));
    expect(plan.problems).toEqual([]);
    expect(plan.moves.map(({ partition, replicas }) => [partition, replicas])).toEqual([
      [0, [3, 1, 2]],
      [2, [3, 1, 2]],
      [3, [1, 3, 2]],
    ]);
  });

  test("planLeaderDrain: nothing is moved where a partition would be below min.insync.replicas", () => {
    const { moves, problems } = planLeaderDrain(
      input([at(0, [2, 1, 3]), at(1, [1, 2, 3], [1, 2])]),
    );
    expect(moves).toEqual([]);
    expect(problems).toEqual(["t-1 would have 1 in-sync replicas, and needs 2"]);
  });

  test("planLeaderDrain: a partition that has one replica cannot do without it", () => {
    expect(planLeaderDrain(input([at(0, [2])])).problems).toHaveLength(1);
    expect(planLeaderDrain(input([at(0, [2, 3])], { minInsyncReplicas: () => 1 })).problems)
      .toEqual([]);
  });

  test("planLeaderDrain: who is not in sync does not lead", () => {
    const [replicas] = replicasOf(planLeaderDrain(input([at(0, [2, 1, 3, 4], [2, 3, 4])])));
    expect(replicas).toEqual([3, 1, 4, 2]);
  });
});

describe("planReplicaDrain", () => {
  test("planReplicaDrain: the newcomer is in a rack that has none of the others", () => {
    const brokers = ["a", "b", "a", "b", "a"].map((rack, i) => ({ id: i + 1, rack }));
    const [replicas] = replicasOf(planReplicaDrain(input([at(0, [1, 2])], { brokers })));
    expect(replicas).toEqual([1, 4]);
  });

  test("planReplicaDrain: too few brokers are a problem, told for each partition", () => {
    const brokers = [1, 2, 3].map((id) => ({ id, rack: null }));
    const plan = planReplicaDrain(input([at(0, [1, 2, 3]), at(1, [1, 2])], { brokers }));
    expect(plan.moves).toEqual([]);
    expect(plan.problems).toEqual([
      "t-0 has 3 replicas, and there are 2 other brokers for them",
    ]);
  });

  test("planReplicaDrain: a broker that is gone already is replaced", () => {
    const brokers = [1, 3].map((id) => ({ id, rack: null }));
    const plan = planReplicaDrain(input([at(0, [2, 1], [1], 1)], { brokers }));
    expect(replicasOf(plan)).toEqual([[1, 3]]);
  });
});

test("drain plans: of random clusters nothing is left, doubled, lost or far from even", () => {
  const random = new SimRandom(7);
  const below = (count: number) => random.uint32() % count;
  for (let round = 0; round < 300; round++) {
    const brokers = Array.from({ length: 3 + below(5) }, (_, i) => ({ id: i + 1, rack: null }));
    const partitions = Array.from({ length: below(60) }, (_, partition) => {
      const ids = brokers.map(({ id }) => id);
      const count = 1 + below(Math.min(3, ids.length - 1));
      const replicas = Array.from({ length: count }, () => ids.splice(below(ids.length), 1)[0]!);
      return at(partition, replicas);
    });
    const given = input(partitions, { brokers, minInsyncReplicas: () => 1 });
    const all = planReplicaDrain(given);
    expect(all.problems).toEqual([]);
    const after = new Map(partitions.map((one) => [one.partition, one.replicas]));
    for (const { partition, before, replicas } of all.moves) {
      expect(new Set(replicas).size).toBe(before.length);
      expect(replicas.filter((id) => !before.includes(id))).toHaveLength(1);
      after.set(partition, replicas);
    }
    expect([...after.values()].flat()).not.toContain(NODE);
    for (const { before, replicas } of planLeaderDrain(given).moves) {
      expect(replicas.toSorted()).toEqual(before.toSorted());
      expect(replicas.at(-1)).toBe(NODE);
    }
  }
});
