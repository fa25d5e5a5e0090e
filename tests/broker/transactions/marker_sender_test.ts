import { expect, test } from "bun:test";
import { NetworkError } from "../../../broker/network.ts";
import type { MetadataImage } from "../../../broker/controller/metadata_image.ts";
import { type Ending, MarkerSender } from "../../../broker/transactions/marker_sender.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimLogger } from "../../sim/sim_logger.ts";
import { SimRandom } from "../../sim/sim_random.ts";

const REFUSALS = [
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ErrorCode.NOT_ENOUGH_REPLICAS,
  ErrorCode.TRANSACTION_COORDINATOR_FENCED,
];

/** Three brokers that lead partitions of `a` and `b`, move them about, refuse and get lost. */
class Brokers {
  readonly #random: SimRandom;
  readonly clock = new SimClock();
  /** Leaders by topic and partition. */
  readonly leaders: Record<string, number[]> = {
    a: Array.from({ length: 1_500 }, (_, i) => i % 3),
    b: [0, 1, 2, -1, 0],
  };
  trouble = 0;
  /** How often a marker of a producer was written to a partition by its leader. */
  readonly written = new Map<string, number>();
  largest = 0;
  readonly #busy = new Set<number>();

  constructor(random: SimRandom) {
    this.#random = random;
  }

  sender(): MarkerSender {
    const image = {
      topicByName: (name: string) => {
        const leaders = this.leaders[name];
        return leaders && { partitions: leaders.map((leader) => ({ leader })) };
      },
    } as unknown as MetadataImage;
    return new MarkerSender({
      clock: this.clock,
      logger: new SimLogger(),
      image: () => image,
      send: (brokerId, request) => this.#send(brokerId, request),
    });
  }

  async #send(
    brokerId: number,
    { markers }: Parameters<ConstructorParameters<typeof MarkerSender>[0]["send"]>[1],
  ) {
    expect(this.#busy.has(brokerId)).toBe(false);
    this.#busy.add(brokerId);
    await this.clock.sleep(1 + this.#random.below(5));
    this.#busy.delete(brokerId);
    const size =
      markers.flatMap(({ topics }) => topics.flatMap((one) => one.partitionIndexes)).length;
    this.largest = Math.max(this.largest, size);
    if (this.#random.below(100) < this.trouble) throw new NetworkError("lost", "ECONNRESET");
    return {
      markers: markers.map(({ producerId, topics }) => ({
        producerId,
        topics: topics.map(({ name, partitionIndexes }) => ({
          name,
          partitions: partitionIndexes.map((partitionIndex) => ({
            partitionIndex,
            errorCode: this.#write(brokerId, producerId, name, partitionIndex),
          })),
        })),
      })),
    };
  }

  #write(brokerId: number, producerId: number, topic: string, partition: number): number {
    if (this.leaders[topic]?.[partition] !== brokerId) return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    if (this.#random.below(100) < this.trouble) {
      return REFUSALS[this.#random.below(REFUSALS.length)]!;
    }
    const key = `${producerId} ${topic}-${partition}`;
    this.written.set(key, (this.written.get(key) ?? 0) + 1);
    return ErrorCode.NONE;
  }

  shuffle(): void {
    for (const leaders of Object.values(this.leaders)) {
      for (let i = 0; i < leaders.length; i += 7) leaders[i] = this.#random.below(4) - 1;
    }
  }
}

function ending(producerId: number, partitions: Ending["partitions"], onDone: () => void): Ending {
  return {
    transactionalId: `id-${producerId}`,
    producerId,
    producerEpoch: 3,
    isCommit: true,
    coordinatorEpoch: 2,
    transactionVersion: 2,
    partitions,
    isWanted: () => true,
    onDone,
  };
}

test("MarkerSender: every partition gets its marker, whatever brokers do, and once where they do nothing", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SimRandom(seed);
    const brokers = new Brokers(random);
    brokers.trouble = seed % 2 === 0 ? 30 : 0;
    const sender = brokers.sender();
    const wanted = new Map<number, string[]>();
    const done = new Set<number>();
    for (let producerId = 0; producerId < 20; producerId++) {
      const partitions = new Map<string, Set<number>>();
      const size = producerId === 0 ? 1_400 : random.below(20);
      for (let i = 0; i < size; i++) {
        const topic = random.below(4) === 0 ? "b" : "a";
        const numbers = partitions.get(topic) ?? new Set();
        partitions.set(topic, numbers.add(random.below(topic === "a" ? 1_500 : 5)));
      }
      wanted.set(
        producerId,
        [...partitions].flatMap(([topic, numbers]) =>
          [...numbers].map((number) => `${topic}-${number}`)
        ),
      );
      sender.send(ending(producerId, partitions, () => {
        expect(done.has(producerId)).toBe(false);
        done.add(producerId);
        for (const one of wanted.get(producerId)!) {
          expect(brokers.written.has(`${producerId} ${one}`)).toBe(true);
        }
      }));
      await brokers.clock.advance(random.below(3));
      if (brokers.trouble > 0) brokers.shuffle();
    }
    await brokers.clock.advance(1_000);
    brokers.trouble = 0;
    for (const leaders of Object.values(brokers.leaders)) {
      leaders.forEach((leader, index) => leaders[index] = Math.max(0, leader));
    }
    await brokers.clock.advance(3_000);
    expect([done.size, sender.openCount]).toEqual([20, 0]);
    expect(brokers.largest).toBeLessThanOrEqual(1_000);
    if (seed % 2 === 1) { for (const count of brokers.written.values()) expect(count).toBe(1); }
    expect(brokers.clock.pendingTimers).toBe(0);
  }
});

test("MarkerSender: what nobody wants any more is dropped, and a stop leaves no timer", async () => {
  const brokers = new Brokers(new SimRandom(1));
  const sender = brokers.sender();
  let isWanted = true;
  const partitions = new Map([["b", new Set([0, 3])]]);
  const onDone = () => expect.unreachable();
  sender.send({ ...ending(1, partitions, onDone), isWanted: () => isWanted });
  await brokers.clock.advance(100);
  expect(sender.openCount).toBe(1);
  isWanted = false;
  await brokers.clock.advance(2_000);
  expect([sender.openCount, brokers.clock.pendingTimers]).toEqual([0, 0]);
  isWanted = true;
  sender.send({ ...ending(2, partitions, onDone), isWanted: () => isWanted });
  await brokers.clock.advance(100);
  sender.stop();
  expect(brokers.clock.pendingTimers).toBe(0);
});

test("MarkerSender: a topic that is deleted holds up nothing", async () => {
  const brokers = new Brokers(new SimRandom(1));
  const sender = brokers.sender();
  let doneCount = 0;
  sender.send(ending(1, new Map([["c", new Set([0, 1])]]), () => doneCount++));
  expect(doneCount).toBe(1);
  sender.send(ending(2, new Map(), () => doneCount++));
  expect(doneCount).toBe(2);
  sender.send(ending(3, new Map([["b", new Set([3])]]), () => doneCount++));
  await brokers.clock.advance(50);
  delete brokers.leaders["b"];
  await brokers.clock.advance(1_000);
  expect([doneCount, sender.openCount]).toEqual([3, 0]);
});
