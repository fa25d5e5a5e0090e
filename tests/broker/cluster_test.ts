/** Several brokers, whole, on one simulated network: how they find each other, and what each serves where. */

import { afterEach, describe, expect, test } from "bun:test";
import { Broker } from "../../broker/broker.ts";
import { loadAssets } from "../../broker/gateway/console/assets_bun.ts";
import { Calls } from "../../broker/client/calls.ts";
import { Consumer } from "../../broker/client/consumer.ts";
import { KafkaClient } from "../../broker/client/kafka_client.ts";
import { Sender } from "../../broker/client/sender.ts";
import { createTopic } from "../../broker/client/topics.ts";
import { Config } from "../../broker/config/config.ts";
import { ConfigError } from "../../broker/config/sources.ts";
import type { PartitionImage } from "../../broker/controller/metadata_image.ts";
import { Feeds } from "../../broker/gateway/feeds/feeds.ts";
import { NetworkError } from "../../broker/network.ts";
import { BrokerConnection } from "../../broker/peers/broker_connection.ts";
import { call } from "../../broker/peers/call.ts";
import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode, isRetriable } from "../../protocol/errors.ts";
import { buildBatch } from "../../protocol/records.ts";
import {
  updateFeaturesRequest,
  updateFeaturesResponse,
} from "../../protocol/schemas/update_features.ts";
import { ZERO_UUID } from "../../protocol/types.ts";
import { LogDirectoryError } from "../../storage/directory_meta.ts";
import { SimClock } from "../sim/sim_clock.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimNetwork } from "../sim/sim_network.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { SIM_USAGE } from "../sim/sim_usage.ts";
import { SimWorkers } from "../sim/sim_workers.ts";

const KAFKA_PORT = 9092;
const CONTROLLER_PORT = 9093;
const host = (id: number) => `10.0.0.${id}`;
const UPDATE_FEATURES = call(
  ApiKey.UpdateFeatures,
  updateFeaturesRequest,
  updateFeaturesResponse,
  { lowest: 1 },
);
const VOTERS = [1, 2, 3].map((id) => `${id}@${host(id)}:${CONTROLLER_PORT}`).join(",");

type Flags = Readonly<Record<string, string>>;

/** Settings of one of several that are broker and controller. */
const combined = (id: number): Flags => ({
  "node.id": String(id),
  "process.roles": "broker,controller",
  "listeners": `PLAINTEXT://${host(id)}:${KAFKA_PORT},CONTROLLER://${host(id)}:${CONTROLLER_PORT}`,
  "controller.listener.names": "CONTROLLER",
  "controller.quorum.voters": VOTERS,
});

const brokerOnly = (id: number): Flags => ({
  "node.id": String(id),
  "process.roles": "broker",
  "listeners": `PLAINTEXT://${host(id)}:${KAFKA_PORT}`,
  "controller.listener.names": "CONTROLLER",
  "controller.quorum.voters": VOTERS,
});

const controllerOnly = (id: number): Flags => ({
  ...combined(id),
  "process.roles": "controller",
  "listeners": `CONTROLLER://${host(id)}:${CONTROLLER_PORT}`,
});

class World {
  readonly clock = new SimClock();
  readonly random = new SimRandom(1);
  readonly network: SimNetwork;
  readonly logger = new SimLogger();
  readonly disks = new Map<number, SimDisk>();
  readonly brokers = new Map<number, Broker>();
  #starts = 0;

  constructor() {
    this.network = new SimNetwork({
      clock: this.clock,
      random: this.random.fork("network"),
      maxLatencyMs: 1,
    });
  }

