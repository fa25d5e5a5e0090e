/** Requests that only the active controller can answer, sent to nodes that are not it: real servers and handlers. */

import { describe, expect, test } from "bun:test";
import { controllerApis } from "../../../broker/apis/index.ts";
import { Calls } from "../../../broker/client/calls.ts";
import { Config } from "../../../broker/config/config.ts";
import { controllerSettings } from "../../../broker/controller/config_rules.ts";
import { Controller } from "../../../broker/controller/controller.ts";
import { ControllerCalls } from "../../../broker/controller/controller_calls.ts";
import { ControllerChannel } from "../../../broker/controller/controller_channel.ts";
import { METADATA_TOPIC } from "../../../broker/controller/quorum.ts";
import type { NetworkError } from "../../../broker/network.ts";
import { BrokerConnection } from "../../../broker/peers/broker_connection.ts";
import { call } from "../../../broker/peers/call.ts";
import { Peers } from "../../../broker/peers/peers.ts";
import { addressBytes, forwarding } from "../../../broker/server/forwarding.ts";
import { Server } from "../../../broker/server/server.ts";
import { Reader, Writer } from "../../../protocol/bytes.ts";
import { codec } from "../../../protocol/compile.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { decodeResponseHeader, encodeRequestHeader } from "../../../protocol/headers.ts";
import type { Message } from "../../../protocol/schema.ts";
import { requestByApiKey, responseByApiKey } from "../../../protocol/schemas/index.ts";
import { defaultPrincipalData } from "../../../protocol/schemas/records/principal.ts";
import { leaderEpoch } from "../../../protocol/types.ts";
import { CLUSTER_ID, openMetadataLog, registerBroker } from "../controller/harness.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimDisk } from "../../sim/sim_disk.ts";
import { SimLogger } from "../../sim/sim_logger.ts";
import { SimNetwork } from "../../sim/sim_network.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { randomValue } from "../../protocol/random_values.ts";

const BROKER_PORT = 9092;
const CONTROLLER_PORT = 9093;
const REQUEST_TIMEOUT_MS = 5_000;
const address = (id: number) => `10.0.0.${id}`;

/** A node with its own controller, which leads when the world says so. */
interface Node {
  readonly controller: Controller;
  readonly channel: ControllerChannel;
}

/** Two nodes whose logs have nothing to do with each other: who leads is said, not elected. */
class World {
  readonly clock = new SimClock();
  readonly random = new SimRandom(1);
  readonly network = new SimNetwork({ clock: this.clock, random: this.random, maxLatencyMs: 2 });
  readonly nodes = new Map<number, Node>();
  #epoch = 10;

