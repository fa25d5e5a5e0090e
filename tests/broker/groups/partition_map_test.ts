import { expect, test } from "bun:test";
import { PartitionMap } from "../../../broker/groups/partition_map.ts";
import { SimRandom } from "../../sim/sim_random.ts";

test("PartitionMap: holds what a flat map holds, and no topic without partitions", () => {
  const random = new SimRandom(1);
  const map = new PartitionMap<number>();
  const model = new Map<string, [string, number, number]>();
  for (let step = 0; step < 2_000; step++) {
    const [topic, partition] = [random.pick(["a", "b", "c"]), random.below(4)];
    if (random.chance(0.5)) {
      map.set(topic, partition, step);
      model.set(`${topic} ${partition}`, [topic, partition, step]);
    } else {
      map.delete(topic, partition);
      model.delete(`${topic} ${partition}`);
    }
    expect(map.get(topic, partition)).toBe(model.get(`${topic} ${partition}`)?.[2]);
    expect(map.size).toBe(model.size);
    expect([...map.entries()].sort()).toEqual([...model.values()].sort());
    for (const partitions of map.topics.values()) expect(partitions.size).toBeGreaterThan(0);
  }
});
