/** Requests between nodes, over a simulated network, to real servers. */

import { describe, expect, test } from "bun:test";
import { apiVersionsApi } from "../../../broker/apis/api_versions.ts";
import { type Api, defineApi } from "../../../broker/apis/api.ts";
import type { NetworkError } from "../../../broker/network.ts";
import { call } from "../../../broker/peers/call.ts";
import { Peers } from "../../../broker/peers/peers.ts";
import { Server } from "../../../broker/server/server.ts";
import { ApiKey } from "../../../protocol/api_keys.ts";
import {
  initProducerIdRequest,
  initProducerIdResponse,
} from "../../../protocol/schemas/init_producer_id.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimLogger } from "../../sim/sim_logger.ts";
import { SimNetwork, type SimNetworkOptions } from "../../sim/sim_network.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { CountingMetrics } from "../server/harness.ts";

const HERE = "10.0.0.1";
const THERE = "10.0.0.2";
const PORT = 9093;
const ENDPOINT = { host: THERE, port: PORT };
const CALL = call(ApiKey.InitProducerId, initProducerIdRequest, initProducerIdResponse);
const OTHER_CALL = call(ApiKey.AddOffsetsToTxn, initProducerIdRequest, initProducerIdResponse);
const TIMEOUT_MS = 1_000;

/** Two machines. A request carries a number, which its answer says again, at once or when told. */
class World {
  readonly clock = new SimClock();
  readonly random: SimRandom;
  readonly network: SimNetwork;
  readonly peers: Peers;
  /** Numbers in the order in which they came, and the connections that they came over. */
  readonly seen: number[] = [];
  readonly connectionIds = new Set<number>();
  readonly #held = new Map<number, () => void>();
  #server: Server | null = null;

  constructor({ seed = 1, ...network }: Partial<SimNetworkOptions> & { seed?: number } = {}) {
    this.random = new SimRandom(seed);
    this.network = new SimNetwork({
      clock: this.clock,
      random: this.random.fork("network"),
      ...network,
    }, HERE);
    this.peers = new Peers({
      network: this.network,
      clock: this.clock,
      random: this.random.fork("peers"),
      clientId: "node-1",
      softwareVersion: "1",
    });
  }

  serve(): void {
    const apis: Api[] = [
      apiVersionsApi({
        clusterId: "c",
        nodeId: 2,
        features: () => ({ epoch: 0, finalized: new Map(), supported: new Map() }),
        served: () => apis,
      }),
      defineApi({
        key: ApiKey.InitProducerId,
        request: initProducerIdRequest,
        response: initProducerIdResponse,
        versions: { lowest: 0, highest: 5 },
        handle: ({ transactionalId, transactionTimeoutMs: number }, context) => {
          this.seen.push(number);
          this.connectionIds.add(context.connection.id);
          const answer = { errorCode: 0, producerId: number, producerEpoch: 0 };
          if (transactionalId === null) return answer;
          return new Promise((resolve) => this.#held.set(number, () => resolve(answer)));
        },
      }),
    ];
    this.#server = new Server({
      network: this.network.host(THERE),
      clock: this.clock,
      logger: new SimLogger(),
      metrics: new CountingMetrics(),
      limits: { memoryBudgetBytes: 64_000_000, connectionShareBytes: 64_000_000 },
      apis,
    });
    this.#server.listen({ name: "CONTROLLER", host: THERE, port: PORT });
  }

  /** It stops in good order. */
  async stopServer(): Promise<void> {
    const stopped = this.#server!.stop({ deadlineMs: 10 });
    await this.clock.advance(100);
    await stopped;
  }

  release(number: number): void {
    this.#held.get(number)!();
  }

  send(number: number, { isHeld = false, channel = "", timeoutMs = TIMEOUT_MS } = {}) {
    const body = { transactionalId: isHeld ? "held" : null, transactionTimeoutMs: number };
    return this.peers.send(ENDPOINT, CALL, body, { timeoutMs, channel }).then(
      ({ producerId }) => Number(producerId),
      (failure: NetworkError) => failure.code,
    );
  }

  /** Runs until the promises are settled, or time has passed that none may take. */
  async run<T>(promise: Promise<T>, patienceMs = 10_000): Promise<T> {
    let isSettled = false;
    void promise.finally(() => isSettled = true);
    for (let ms = 0; !isSettled && ms <= patienceMs; ms++) await this.clock.advance(1);
    expect(isSettled).toBe(true);
    return await promise;
  }
}