  async start(id: number, flags: Flags, signal?: AbortSignal): Promise<Broker> {
    const { clock, logger } = this;
    const random = this.random.fork(`start ${++this.#starts}`);
    const disk = this.disks.get(id) ?? new SimDisk({ random: random.fork("disk"), clock });
    this.disks.set(id, disk);
    const broker = await Broker.start({
      config: Config.load({ flags: { "log.dirs": "/data", "http.listeners": "", ...flags } }),
      disk,
      clock,
      random,
      network: this.network.host(host(id)),
      logger,
      workers: new SimWorkers({ disk, clock, logger }),
      loadAssets,
      serveHttp: () => {
        throw new Error("no HTTP here");
      },
      usage: SIM_USAGE,
      version: "1.0",
      onFailure: () => {},
      ...(signal && { signal }),
    });
    this.brokers.set(id, broker);
    return broker;
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.clock.run(work);
  }

  startAll(settings: (id: number) => Flags = combined): Promise<Broker[]> {
    return this.run(Promise.all([1, 2, 3].map((id) => this.start(id, settings(id)))));
  }

  async client(id: number, port = KAFKA_PORT): Promise<BrokerConnection> {
    return await this.run(BrokerConnection.open({
      network: this.network.host("10.0.0.9"),
      clock: this.clock,
      endpoint: { host: host(id), port },
      clientId: "client",
      requestTimeoutMs: 60_000,
      softwareVersion: "1",
    }));
  }

  kafkaClient(): KafkaClient {
    return new KafkaClient({
      network: this.network.host("10.0.0.9"),
      clock: this.clock,
      random: this.random.fork("client"),
      bootstrap: [1, 2, 3].map((id) => ({ host: host(id), port: KAFKA_PORT })),
      clientId: "client",
      softwareVersion: "1",
      requestTimeoutMs: 1_000,
      retryTimeoutMs: 60_000,
      interrupted: new AbortController().signal,
    });
  }

  async stopAll(): Promise<void> {
    const stops = [...this.brokers.values()].map((broker) => broker.stop());
    this.brokers.clear();
    await this.run(Promise.all(stops));
  }

  get controllerId(): number {
    return [...this.brokers.values()][0]!.controller.controllerId;
  }
}

let world: World;
afterEach(async () => {
  await world.stopAll();
});

