import { describe } from "bun:test";
import { SimClock } from "../sim/sim_clock.ts";
import { SimNetwork } from "../sim/sim_network.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { networkContract } from "./network_contract.ts";

describe("SimNetwork", () => {
  const kinds = {
    "SimNetwork, plain": {},
    "SimNetwork, bad": { maxLatencyMs: 20, maxChunkBytes: 100_000, partialWrites: true },
  };
  for (const [name, options] of Object.entries(kinds)) {
    networkContract(name, () => {
      const clock = new SimClock();
      const network = new SimNetwork({ clock, random: new SimRandom(7), ...options });
      return {
        network,
        freePort: 9999,
        settle: (promise) => clock.run(promise),
        async until(isDone) {
          for (let i = 0; i < 100_000; i++) {
            await clock.advance(20);
            if (isDone()) return;
          }
          throw new Error("nothing came of it");
        },
      };
    });
  }
});