describe("Peers.send:", () => {
  test("keeps the order of the calls, those before the connection is open too", async () => {
    const world = new World({ maxLatencyMs: 5, partialWrites: true, maxChunkBytes: 7 });
    world.serve();
    const first = [1, 2, 3].map((number) => world.send(number));
    await world.clock.advance(1);
    const second = [4, 5].map((number) => world.send(number));
    expect(await world.run(Promise.all([...first, ...second]))).toEqual([1, 2, 3, 4, 5]);
    expect(await world.run(world.send(6))).toBe(6);
    expect(world.seen).toEqual([1, 2, 3, 4, 5, 6]);
    expect(world.connectionIds.size).toBe(1);
  });

  test("a channel does not wait for another one", async () => {
    const world = new World();
    world.serve();
    const held = world.send(1, { isHeld: true, channel: "fetch", timeoutMs: 60_000 });
    expect(await world.run(world.send(2, { channel: "raft" }))).toBe(2);
    world.release(1);
    expect(await world.run(held)).toBe(1);
  });

  test("a node that is not there refuses at once, and is found when it comes up", async () => {
    const world = new World();
    expect(await world.run(world.send(1), 0)).toBe("ECONNREFUSED");
    // In the backoff nothing goes out.
    expect(await world.run(world.send(2), 0)).toBe("ECONNREFUSED");
    for (let i = 0; i < 20; i++) {
      await world.clock.advance(1_000);
      expect(await world.run(world.send(3), 0)).toBe("ECONNREFUSED");
    }
    world.serve();
    await world.clock.advance(500);
    expect(await world.run(world.send(4))).toBe(4);
  });

  test("a node that stops in good order is come back to without a pause", async () => {
    const world = new World();
    world.serve();
    expect(await world.run(world.send(1))).toBe(1);
    await world.stopServer();
    world.serve();
    expect(await world.run(world.send(2), 1)).toBe(2);
  });

  test("a node that is gone without a word is noticed by the first that is late", async () => {
    const world = new World();
    world.serve();
    expect(await world.run(world.send(1))).toBe(1);
    world.network.links.cut(THERE, HERE);
    const startMs = world.clock.monotonicMs();
    const patient = world.send(2, { timeoutMs: 60_000 });
    expect(await world.run(world.send(3, { timeoutMs: 300 }))).toBe("ETIMEDOUT");
    expect(await world.run(patient)).toBe("ETIMEDOUT");
    expect(world.clock.monotonicMs() - startMs).toBeLessThan(310);
    world.network.links.heal();
    await world.clock.advance(2_000);
    expect(await world.run(world.send(4))).toBe(4);
  });

  test("is late by its own time while a connection does not come about", async () => {
    const world = new World();
    world.serve();
    world.network.links.cut(HERE, THERE);
    const startMs = world.clock.monotonicMs();
    expect(await world.run(world.send(1, { timeoutMs: 100 }))).toBe("ETIMEDOUT");
    expect(world.clock.monotonicMs() - startMs).toBeLessThan(102);
  });

  test("refuses what is too much, and takes it again when others are answered", async () => {
    const world = new World();
    world.serve();
    const held = Array.from({ length: 1_000 }, (_, i) => (
      world.send(i, { isHeld: true, timeoutMs: 60_000 })
    ));
    await world.clock.advance(5);
    expect(await world.send(1_000)).toBe("EAGAIN");
    for (let i = 0; i < 1_000; i++) world.release(i);
    expect(await world.run(Promise.all(held))).toHaveLength(1_000);
    expect(await world.run(world.send(1_001))).toBe(1_001);
  });

  test("says which call the other node does not serve, and goes on", async () => {
    const world = new World();
    world.serve();
    const body = { transactionalId: null, transactionTimeoutMs: 1 };
    const asked = world.peers.send(ENDPOINT, OTHER_CALL, body, { timeoutMs: TIMEOUT_MS })
      .catch((failure: NetworkError) => failure.message);
    expect(await world.run(asked)).toContain("serves no version");
    expect(await world.run(world.send(1))).toBe(1);
  });

  test("is settled by its time, with its own answer, whatever the network does", async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const world = new World({
        seed,
        maxLatencyMs: 10,
        bufferBytes: 500,
        partialWrites: true,
        maxChunkBytes: 200,
      });
      const { random, network } = world;
      world.serve();
      const sent: Promise<void>[] = [];
      let answered = 0;
      for (let number = 0; number < 200; number++) {
        const timeoutMs = random.between(1, 400);
        const startMs = world.clock.monotonicMs();
        const channel = random.pick(["a", "b"]);
        sent.push(
          world.send(number, { timeoutMs, channel }).then((result) => {
            expect(world.clock.monotonicMs() - startMs).toBeLessThanOrEqual(timeoutMs + 1);
            if (typeof result === "number") expect(result).toBe(number);
            if (typeof result === "number") answered++;
          }),
        );
        if (random.chance(0.02)) {
          const connections = network.connectionsOf(HERE);
          if (connections.length > 0) random.pick(connections).reset();
        }
        if (random.chance(0.01)) network.links.cut(HERE, THERE);
        if (random.chance(0.01)) network.links.cut(THERE, HERE);
        if (random.chance(0.3)) network.links.heal();
        await world.clock.advance(random.below(30));
      }
      network.links.heal();
      await world.run(Promise.all(sent));
      expect(answered).toBeGreaterThan(20);
      await world.clock.advance(5_000);
      expect(await world.run(world.send(999, { timeoutMs: 5_000 }))).toBe(999);
      await world.run(world.peers.close());
    }
  });
});

describe("Peers.close:", () => {
  test("ends what waits, in whatever state, and leaves no timer", async () => {
    for (const isCut of [false, true]) {
      const world = new World();
      world.serve();
      if (isCut) world.network.links.cut(HERE, THERE);
      const sent = [1, 2].map((number) => world.send(number, { isHeld: true, timeoutMs: 60_000 }));
      await world.clock.advance(20);
      const timers = () => world.clock.pendingTimers;
      await world.run(world.peers.close(), 1);
      expect(await world.run(Promise.all(sent), 1)).toEqual(["", ""]);
      expect(await world.run(world.send(3), 0)).toBe("");
      await world.stopServer();
      // What the simulated network has under way ends by itself.
      await world.clock.advance(600_000);
      expect(timers()).toBe(0);
    }
  });
});
