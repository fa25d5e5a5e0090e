import { describe, expect, test } from "bun:test";
import type { Acceptor, Connection, Network } from "../../../broker/network.ts";
import { OwnNetwork } from "../../../broker/server/own_network.ts";
import { connectionContract } from "../network_contract.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimNetwork } from "../../sim/sim_network.ts";
import { SimRandom } from "../../sim/sim_random.ts";

const OWN = { host: "broker.example", port: 9092 };

function makeNetwork(accept: Acceptor) {
  const clock = new SimClock();
  const outside = new SimNetwork({ clock, random: new SimRandom(7) });
  return {
    clock,
    outside,
    network: new OwnNetwork({ network: outside, clock, endpoint: OWN, accept }),
  };
}

/** The pipe as a network with one port. */
function makeSubject() {
  let accept!: Acceptor;
  const { clock, network: own } = makeNetwork((link) => accept(link));
  const network: Network = {
    listen(_endpoint, acceptor) {
      accept = acceptor;
      return { ...OWN, close: () => Promise.resolve() };
    },
    connect: (_endpoint, opened) => own.connect(OWN, opened),
  };
  return {
    network,
    freePort: 9999,
    settle: <T>(promise: Promise<T>) => clock.run(promise),
    async until(isDone: () => boolean) {
      for (let i = 0; i < 1000; i++) {
        await clock.advance(1);
        if (isDone()) return;
      }
      throw new Error("nothing came of it");
    },
  };
}

connectionContract("OwnNetwork, this node", makeSubject);

describe("OwnNetwork", () => {
  const ignore = { onData() {}, onDrain() {}, onClose() {} };

  test("connect: other nodes are reached over the network", async () => {
    const { clock, outside, network } = makeNetwork(() => {
      throw new Error("not for this node");
    });
    let accepted = 0;
    outside.listen({ host: "127.0.0.1", port: 9093 }, () => {
      accepted++;
      return ignore;
    });
    await clock.run(network.connect({ host: "127.0.0.1", port: 9093 }, () => ignore));
    expect(accepted).toBe(1);
  });

  test("two ends that always have an answer leave the event loop its turns", async () => {
    let echoes = 0;
    const echo = (link: Connection) => ({
      ...ignore,
      onData(bytes: Uint8Array) {
        if (++echoes < 10_000) link.write(bytes);
      },
    });
    const { clock, network } = makeNetwork(echo);
    const link = await clock.run(network.connect(OWN, echo));
    link.write(new Uint8Array(1));
    let echoesInOneTurn = 0;
    clock.timer(0, () => echoesInOneTurn = echoes);
    await clock.advance(0);
    expect(echoes).toBe(10_000);
    expect(echoesInOneTurn).toBeGreaterThan(1);
    expect(echoesInOneTurn).toBeLessThan(100);
  });
});