  static async start(): Promise<World> {
    const world = new World();
    for (const id of [1, 2]) world.nodes.set(id, await world.#start(id));
    world.lead(1);
    return world;
  }

  node(id: number): Node {
    return this.nodes.get(id)!;
  }

  /** From now on that node leads, or nobody for −1, as all nodes know. */
  lead(id: number): void {
    this.#epoch++;
    for (const { controller } of this.nodes.values()) {
      controller.handleLeaderChange(id, leaderEpoch(this.#epoch));
    }
  }

  async #start(id: number): Promise<Node> {
    const { clock } = this;
    const random = this.random.fork(`node ${id}`);
    const logger = new SimLogger();
    const disk = new SimDisk({ random: random.fork("disk") });
    disk.makeDirectory(`/data/${METADATA_TOPIC}-0`);
    // Nobody sends heartbeats here.
    const config = Config.load({ flags: { "broker.session.timeout.ms": "86400000" } });
    const controller = await clock.run(
      openMetadataLog(disk, clock, logger).then((log) =>
        Controller.start({
          disk,
          clock,
          logger,
          log,
          nodeId: id,
          clusterId: CLUSTER_ID,
          random: random.fork("controller"),
          settings: controllerSettings(config),
          onFailure: () => {},
        })
      ),
    );
    await clock.run(registerBroker(controller, {
      brokerId: id,
      random,
      endpoints: [{
        name: "PLAINTEXT",
        host: address(id),
        port: BROKER_PORT,
        securityProtocol: 0,
      }],
    }));
    const network = this.network.host(address(id));
    const peers = new Peers({ network, clock, random, clientId: "n", softwareVersion: "1" });
    const handlers = controllerApis({ clusterId: CLUSTER_ID, nodeId: id, config, controller });
    const channel = new ControllerChannel({
      clock,
      random: random.fork("channel"),
      peers,
      active: {
        get isActive() {
          return controller.isActive;
        },
        get endpoint() {
          const { controllerId } = controller;
          const isKnown = controllerId !== -1 && controllerId !== id;
          return isKnown ? { host: address(controllerId), port: CONTROLLER_PORT } : null;
        },
        onChange: (changed) => controller.onChange(changed),
      },
      handlers,
      clientId: `node-${id}`,
    });
    const server = new Server({ network, clock, logger, apis: handlers });
    server.listen({ name: "CONTROLLER", host: address(id), port: CONTROLLER_PORT });
    const forwarded = forwarding(handlers, { channel, timeoutMs: () => REQUEST_TIMEOUT_MS });
    server.listen({ name: "PLAINTEXT", host: address(id), port: BROKER_PORT, apis: forwarded });
    return { controller, channel };
  }

  /** A client of a node. */
  async client(id: number, port = BROKER_PORT): Promise<BrokerConnection> {
    return await this.clock.run(BrokerConnection.open({
      network: this.network.host("10.0.0.9"),
      clock: this.clock,
      endpoint: { host: address(id), port },
      clientId: "client",
      requestTimeoutMs: 60_000,
      softwareVersion: "1",
    }));
  }

  topicsOf(id: number): string[] {
    return [...this.node(id).controller.image().topics()].map(({ name }) => name).toSorted();
  }
}

const topics = (...names: string[]) => ({
  topics: names.map((name) => ({
    name,
    numPartitions: 1,
    replicationFactor: 1,
    assignments: [],
    configs: [],
  })),
  timeoutMs: 1_000,
  validateOnly: false,
});

describe("forwarding", () => {
  test("a node that does not lead: the active controller does it, the client sees no difference", async () => {
    const world = await World.start();
    const there = await world.client(1);
    const here = await world.client(2);
    for (let version = 2; version <= 7; version++) {
      const create = { ...Calls.createTopics, highest: version };
      const direct = await world.clock.run(there.request(create, topics(`direct-${version}`)));
      const asked = await world.clock.run(here.request(create, topics(`asked-${version}`)));
      const comparable = (answer: typeof direct) =>
        answer.topics.map((topic) => ({ ...topic, topicId: "", name: "" }));
      expect(comparable(asked)).toEqual(comparable(direct));
      expect(asked.topics[0]!.errorCode).toBe(ErrorCode.NONE);
    }
    expect(world.topicsOf(1)).toHaveLength(12);
    expect(world.topicsOf(2)).toEqual([]);
  });

  test("one node that leads: nothing goes over the network", async () => {
    const world = await World.start();
    const client = await world.client(1);
    const before = world.network.openEnds;
    await world.clock.run(client.request(Calls.createTopics, topics("a")));
    expect(world.topicsOf(1)).toEqual(["a"]);
    expect(world.network.openEnds).toBe(before);
  });

  test("answers leave in the order of the requests, forwarded or not", async () => {
    const world = await World.start();
    const client = await world.client(2);
    const order: string[] = [];
    const configs = {
      resources: [{ resourceType: 4, resourceName: "2", configurationKeys: ["node.id"] }],
      includeSynonyms: false,
      includeDocumentation: false,
    };
    await world.clock.run(Promise.all([
      client.request(Calls.createTopics, topics("a")).then(() => order.push("create a")),
      client.request(Calls.describeConfigs, configs).then(() => order.push("describe")),
      client.request(Calls.createTopics, topics("b")).then(() => order.push("create b")),
    ]));
    expect(order).toEqual(["create a", "describe", "create b"]);
    expect(world.topicsOf(1)).toEqual(["a", "b"]);
  });

  test("nobody leads for a while: the request waits", async () => {
    const world = await World.start();
    const client = await world.client(2);
    world.lead(-1);
    const created = client.request(Calls.createTopics, topics("a"));
    await world.clock.advance(1_000);
    world.lead(1);
    expect((await world.clock.run(created)).topics[0]!.errorCode).toBe(ErrorCode.NONE);
    expect(world.topicsOf(1)).toEqual(["a"]);
  });

  test("NOT_CONTROLLER of the node that was asked: the new one is asked, the client hears nothing", async () => {
    const world = await World.start();
    const client = await world.client(2);
    // Only the first node knows that it leads no more.
    world.node(1).controller.handleLeaderChange(-1, leaderEpoch(50));
    const created = client.request(Calls.createTopics, topics("a"));
    await world.clock.advance(300);
    world.lead(2);
    expect((await world.clock.run(created)).topics[0]!.errorCode).toBe(ErrorCode.NONE);
    expect(world.topicsOf(1)).toEqual([]);
    expect(world.topicsOf(2)).toEqual(["a"]);
  });

  test("a controller that vanished without a word: the next one is asked as soon as it leads", async () => {
    const world = await World.start();
    const client = await world.client(2);
    await world.clock.run(client.request(Calls.createTopics, topics("a")));
    world.network.links.cut(address(1), address(2));
    const created = client.request(Calls.createTopics, topics("b"));
    await world.clock.advance(1_000);
    const startMs = world.clock.monotonicMs();
    world.lead(2);
    expect((await world.clock.run(created)).topics[0]!.errorCode).toBe(ErrorCode.NONE);
    expect(world.clock.monotonicMs() - startMs).toBeLessThan(100);
    expect(world.topicsOf(2)).toEqual(["b"]);
  });

  test("a node that loses the lead while it works: the request goes on to the next", async () => {
    const world = await World.start();
    const client = await world.client(1);
    const created = client.request(Calls.createTopics, topics("a"));
    const { controller } = world.node(1);
    const stop = controller.subscribe(() => {});
    controller.handleLeaderChange(2, leaderEpoch(60));
    world.node(2).controller.handleLeaderChange(2, leaderEpoch(60));
    stop();
    expect((await world.clock.run(created)).topics[0]!.errorCode).toBe(ErrorCode.NONE);
    expect(world.topicsOf(2)).toEqual(["a"]);
  });

  test("no controller in time: every API says NOT_CONTROLLER, in its own form", async () => {
    const world = await World.start();
    world.lead(-1);
    const client = await world.client(2);
    const startMs = world.clock.monotonicMs();
    const created = await world.clock.run(
      client.request(Calls.createTopics, topics("a", "a", "b")),
    );
    expect(created.topics.map(({ errorCode }) => errorCode)).toEqual(
      created.topics.map(() => ErrorCode.NOT_CONTROLLER),
    );
    const waitedMs = world.clock.monotonicMs() - startMs;
    expect(waitedMs).toBeGreaterThanOrEqual(REQUEST_TIMEOUT_MS);
    expect(waitedMs).toBeLessThan(REQUEST_TIMEOUT_MS + 1_000);
    expect(world.topicsOf(2)).toEqual([]);
  });

  test("every API that is forwarded: any request is answered as a client can read it", async () => {
    const world = await World.start();
    const random = new SimRandom(7);
    const forwarded = controllerApis({} as never).filter(({ isForwarded }) => isForwarded);
    expect(forwarded.length).toBeGreaterThanOrEqual(10);
    const client = await world.client(2);
    for (const { key, versions } of forwarded) {
      const request = requestByApiKey.get(key)!;
      const response = responseByApiKey.get(key)!;
      for (let version = versions.lowest; version <= versions.highest; version++) {
        const at = { ...call(key, request, response), lowest: version, highest: version };
        const body = randomValue(random, request, version) as never;
        const answer = await world.clock.run(client.request(at, body));
        expect(answer).toBeObject();
      }
    }
  });
});

describe("ControllerChannel.call", () => {
  const heartbeat = {
    brokerId: 2,
    brokerEpoch: 0,
    currentMetadataOffset: 0,
    wantFence: false,
    wantShutDown: false,
    offlineLogDirs: [],
    cordonedLogDirs: null,
  };

  test("this node leads: its own handlers answer", async () => {
    const world = await World.start();
    const { channel } = world.node(1);
    const answer = await world.clock.run(
      channel.call(ControllerCalls.allocateProducerIds, { brokerId: 1, brokerEpoch: 0 }, {
        timeoutMs: 100,
      }),
    );
    expect(answer.producerIdLen + answer.errorCode).toBeGreaterThan(0);
    expect(world.network.openEnds).toBe(0);
  });

  test("another node leads: it answers, with its own errors", async () => {
    const world = await World.start();
    const { channel } = world.node(2);
    const answer = await world.clock.run(
      channel.call(ControllerCalls.brokerHeartbeat, heartbeat, { timeoutMs: 1_000 }),
    );
    expect(answer.errorCode).not.toBe(ErrorCode.NONE);
    expect(answer.errorCode).not.toBe(ErrorCode.NOT_CONTROLLER);
  });

  test("nobody in time: ETIMEDOUT, and no earlier than asked", async () => {
    const world = await World.start();
    world.lead(-1);
    const startMs = world.clock.monotonicMs();
    const failure = await world.clock.run(
      world.node(2).channel.call(ControllerCalls.brokerHeartbeat, heartbeat, { timeoutMs: 700 })
        .catch((error: NetworkError) => error),
    );
    expect(failure).toMatchObject({ name: "NetworkError", code: "ETIMEDOUT" });
    expect(world.clock.monotonicMs() - startMs).toBeCloseTo(700, 0);
  });

  test("close: what waits ends at once, and later calls are refused", async () => {
    const world = await World.start();
    world.lead(-1);
    const { channel } = world.node(2);
    const ask = () =>
      channel.call(ControllerCalls.brokerHeartbeat, heartbeat, { timeoutMs: 60_000 })
        .catch((error: NetworkError) => error);
    const waiting = ask();
    await world.clock.advance(100);
    const startMs = world.clock.monotonicMs();
    channel.close();
    expect(await world.clock.run(waiting)).toMatchObject({ name: "NetworkError", code: "" });
    expect(await world.clock.run(ask())).toMatchObject({ name: "NetworkError", code: "" });
    expect(world.clock.monotonicMs()).toBe(startMs);
  });
});

describe("Envelope", () => {
  const principal = () => {
    const writer = new Writer();
    writer.int16(0);
    codec(defaultPrincipalData, 0).encode(writer, {
      type: "User",
      name: "ANONYMOUS",
      tokenAuthenticated: false,
    });
    return writer.finish();
  };
  const embedded = (apiKey: number, apiVersion: number, body: Uint8Array) => {
    const writer = new Writer();
    encodeRequestHeader(writer, { apiKey, apiVersion, correlationId: 77, clientId: "c" });
    writer.raw(body);
    return writer.finish();
  };
  const encoded = (message: Message, version: number, body: object) => {
    const writer = new Writer();
    codec(message, version).encode(writer, body as never);
    return writer.finish();
  };
  const create = embedded(19, 7, encoded(Calls.createTopics.request, 7, topics("a")));

  test("what is not to be opened is refused, each with its own code", async () => {
    const world = await World.start();
    const client = await world.client(1, CONTROLLER_PORT);
    const good = {
      requestData: create,
      requestPrincipal: principal(),
      clientHostAddress: addressBytes("10.0.0.9"),
    };
    const cases: [string, Partial<typeof good> | { requestPrincipal: null }, number][] = [
      ["no principal", { requestPrincipal: null }, ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE],
      [
        "a principal cut short",
        { requestPrincipal: principal().subarray(0, 4) },
        ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE,
      ],
      ["no address", { clientHostAddress: new Uint8Array(5) }, ErrorCode.INVALID_REQUEST],
      ["no header", { requestData: new Uint8Array(3) }, ErrorCode.UNSUPPORTED_VERSION],
      [
        "an API that is not forwarded",
        { requestData: embedded(62, 0, new Uint8Array(0)) },
        ErrorCode.INVALID_REQUEST,
      ],
      [
        "an envelope in an envelope",
        { requestData: embedded(58, 0, new Uint8Array(0)) },
        ErrorCode.INVALID_REQUEST,
      ],
      [
        "a version that is not served",
        { requestData: embedded(19, 99, new Uint8Array(0)) },
        ErrorCode.UNSUPPORTED_VERSION,
      ],
      [
        "a body cut short",
        { requestData: create.subarray(0, create.length - 3) },
        ErrorCode.UNSUPPORTED_VERSION,
      ],
    ];
    for (const [name, wrong, code] of cases) {
      const answer = await world.clock.run(
        client.request(ControllerCalls.envelope, { ...good, ...wrong }),
      );
      expect([name, answer.errorCode]).toEqual([name, code]);
    }
    expect(world.topicsOf(1)).toEqual([]);
    const answer = await world.clock.run(client.request(ControllerCalls.envelope, good));
    expect(answer.errorCode).toBe(ErrorCode.NONE);
    const reader = new Reader(answer.responseData!);
    decodeResponseHeader(reader, { apiKey: 19, apiVersion: 7, correlationId: 77 });
    const { topics: created } = codec(Calls.createTopics.response, 7).decode(reader);
    expect(created.map(({ name, errorCode }) => [name, errorCode])).toEqual([["a", 0]]);
  });

  test("bytes by chance never end the connection", async () => {
    const world = await World.start();
    const client = await world.client(1, CONTROLLER_PORT);
    const random = new SimRandom(3);
    for (let round = 0; round < 300; round++) {
      const requestData = create.slice();
      requestData[random.uint32() % requestData.length] = random.uint32() & 0xff;
      const answer = await world.clock.run(client.request(ControllerCalls.envelope, {
        requestData,
        requestPrincipal: principal(),
        clientHostAddress: new Uint8Array(random.uint32() % 2 === 0 ? 4 : 16),
      }));
      expect(answer.errorCode).toBeNumber();
    }
    expect(client.isOpen).toBe(true);
  });
});

test("addressBytes: any form of an address", () => {
  const cases: [string, number[]][] = [
    ["10.0.0.9", [10, 0, 0, 9]],
    ["::ffff:10.0.0.9", [10, 0, 0, 9]],
    ["::1", [...Array<number>(15).fill(0), 1]],
    ["fe80::1%eth0", [0xfe, 0x80, ...Array<number>(13).fill(0), 1]],
    ["2001:db8:0:0:1:2:3:4", [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0, 4]],
    ["::", Array<number>(16).fill(0)],
  ];
  for (const [text, bytes] of cases) expect([...addressBytes(text)]).toEqual(bytes);
});
