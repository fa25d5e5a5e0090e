import { expect, test } from "bun:test";
import { partitionForKey } from "../../../../broker/gateway/client/client.ts";
import { partitionForKey as kafkas } from "../../../../protocol/murmur2.ts";
import { SimRandom } from "../../../sim/sim_random.ts";

test("partitionForKey: the partition that Kafka's clients choose, for keys of every length", () => {
  const random = new SimRandom(1);
  for (let length = 0; length < 40; length++) {
    for (let round = 0; round < 20; round++) {
      const key = Uint8Array.from({ length }, () => random.below(256));
      const count = 1 + random.below(50);
      expect(partitionForKey(key, count)).toBe(kafkas(key, count));
    }
  }
});