const topic = (name: string) => ({
  topics: [{ name, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
  timeoutMs: 5_000,
  validateOnly: false,
});

describe("Broker.start, three of them", () => {
  test("they agree on an id, a leader and each other, with nothing formatted", async () => {
    world = new World();
    const startMs = world.clock.monotonicMs();
    const brokers = await world.startAll();
    expect(world.clock.monotonicMs() - startMs).toBeLessThan(5_000);
    expect(new Set(brokers.map(({ clusterId }) => clusterId)).size).toBe(1);
    expect(new Set(brokers.map(({ subsystems }) => subsystems.controller.controllerId)).size).toBe(
      1,
    );
    await world.clock.advance(1_000);
    for (const id of [1, 2, 3]) {
      const client = await world.client(id);
      const answer = await world.run(client.request(Calls.describeCluster, {
        includeClusterAuthorizedOperations: false,
        endpointType: 1,
        includeFencedBrokers: false,
      }));
      const found = answer.brokers.toSorted((a, b) => a.brokerId - b.brokerId);
      expect(found.map(({ brokerId, host, port }) => [brokerId, host, port])).toEqual(
        [1, 2, 3].map((node) => [node, host(node), KAFKA_PORT]),
      );
    }
  });

  test("the controllers tell tools where all of them are", async () => {
    world = new World();
    await world.startAll();
    await world.clock.advance(1_000);
    const client = await world.client(1, CONTROLLER_PORT);
    const answer = await world.run(client.request(Calls.describeCluster, {
      includeClusterAuthorizedOperations: false,
      endpointType: 2,
      includeFencedBrokers: false,
    }));
    expect(answer.controllerId).toBe(world.controllerId);
    const found = answer.brokers.toSorted((a, b) => a.brokerId - b.brokerId);
    expect(found.map(({ brokerId, host, port }) => [brokerId, host, port])).toEqual(
      [1, 2, 3].map((node) => [node, host(node), CONTROLLER_PORT]),
    );
  });

  test("all that stop at once do not wait for each other for long", async () => {
    world = new World();
    await world.startAll();
    const startMs = world.clock.monotonicMs();
    await world.stopAll();
    expect(world.clock.monotonicMs() - startMs).toBeLessThan(4_500);
    expect(world.clock.pendingTimers).toBe(0);
  });

  test("a topic is made through any of them", async () => {
    world = new World();
    await world.startAll();
    for (const id of [1, 2, 3]) {
      const client = await world.client(id);
      const answer = await world.run(client.request(Calls.createTopics, topic(`from-${id}`)));
      expect(answer.topics[0]!.errorCode).toBe(ErrorCode.NONE);
    }
    await world.clock.advance(1_000);
    for (const broker of world.brokers.values()) {
      const names = [...broker.subsystems.controller.image().topics()].map(({ name }) => name);
      expect(names.toSorted()).toEqual(["from-1", "from-2", "from-3"]);
    }
  });

  test("what is asked of the active controller: producer ids, topics on first use", async () => {
    world = new World();
    await world.startAll();
    const other = [1, 2, 3].find((id) => id !== world.controllerId)!;
    const ids: number[] = [];
    for (const id of [other, world.controllerId]) {
      const client = await world.client(id);
      const { errorCode, producerId } = await world.run(client.request(Calls.initProducerId, {
        transactionalId: null,
        transactionTimeoutMs: 1,
      }));
      expect(errorCode).toBe(ErrorCode.NONE);
      ids.push(producerId);
    }
    expect(new Set(ids).size).toBe(2);
    const client = await world.client(other);
    await world.run(client.request(Calls.metadata, {
      topics: [{ name: "first-use" }],
      allowAutoTopicCreation: true,
    }));
    await world.clock.advance(500);
    const image = world.brokers.get(other)!.subsystems.controller.image();
    expect(image.topicByName("first-use")).toBeDefined();
  });

  test("each listener serves its own: none of the quorum for clients, no records for controllers", async () => {
    world = new World();
    await world.startAll();
    const clients = (await world.client(1)).servedVersions;
    const controllers = (await world.client(1, CONTROLLER_PORT)).servedVersions;
    for (const key of [ApiKey.Vote, ApiKey.Envelope, ApiKey.BrokerRegistration]) {
      expect([clients.has(key), controllers.has(key)]).toEqual([false, true]);
    }
    for (const key of [ApiKey.Produce, ApiKey.Metadata, ApiKey.JoinGroup]) {
      expect([clients.has(key), controllers.has(key)]).toEqual([true, false]);
    }
    for (const key of [ApiKey.CreateTopics, ApiKey.ApiVersions, ApiKey.Fetch]) {
      expect([clients.has(key), controllers.has(key)]).toEqual([true, true]);
    }
  });

  test("the controller's node stops: the others lead on, and take changes", async () => {
    world = new World();
    await world.startAll();
    const gone = world.controllerId;
    const startMs = world.clock.monotonicMs();
    await world.run(world.brokers.get(gone)!.stop());
    expect(world.clock.monotonicMs() - startMs).toBeLessThan(5_000);
    world.brokers.delete(gone);
    const [left] = [...world.brokers.keys()];
    const client = await world.client(left!);
    const answer = await world.run(client.request(Calls.createTopics, topic("after")));
    expect(answer.topics[0]!.errorCode).toBe(ErrorCode.NONE);
    await world.run(world.start(gone, combined(gone)));
    expect(world.brokers.get(gone)!.subsystems.controller.image().topicByName("after"))
      .toBeDefined();
  });

  test.each([
    ["the controller, just now", (id: number) => id === world.controllerId, 0],
    ["another one, just now", (id: number) => id !== world.controllerId, 0],
    ["one, long ago", () => true, 20_000],
  ])("%s was cut off: its stop waits no longer for anybody", async (_, isIt, cutMs) => {
    world = new World();
    await world.startAll();
    const gone = [...world.brokers.keys()].find(isIt)!;
    const others = [1, 2, 3].filter((id) => id !== gone);
    const client = await world.client(gone);
    await world.run(client.request(Calls.createTopics, {
      ...topic("t"),
      topics: [{
        ...topic("t").topics[0]!,
        numPartitions: -1,
        replicationFactor: -1,
        assignments: [{ partitionIndex: 0, brokerIds: [gone, ...others] }],
      }],
    }));
    await world.clock.advance(1_000);
    for (const id of others) {
      world.network.links.cut(host(gone), host(id));
      world.network.links.cut(host(id), host(gone));
    }
    await world.clock.advance(cutMs);
    const value = new TextEncoder().encode("v");
    const records = buildBatch({ records: [{ key: null, value, timestamp: 0 }] });
    const produced = client.request(Calls.produce, {
      acks: -1,
      timeoutMs: 30_000,
      topicData: [{ name: "t", partitionData: [{ index: 0, records }] }],
    });
    await world.clock.advance(50);
    const startMs = world.clock.monotonicMs();
    await world.run(world.brokers.get(gone)!.stop());
    expect(world.clock.monotonicMs() - startMs).toBeLessThan(1_900);
    world.brokers.delete(gone);
    const answer = (await world.run(produced)).responses[0]!.partitionResponses[0]!;
    expect(isRetriable(answer.errorCode as ErrorCode)).toBe(true);
    world.network.links.heal();
  });

  test("all stop and start again: everything is as it was", async () => {
    world = new World();
    const [first] = await world.startAll();
    const { clusterId } = first!;
    const client = await world.client(1);
    await world.run(client.request(Calls.createTopics, topic("kept")));
    await world.stopAll();
    const again = await world.startAll();
    for (const broker of again) {
      expect(broker.clusterId).toBe(clusterId);
      expect(broker.subsystems.controller.image().topicByName("kept")).toBeDefined();
    }
  });

  test("who stops and starts again has lost nothing: all lead what they led, and none recovers", async () => {
    world = new World();
    await world.startAll();
    const client = await world.client(1);
    for (const name of ["a", "b", "c", "d"]) {
      await world.run(client.request(Calls.createTopics, topic(name)));
    }
    await world.stopAll();
    const again = await world.startAll();
    await world.clock.advance(2_000);
    for (const { subsystems } of again) {
      for (const { name, partitions } of subsystems.controller.image().topics()) {
        const [{ leader, replicas, leaderRecoveryState }] = partitions as [PartitionImage];
        expect([name, leader, leaderRecoveryState]).toEqual([name, replicas[0]!, 0]);
      }
    }
  });

  test("a wiped node finds its way back with the settings that it had", async () => {
    world = new World();
    await world.startAll();
    await world.run(world.brokers.get(2)!.stop());
    world.disks.delete(2);
    const back = await world.run(world.start(2, combined(2)));
    expect(back.clusterId).toBe(world.brokers.get(1)!.clusterId);
  });
});

describe("Broker.start, kraft.version", () => {
  const upgrade = async () => {
    const leader = await world.client(world.controllerId, CONTROLLER_PORT);
    return await world.run(leader.request(UPDATE_FEATURES, {
      timeoutMs: 5_000,
      featureUpdates: [{ feature: "kraft.version", maxVersionLevel: 1, upgradeType: 1 }],
      validateOnly: false,
    }));
  };
  const votersOf = (id: number) => world.brokers.get(id)!.controller.quorum.raft.voters.voters;

  test("static voters go over into the log once all of them are there", async () => {
    world = new World();
    await world.startAll();
    const gone = [1, 2, 3].find((id) => id !== world.controllerId)!;
    await world.run(world.brokers.get(gone)!.stop());
    world.brokers.delete(gone);
    await world.clock.advance(3_000);
    const refused = await upgrade();
    expect(refused.errorCode).toBe(ErrorCode.INVALID_UPDATE_VERSION);
    expect(refused.errorMessage).toEndWith(`these do not: ${gone}.`);
    await world.run(world.start(gone, combined(gone)));
    await world.clock.advance(3_000);
    expect((await upgrade()).errorCode).toBe(ErrorCode.NONE);
    await world.clock.advance(1_000);
    for (const id of [1, 2, 3]) {
      expect(votersOf(id).map((voter) => voter.directoryId)).not.toContain(ZERO_UUID);
    }
    await world.stopAll();
    await world.startAll();
    expect(world.brokers.get(2)!.controller.quorum.kraftVersion).toBe(1);
  });

  test("a wiped controller takes the place of itself, where it may join by itself", async () => {
    world = new World();
    const joining = (id: number): Flags => (
      { ...combined(id), "controller.quorum.auto.join.enable": "true" }
    );
    await world.startAll(joining);
    await world.clock.advance(1_000);
    expect((await upgrade()).errorCode).toBe(ErrorCode.NONE);
    const wiped = [1, 2, 3].find((id) => id !== world.controllerId)!;
    const before = votersOf(wiped).find(({ id }) => id === wiped)!.directoryId;
    await world.run(world.brokers.get(wiped)!.stop());
    world.disks.delete(wiped);
    await world.run(world.start(wiped, joining(wiped)));
    await world.clock.advance(15_000);
    for (const id of [1, 2, 3]) {
      const voters = votersOf(id);
      expect(voters.map(({ id }) => id).toSorted()).toEqual([1, 2, 3]);
      expect(voters.find(({ id }) => id === wiped)!.directoryId).not.toBe(before);
    }
  });
});

describe("Broker.start, roles", () => {
  test("a broker alone joins the controllers of others, by voters or by servers", async () => {
    world = new World();
    await world.startAll();
    await world.run(world.start(4, brokerOnly(4)));
    const { "controller.quorum.voters": _, ...flags } = brokerOnly(5);
    const servers = { ...flags, "controller.quorum.bootstrap.servers": `${host(2)}:9093` };
    await world.run(world.start(5, servers));
    await world.clock.advance(1_000);
    const image = world.brokers.get(1)!.subsystems.controller.image();
    expect([...image.brokers.keys()].toSorted()).toEqual([1, 2, 3, 4, 5]);
    const client = await world.client(5);
    const answer = await world.run(client.request(Calls.createTopics, topic("from-5")));
    expect(answer.topics[0]!.errorCode).toBe(ErrorCode.NONE);
  });

  test("controllers alone keep the metadata and nothing else, for brokers alone", async () => {
    world = new World();
    const both = [
      ...[1, 2, 3].map((id) => world.start(id, controllerOnly(id))),
      ...[4, 5].map(
        (id) => world.start(id, brokerOnly(id)),
      ),
    ];
    const nodes = await world.run(Promise.all(both));
    await world.clock.advance(1_000);
    for (const node of nodes) {
      const { brokers, controllers } = node.controller.image();
      expect([...brokers.keys()].toSorted()).toEqual([4, 5]);
      expect([...controllers.keys()].toSorted()).toEqual([1, 2, 3]);
    }
    expect(nodes.map(({ addresses }) => [addresses.kafka.length, addresses.controller.length]))
      .toEqual([[0, 1], [0, 1], [0, 1], [1, 0], [1, 0]]);
    const controllers = await world.client(1, CONTROLLER_PORT);
    expect(controllers.servedVersions.has(ApiKey.Vote)).toBeTrue();
    for (const key of [ApiKey.Produce, ApiKey.Metadata, ApiKey.FindCoordinator]) {
      expect(controllers.servedVersions.has(key)).toBeFalse();
    }
    const client = await world.client(4);
    await world.run(client.request(Calls.createTopics, topic("t")));
    const metadata = await world.run(client.request(Calls.metadata, { topics: null }));
    expect(metadata.brokers.map(({ nodeId }) => nodeId).toSorted()).toEqual([4, 5]);
    expect([4, 5]).toContain(metadata.controllerId);
  });

  test("a controller alone that leads can go: another one leads, and it can come back", async () => {
    world = new World();
    await world.startAll(controllerOnly);
    await world.run(world.start(4, brokerOnly(4)));
    const gone = world.controllerId;
    await world.run(world.brokers.get(gone)!.stop());
    world.brokers.delete(gone);
    await world.clock.advance(2_000);
    const client = await world.client(4);
    const answer = await world.run(client.request(Calls.createTopics, topic("after")));
    expect(answer.topics[0]!.errorCode).toBe(ErrorCode.NONE);
    const back = await world.run(world.start(gone, controllerOnly(gone)));
    await world.clock.advance(1_000);
    expect(back.controller.image().topicByName("after")).toBeDefined();
    expect(back.controller.controllerId).toBe(world.controllerId);
  });

  test("a controller alone that waits for the others says so, and can be stopped", async () => {
    world = new World();
    const interrupted = new AbortController();
    const starting = world.start(1, controllerOnly(1), interrupted.signal)
      .catch((error: Error) => error);
    await world.clock.advance(15_000);
    const waits = world.logger.lines.filter(({ message }) => message.startsWith("Waiting for a"));
    expect(waits).toHaveLength(1);
    interrupted.abort();
    expect(await world.run(starting)).toBeInstanceOf(NetworkError);
    expect([world.clock.pendingTimers, world.network.openEnds]).toEqual([0, 0]);
  });

  test("a node of another cluster is refused, and says so", async () => {
    world = new World();
    await world.startAll();
    const stranger = { ...brokerOnly(4), "weir.cluster.id": "aaaaaaaaaaaaaaaaaaaaaa" };
    const failure = await world.run(world.start(4, stranger).catch((error: Error) => error));
    expect(failure).toBeInstanceOf(ConfigError);
    expect((failure as Error).message).toContain("INCONSISTENT_CLUSTER_ID");
  });

  test("a directory of another cluster is refused before anything is opened", async () => {
    world = new World();
    await world.run(world.start(1, { "node.id": "1", "listeners": `PLAINTEXT://${host(1)}:9092` }));
    await world.stopAll();
    const flags = { ...combined(1), "weir.cluster.id": "aaaaaaaaaaaaaaaaaaaaaa" };
    const failure = await world.run(world.start(1, flags).catch((error: Error) => error));
    expect(failure).toBeInstanceOf(LogDirectoryError);
  });

  test("one that waits for the others can be stopped, and says what it waits for", async () => {
    world = new World();
    const interrupted = new AbortController();
    const starting = world.start(1, combined(1), interrupted.signal)
      .catch((error: Error) => error);
    await world.clock.advance(25_000);
    const waits = world.logger.lines.filter(({ message }) => message.startsWith("Waiting to be"));
    expect(waits).toHaveLength(2);
    interrupted.abort();
    expect(await world.run(starting)).toBeInstanceOf(NetworkError);
    expect(world.clock.pendingTimers).toBe(0);
    expect(world.network.openEnds).toBe(0);
  });

  test("one that looks for its cluster can be stopped, too", async () => {
    world = new World();
    const interrupted = new AbortController();
    const { "controller.quorum.voters": _, ...flags } = brokerOnly(5);
    const servers = { ...flags, "controller.quorum.bootstrap.servers": `${host(2)}:9093` };
    const starting = world.start(5, servers, interrupted.signal).catch((error: Error) => error);
    await world.clock.advance(5_000);
    interrupted.abort();
    expect(await world.run(starting)).toBeInstanceOf(NetworkError);
  });

  test("a controller whose one bootstrap server is itself begins a cluster", async () => {
    world = new World();
    const { "controller.quorum.voters": _, ...flags } = combined(1);
    const first = { ...flags, "controller.quorum.bootstrap.servers": `${host(1)}:9093` };
    const broker = await world.run(world.start(1, first));
    expect(broker.subsystems.controller.isActive).toBeTrue();
    const { "controller.quorum.voters": __, ...second } = brokerOnly(2);
    await world.run(
      world.start(2, { ...second, "controller.quorum.bootstrap.servers": `${host(1)}:9093` }),
    );
    expect(world.brokers.get(2)!.clusterId).toBe(broker.clusterId);
  });
});

/** A consumer and a feed of one topic, and all that they were given and told. */
class Readers {
  readonly read: string[] = [];
  readonly fed: string[] = [];
  readonly told: unknown[] = [];
  readonly #consumer: Consumer;
  readonly #feeds: Feeds;

  constructor(client: KafkaClient) {
    this.#feeds = new Feeds({ client: () => client, clock: client.clock });
    this.#consumer = new Consumer(client, {
      readCommitted: false,
      onReset: (...reset) => void this.told.push(reset),
    });
    this.#consumer.assign([{ topic: "orders", partition: 0, position: 0 }]);
  }

  async start(): Promise<void> {
    await this.#feeds.subscribe({ topic: "orders", partition: 0, start: { kind: "end" } }, {
      take: ({ records }) => {
        this.fed.push(...records.map(textOf));
        return records.length;
      },
      gap: (gap) => void this.told.push(gap),
      ended: (end) => void this.told.push(end),
    });
  }

  async readOn(): Promise<void> {
    for (const { records } of await this.#consumer.poll()) this.read.push(...records.map(textOf));
  }

  /** Until both have so many. */
  async readUpTo(count: number): Promise<void> {
    while (this.read.length < count || this.fed.length < count) await this.readOn();
  }

  async stop(): Promise<void> {
    await this.#feeds.stop();
  }
}

