/** Groups, the quorum, directories and offsets over HTTP, against a whole broker in memory. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { commitGroupOffsets, GroupMember } from "../../../../broker/client/group_member.ts";
import { RestWorld } from "./rest_world.ts";

let world: RestWorld;
beforeEach(async () => {
  world = new RestWorld();
  await world.start();
  await world.succeed("POST", "/topics", { topic_name: "orders", partitions_count: 2 });
  await world.produce("orders", ["a", "b", "c"], 0);
  await world.produce("orders", ["d"], 1);
  const offsets = [
    { topic: "orders", partition: 0, offset: 1 },
    { topic: "orders", partition: 1, offset: 1 },
  ];
  await world.run(commitGroupOffsets(world.client, "billing", offsets));
});
afterEach(() => world.end());

const GROUP = "/consumer-groups/billing";

describe("groups", () => {
  test("groups: one without members, with its lags", async () => {
    const { data: [listed] } = await world.succeed("GET", "/consumer-groups");
    const group = await world.succeed("GET", GROUP);
    expect(group).toMatchObject({
      consumer_group_id: "billing",
      is_simple: true,
      state: "EMPTY",
      type: "CLASSIC",
      is_mixed_consumer_group: false,
      coordinator: { related: expect.stringContaining("/brokers/1") },
    });
    expect(listed).toEqual(group);
    const { data: lags } = await world.succeed("GET", `${GROUP}/lags`);
    expect(lags.map((it: { lag: number }) => it.lag)).toEqual([2, 0]);
    expect(await world.succeed("GET", `${GROUP}/lags/orders/partitions/0`)).toEqual(lags[0]);
    expect(await world.succeed("GET", `${GROUP}/lag-summary`)).toMatchObject({
      max_lag: 2,
      total_lag: 2,
      max_lag_topic_name: "orders",
      max_lag_partition_id: 0,
    });
    expect((await world.succeed("GET", `${GROUP}/consumers`)).data).toEqual([]);
  });

  test("groups: a member, and what it is assigned", async () => {
    const member = new GroupMember(world.client, { groupId: "billing", topic: "orders" });
    await world.run(member.join());
    expect(await world.succeed("GET", GROUP)).toMatchObject({
      state: "STABLE",
      is_simple: false,
      partition_assignor: "range",
    });
    const { data: [consumer] } = await world.succeed("GET", `${GROUP}/consumers`);
    const one = `${GROUP}/consumers/${encodeURIComponent(consumer.consumer_id)}`;
    expect(await world.succeed("GET", one)).toEqual(consumer);
    const { data } = await world.succeed("GET", `${one}/assignments`);
    expect(data.map((it: { partition_id: number }) => it.partition_id)).toEqual([0, 1]);
    expect(await world.succeed("GET", `${one}/assignments/orders/partitions/1`)).toEqual(data[1]);
    const { data: [lag] } = await world.succeed("GET", `${GROUP}/lags`);
    expect(lag).toMatchObject({ consumer_id: consumer.consumer_id, lag: 2 });
    await world.run(member.leave());
  });

  test("groups: what is not there is not found", async () => {
    const paths = [
      "/consumer-groups/none",
      "/consumer-groups/none/lags",
      "/consumer-groups/none/consumers",
      `${GROUP}/consumers/x`,
      `${GROUP}/lags/orders/partitions/7`,
    ];
    for (const path of paths) expect((await world.ask("GET", path)).status).toBe(404);
  });

  test("groups: deleted; not while it has members", async () => {
    const member = new GroupMember(world.client, { groupId: "busy", topic: "orders" });
    await world.run(member.join());
    expect((await world.ask("DELETE", "/api/groups/busy")).status).toBe(409);
    await world.run(member.leave());
    for (const group of ["busy", "billing"]) {
      expect((await world.ask("DELETE", `/api/groups/${group}`)).status).toBe(204);
      expect((await world.ask("DELETE", `/api/groups/${group}`)).status).toBe(404);
    }
  });
});

describe("offsets", () => {
  const RESET = "/api/groups/billing/offsets:reset";
  const offsets = async () =>
    (await world.succeed("GET", `${GROUP}/lags`)).data
      .map((it: { current_offset: number }) => it.current_offset);

  test("reset: a preview changes nothing, and says what would be", async () => {
    const { body } = await world.ask("POST", RESET, { to: "latest" });
    expect(body).toMatchObject({ dryRun: true, blockedBy: null });
    expect(body.offsets).toEqual([
      { topic: "orders", partition: 0, oldOffset: 1, newOffset: 3, startOffset: 0, endOffset: 3 },
      { topic: "orders", partition: 1, oldOffset: 1, newOffset: 1, startOffset: 0, endOffset: 1 },
    ]);
    expect(await offsets()).toEqual([1, 1]);
    await world.succeed("POST", RESET, { to: "latest", dryRun: false });
    expect(await offsets()).toEqual([3, 1]);
  });

  test("reset: of some partitions, by a shift, within the log", async () => {
    const topics = [{ topic: "orders", partitions: [0, 0] }];
    await world.succeed("POST", RESET, { topics, shift: 1, dryRun: false });
    expect(await offsets()).toEqual([2, 1]);
    await world.succeed("POST", RESET, { topics, shift: -100, dryRun: false });
    expect(await offsets()).toEqual([0, 1]);
  });

  test("reset: refused while members read, and for what does not exist", async () => {
    const member = new GroupMember(world.client, { groupId: "billing", topic: "orders" });
    await world.run(member.join());
    expect((await world.ask("POST", RESET, { to: "earliest" })).body.blockedBy).toBe("Stable");
    expect((await world.ask("POST", RESET, { to: "earliest", dryRun: false })).status).toBe(409);
    await world.run(member.leave());
    const wrong: readonly (readonly [object, number])[] = [
      [{}, 400],
      [{ to: "earliest", shift: 1 }, 400],
      [{ to: "sometime" }, 400],
      [{ to: "earliest", topics: [{ topic: "none" }] }, 404],
      [{ to: "earliest", topics: [{ topic: "orders", partitions: [5] }] }, 404],
    ];
    for (const [body, status] of wrong) {
      expect((await world.ask("POST", RESET, { ...body, dryRun: false })).status).toBe(status);
    }
    expect(await offsets()).toEqual([1, 1]);
  });
});

test("quorum and directories: as the commands tell them", async () => {
  expect(await world.succeed("GET", "/api/quorum")).toMatchObject({
    leaderId: 1,
    replicas: [{ node: 1, status: "leader", lag: 0 }],
  });
  const { directories: [directory] } = await world.succeed("GET", "/api/log-dirs?topic=orders");
  expect(directory).toMatchObject({ broker: 1, directory: "/data", state: "online" });
  expect(directory.replicas.map((it: { partition: number }) => it.partition)).toEqual([0, 1]);
  expect(directory.replicas[0].bytes).toBeGreaterThan(0);
  const { directories: [short] } = await world.succeed("GET", "/api/log-dirs");
  expect(short.replicas).toBeUndefined();
});
