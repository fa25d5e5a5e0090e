/** Records of many askers, sent to a broker in memory. */

import { afterEach, beforeEach, expect, test } from "bun:test";
import { KafkaError } from "../../../broker/client/kafka_client.ts";
import { Sender } from "../../../broker/client/sender.ts";
import { Consumer } from "../../../broker/client/consumer.ts";
import { createPartitions, createTopic, deleteTopics } from "../../../broker/client/topics.ts";
import { GatewayWorld } from "../gateway/gateway_world.ts";

let world: GatewayWorld;
let sender: Sender;
beforeEach(async () => {
  world = new GatewayWorld();
  await world.start();
  sender = new Sender(world.client);
  const topic = { name: "t", partitions: 2, configs: [], validateOnly: false };
  await world.run(createTopic(world.client, topic));
});
afterEach(() => world.end());

const bytes = (text: string) => new TextEncoder().encode(text);
const record = (value: string, more: object = {}) => ({
  key: null,
  value: bytes(value),
  timestamp: world.machine.clock.wallMs(),
  ...more,
});

async function valuesIn(partition: number): Promise<string[]> {
  const consumer = new Consumer(world.client, { readCommitted: true, onReset: () => {} });
  consumer.assign([{ topic: "t", partition, position: 0 }]);
  const polled = await world.run(consumer.poll());
  return polled.flatMap(({ records }) =>
    records.map(({ value }) => new TextDecoder().decode(value!))
  );
}

test("send: each is told where its record lies, in the order of the calls", async () => {
  const sent = Array.from(
    { length: 500 },
    (_, i) => sender.send("t", record(`${i}`, { partition: 0 })),
  );
  expect((await world.run(Promise.all(sent))).map(({ offset }) => offset)).toEqual([
    ...Array(500).keys(),
  ]);
  expect(await valuesIn(0)).toEqual(Array.from({ length: 500 }, (_, i) => `${i}`));
  expect(sender.heldBytes).toBe(0);
});

test("send: a broker that stops in the middle loses nothing and writes nothing twice", async () => {
  const sent: Promise<unknown>[] = [];
  for (let i = 0; i < 60; i++) {
    sent.push(sender.send("t", record(`${i}`, { partition: 0 })));
    await world.machine.clock.advance(1);
    if (i % 20 !== 19) continue;
    const stopped = world.broker.stop();
    await world.run(stopped);
    await world.start();
  }
  await world.run(Promise.all(sent));
  expect(await valuesIn(0)).toEqual(Array.from({ length: 60 }, (_, i) => `${i}`));
});

test("send: one that is refused takes no other along", async () => {
  const large = record("x".repeat(2 * 1024 * 1024), { partition: 0 });
  const sent = await world.run(Promise.allSettled([
    sender.send("t", record("a", { partition: 0 })),
    sender.send("t", large),
    sender.send("t", record("b", { partition: 0 })),
    sender.send("t", record("c", { partition: 7 })),
  ]));
  expect(sent.map(({ status }) => status)).toEqual([
    "fulfilled",
    "rejected",
    "fulfilled",
    "rejected",
  ]);
  expect(await valuesIn(0)).toEqual(["a", "b"]);
});

test("send: knows of partitions that came, and of topics that went", async () => {
  await world.run(sender.send("t", record("a", { partition: 0 })));
  await world.run(createPartitions(world.client, "t", 3));
  expect((await world.run(sender.send("t", record("b", { partition: 2 })))).offset).toBe(0);
  await world.run(deleteTopics(world.client, ["t"]));
  const [gone] = await world.run(
    Promise.allSettled([sender.send("t", record("c", { partition: 0 }))]),
  );
  expect(gone).toMatchObject({ status: "rejected", reason: expect.any(KafkaError) });
  // It is a new one now: the lane of the old one is of no use to it.
  await world.run(createTopic(world.client, { name: "t", configs: [], validateOnly: false }));
  expect((await world.run(sender.send("t", record("d", { partition: 0 })))).offset).toBe(0);
});

test("send: holds no more bytes than it has room for", async () => {
  const small = new Sender(world.client, { roomBytes: 10_000 });
  const sent = Array.from({ length: 50 }, () => small.send("t", record("x".repeat(1000))));
  await world.machine.clock.advance(0);
  expect(small.heldBytes).toBeLessThanOrEqual(10_000);
  expect(small.heldBytes).toBeGreaterThan(5_000);
  await world.run(Promise.all(sent));
  expect(small.heldBytes).toBe(0);
});