describe("clients of several", () => {
  test("a leader that was cut off is not believed: no reader is told that records are gone", async () => {
    world = new World();
    await world.startAll();
    const client = world.kafkaClient();
    const orders = { name: "orders", partitions: 1, replicationFactor: 3, configs: [] };
    await world.run(createTopic(client, { ...orders, validateOnly: false }));
    const readers = new Readers(client);
    await world.run(readers.start());
    const sender = new Sender(client);
    const produce = async (text: string) => {
      const value = new TextEncoder().encode(text);
      const record = { key: null, value, partition: 0, timestamp: world.clock.wallMs() };
      await world.run(sender.send("orders", record));
    };
    const leader = async () => (await world.run(client.leaders("orders")))[0]!.leaderId;
    await produce("before");
    await world.run(readers.readUpTo(1));

    // The leader loses the others, who choose another; it goes on to take itself for the leader.
    const old = await leader();
    const others = [1, 2, 3].filter((id) => id !== old);
    for (const id of others) {
      world.network.links.cut(host(old), host(id));
      world.network.links.cut(host(id), host(old));
    }
    while (await leader() === old) await world.clock.advance(500);
    for (const text of ["a", "b", "c"]) await produce(text);
    await world.run(readers.readUpTo(4));

    // Then it is the only one that answers.
    await world.run(Promise.all(others.map((id) => world.brokers.get(id)!.stop())));
    const stuck = readers.readOn();
    await world.clock.advance(5_000);
    expect(readers.told).toEqual([]);
    world.network.links.heal();
    await world.run(Promise.all(others.map((id) => world.start(id, combined(id)))));
    await world.run(stuck);
    await produce("after");
    await world.run(readers.readUpTo(5));
    const all = ["before", "a", "b", "c", "after"];
    expect(readers).toMatchObject({ read: all, fed: all, told: [] });
    await world.run(Promise.all([readers.stop(), client.close()]));
  });
});

const textOf = ({ value }: { readonly value: Uint8Array | null }) =>
  new TextDecoder().decode(value ?? new Uint8Array(0));
