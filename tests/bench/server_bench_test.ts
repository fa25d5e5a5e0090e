import { expect, test } from "bun:test";
import { SimClock } from "../sim/sim_clock.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimNetwork } from "../sim/sim_network.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { benchServer, drive } from "./server_bench.ts";

for (const isAsync of [false, true]) {
  test(`server_bench: runs tiny, ${isAsync ? "with promises" : "answered at once"}`, async () => {
    const clock = new SimClock();
    const network = new SimNetwork({ clock, random: new SimRandom(1), bufferBytes: 1000 });
    const server = benchServer({ network, clock, logger: new SimLogger(), port: 9092, isAsync });
    const runs = Promise.all(
      [30, 1].map((inFlight) => drive(network, { port: 9092, inFlight, count: 300 })),
    );
    const answered = await clock.run(runs);
    expect(answered.every((count) => count >= 300)).toBe(true);
    await clock.run(server.stop({ deadlineMs: 100 }));
    expect(server.budget.usedBytes).toBe(0);
  });
}
