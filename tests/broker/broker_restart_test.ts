/** What a broker, whole, tells its cluster when it comes back: after a clean stop, after `kill -9`. */

import { expect, test } from "bun:test";
import { CLEAN_SHUTDOWN_FILE } from "../../storage/directory_meta.ts";
import { readSmallText } from "../../storage/checkpoint.ts";
import { ClusterNode, DATA } from "../sim/cluster_node.ts";
import { SimClock } from "../sim/sim_clock.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimNetwork } from "../sim/sim_network.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { newTopic } from "./controller/harness.ts";

const NODE_ID = 1;
const DOWN_MS = 100;

class World {
  readonly clock = new SimClock();
  readonly logger = new SimLogger();
  readonly node: ClusterNode;

  constructor(settings: Readonly<Record<string, string>> = {}) {
    const random = new SimRandom(1);
    const { clock } = this;
    this.node = new ClusterNode({
      nodeId: NODE_ID,
      host: "10.0.0.1",
      settings: {
        "node.id": String(NODE_ID),
        "listeners": "PLAINTEXT://10.0.0.1:9092",
        ...settings,
      },
      clock,
      network: new SimNetwork({ clock, random }),
      random,
      wrap: (disk) => disk,
      logger: this.logger,
      trace: () => {},
      maxSyncMs: 2,
      pass: (ms) => clock.sleep(ms),
      fail: (failure) => {
        throw failure;
      },
    });
  }

  static async start(settings: Readonly<Record<string, string>> = {}): Promise<World> {
    const world = new World(settings);
    await world.run(world.node.start());
    await world.run(world.node.broker!.subsystems.controller.createTopics([newTopic("t")]));
    return world;
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.clock.run(work);
  }

  /** Epochs of each registration and of the one that it names, in order. */
  get registrations(): unknown[][] {
    return this.logger.lines
      .filter(({ message }) => message === "The broker is registered")
      .map(({ fields }) => [fields!["brokerEpoch"], fields!["previousBrokerEpoch"]]);
  }

  get image() {
    return this.node.broker!.subsystems.controller.image();
  }
  get partition() {
    const [partition] = this.image.topicByName("t")!.partitions;
    return partition;
  }

  async end(): Promise<void> {
    await this.run(this.node.stop());
  }
}

test("Broker: each start is a registration that names the one before, where nothing can be lost", async () => {
  const world = await World.start();
  await world.run(world.node.restart(DOWN_MS));
  expect(world.partition).toMatchObject({
    leader: NODE_ID,
    isr: [NODE_ID],
    leaderRecoveryState: 0,
  });
  await world.run(world.node.crash("kill", DOWN_MS));
  await world.run(world.node.crash("power cut", DOWN_MS));
  const epochs = world.registrations.map(([epoch]) => epoch);
  expect(world.registrations.map(([, previous]) => previous)).toEqual([-1, ...epochs.slice(0, -1)]);
  expect(world.image.brokers.get(NODE_ID)).toMatchObject({ epoch: epochs.at(-1), fenced: false });
  // Nobody had to be asked for a partition that may lack records.
  expect(world.partition).toMatchObject({
    leader: NODE_ID,
    isr: [NODE_ID],
    leaderRecoveryState: 0,
  });
  await world.end();
});

test("Broker: after a crash that may have lost what was acknowledged it names no epoch, after a clean stop it does", async () => {
  const world = await World.start({ "log.flush.interval.messages": "10" });
  await world.run(world.node.restart(DOWN_MS));
  await world.run(world.node.crash("kill", DOWN_MS));
  const [first] = world.registrations[0]!;
  expect(world.registrations.map(([, previous]) => previous)).toEqual([-1, first, -1]);
  expect(world.partition).toMatchObject({ leader: NODE_ID, isr: [NODE_ID] });
  await world.end();
});

test("Broker: a clean stop leaves its epoch on the disk, as Kafka does, and takes no time on its own", async () => {
  const world = await World.start();
  const { epoch } = world.image.brokers.get(NODE_ID)!;
  const beforeMs = world.clock.monotonicMs();
  await world.end();
  expect(world.clock.monotonicMs() - beforeMs).toBeLessThan(75);
  const mark = readSmallText(world.node.disk, `${DATA}/${CLEAN_SHUTDOWN_FILE}`)!;
  expect(JSON.parse(mark)).toEqual({ version: 0, brokerEpoch: epoch });
  expect(world.node.leftovers.timers).toBe(0);
});
