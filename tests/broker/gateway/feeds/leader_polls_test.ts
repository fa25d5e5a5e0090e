import { expect, spyOn, test } from "bun:test";
import { Feeds } from "../../../../broker/gateway/feeds/feeds.ts";
import { BrokerConnection } from "../../../../broker/peers/broker_connection.ts";
import { GatewayWorld } from "../gateway_world.ts";

const PARTITIONS = 40;
const BATCHES = 30;

test("LeaderPolls: a busy partition is asked for apart from many quiet ones, which are still heard at once", async () => {
  const world = new GatewayWorld();
  await world.start();
  await world.machine.succeed(`topic create orders -p ${PARTITIONS}`);
  const { clock } = world.machine;
  const feeds = new Feeds({ client: () => world.client, clock });
  const seen = Array.from({ length: PARTITIONS }, () => 0);
  const subscriptions = await world.run(
    Promise.all(
      seen.map((_, partition) =>
        feeds.subscribe({ topic: "orders", partition, start: { kind: "end" } }, {
          take: ({ records }) => {
            seen[partition]! += records.length;
            return records.length;
          },
          gap: () => {},
          ended: () => {},
        })
      ),
    ),
  );
  await clock.advance(2000);
  const requests = spyOn(BrokerConnection.prototype, "request");
  for (let i = 0; i < BATCHES; i++) {
    await world.produce("orders", ["x"], PARTITIONS - 1);
    await clock.advance(20);
  }
  expect(seen.at(-1)).toBe(BATCHES);
  const named = requests.mock.calls.flatMap(([call, body]) =>
    call.lowest === 13
      ? (body as { topics: { partitions: unknown[] }[] }).topics.flatMap((it) => it.partitions)
      : []
  );
  requests.mockRestore();
  expect(named.length).toBeLessThan(PARTITIONS * BATCHES / 4);
  for (const quiet of [0, 1, PARTITIONS - 2]) {
    await world.produce("orders", ["y"], quiet);
    await clock.advance(20);
    expect(seen[quiet]).toBe(1);
  }
  for (const subscription of subscriptions) subscription.close();
  await world.run(feeds.stop());
  await world.end();
});
