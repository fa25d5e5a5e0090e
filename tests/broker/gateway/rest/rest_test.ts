/** The REST API against a whole broker in memory. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { RestWorld } from "./rest_world.ts";

let world: RestWorld;
beforeEach(async () => {
  world = new RestWorld();
  await world.start();
});
afterEach(() => world.end());

const orders = { topic_name: "orders", partitions_count: 2 };

describe("clusters and brokers", () => {
  test("clusters: one, with links; another id is not found", async () => {
    const { data: [cluster] } = await world.succeed("GET", "/v3/clusters");
    const self = `http://localhost/v3/clusters/${world.clusterId}`;
    expect(cluster).toMatchObject({
      kind: "KafkaCluster",
      metadata: { self, resource_name: `crn:///kafka=${world.clusterId}` },
      cluster_id: world.clusterId,
      controller: { related: `${self}/brokers/1` },
      topics: { related: `${self}/topics` },
    });
    expect(await world.succeed("GET", "")).toEqual(cluster);
    expect((await world.ask("GET", "/v3/clusters/other/topics")).status).toBe(404);
  });

  test("brokers: listed, got; one that is not there is not found", async () => {
    const { data: [broker] } = await world.succeed("GET", "/brokers");
    expect(broker).toMatchObject({ broker_id: 1, host: "127.0.0.1", port: 9092, rack: null });
    expect(await world.succeed("GET", "/brokers/1")).toEqual(broker);
    expect(await world.ask("GET", "/brokers/7")).toMatchObject({ status: 404 });
    expect(await world.ask("GET", "/brokers/x")).toMatchObject({ status: 400 });
  });
});

describe("topics", () => {
  test("topics: created, listed, grown and deleted", async () => {
    const made = await world.ask("POST", "/topics", orders);
    expect(made.status).toBe(201);
    expect(made.headers.get("Location")).toEndWith("/topics/orders");
    expect(made.body).toMatchObject({ partitions_count: 2, replication_factor: 1 });
    const { data } = await world.succeed("GET", "/topics");
    expect(data).toEqual([made.body]);
    const grown = await world.succeed("PATCH", "/topics/orders", { partitions_count: 5 });
    expect(grown.partitions_count).toBe(5);
    expect(await world.succeed("GET", "/topics/orders")).toEqual(grown);
    expect((await world.ask("DELETE", "/topics/orders")).status).toBe(204);
    expect(await world.ask("DELETE", "/topics/orders")).toMatchObject({
      status: 404,
      body: { error_code: 40403 },
    });
    expect(await world.ask("GET", "/topics/orders")).toMatchObject({ status: 404 });
  });

  test("topics: validate_only checks, and makes nothing", async () => {
    const checked = await world.ask("POST", "/topics", { ...orders, validate_only: true });
    expect(checked).toMatchObject({ status: 200, body: { partitions_count: 2 } });
    expect((await world.succeed("GET", "/topics")).data).toEqual([]);
  });

  const refused: readonly (readonly [string, unknown, number, number])[] = [
    ["a name that Kafka does not allow", { topic_name: "a/b" }, 400, 40002],
    ["an empty name", { topic_name: "" }, 400, 400],
    ["no name", {}, 400, 400],
    ["more replicas than brokers", { ...orders, replication_factor: 3 }, 400, 40002],
    ["no partitions", { ...orders, partitions_count: 0 }, 400, 400],
    [
      "a setting that is not known",
      { ...orders, configs: [{ name: "x", value: "y" }] },
      400,
      40002,
    ],
    ["a brace too few", '{"topic_name":"orders"', 400, 400],
    ["an array of arrays", "[".repeat(5000), 400, 400],
  ];
  test.each(refused)("create: %s is refused", async (_what, body, status, code) => {
    const { status: found, headers, body: problem } = await world.ask("POST", "/topics", body);
    expect([found, problem.error_code]).toEqual([status, code]);
    expect(headers.get("Content-Type")).toBe("application/problem+json");
    expect(problem).toMatchObject({ type: "about:blank", status, message: problem.detail });
  });

  test("topics: one that exists is refused with Confluent's code", async () => {
    await world.succeed("POST", "/topics", orders);
    const again = await world.ask("POST", "/topics", orders);
    expect(again).toMatchObject({ status: 400, body: { error_code: 40002 } });
  });

  test("topics: pages lead through all of them, once each", async () => {
    const names = ["a", "b", "b-1", "c", "d"];
    for (const topic_name of names) {
      await world.succeed("POST", "/topics", { topic_name, partitions_count: 7 });
    }
    const seen: string[] = [];
    let path: string | null = "/topics?page_size=2";
    for (; path !== null;) {
      const { data, metadata } = await world.succeed("GET", path);
      expect(data.length).toBeLessThanOrEqual(2);
      for (const { partitions_count } of data) expect(partitions_count).toBe(7);
      seen.push(...data.map((it: { topic_name: string }) => it.topic_name));
      path = metadata.next === null ? null : metadata.next.slice("http://localhost".length);
    }
    expect(seen).toEqual(names);
    for (const query of ["page_size=0", "page_size=x", "page_token=%21"]) {
      expect((await world.ask("GET", `/topics?${query}`)).status).toBe(400);
    }
  });
});

describe("configs", () => {
  test("configs of a topic: set, got, altered, deleted", async () => {
    await world.succeed("POST", "/topics", orders);
    const one = "/topics/orders/configs/retention.ms";
    expect((await world.ask("PUT", one, { value: "1000" })).status).toBe(204);
    expect(await world.succeed("GET", one)).toMatchObject({
      kind: "KafkaTopicConfig",
      topic_name: "orders",
      value: "1000",
      is_default: false,
      source: "DYNAMIC_TOPIC_CONFIG",
    });
    const data = [
      { name: "retention.ms", operation: "DELETE" },
      { name: "cleanup.policy", value: "compact" },
    ];
    const alter = "/topics/orders/configs:alter";
    expect((await world.ask("POST", alter, { data, validate_only: true })).status).toBe(204);
    expect((await world.succeed("GET", one)).value).toBe("1000");
    expect((await world.ask("POST", alter, { data })).status).toBe(204);
    expect((await world.succeed("GET", one)).is_default).toBe(true);
    const { data: all } = await world.succeed("GET", "/topics/orders/configs");
    const policy = all.find(({ name }: { name: string }) => name === "cleanup.policy");
    expect(policy.value).toBe("compact");
    expect(policy.synonyms.map((it: { source: string }) => it.source)).toContain("DEFAULT_CONFIG");
    expect((await world.ask("DELETE", "/topics/orders/configs/cleanup.policy")).status).toBe(204);
  });

  test("configs: what is not there, and what is not right", async () => {
    await world.succeed("POST", "/topics", orders);
    const codes = async (...asked: Parameters<RestWorld["ask"]>) => {
      const { status, body } = await world.ask(...asked);
      return [status, body.error_code];
    };
    expect(await codes("GET", "/topics/orders/configs/nope")).toEqual([404, 404]);
    expect(await codes("GET", "/topics/none/configs")).toEqual([404, 40403]);
    expect(await codes("PUT", "/topics/orders/configs/retention.ms", { value: "x" }))
      .toEqual([400, 40002]);
    expect(await codes("PUT", "/topics/orders/configs/retention.ms", {})).toEqual([400, 40002]);
    expect(await codes("DELETE", "/topics/orders/configs/nope")).toEqual([400, 40002]);
    expect(await codes("GET", "/brokers/9/configs")).toEqual([404, 404]);
  });

  test("configs of brokers: of one, and of all", async () => {
    const path = "/broker-configs/log.retention.ms";
    expect((await world.ask("PUT", path, { value: "5000" })).status).toBe(204);
    expect(await world.succeed("GET", path)).toMatchObject({
      value: "5000",
      config_type: "BROKER",
    });
    expect(await world.succeed("GET", "/brokers/1/configs/log.retention.ms")).toMatchObject({
      broker_id: 1,
      value: "5000",
      source: "DYNAMIC_DEFAULT_BROKER_CONFIG",
    });
    expect((await world.ask("DELETE", path)).status).toBe(204);
    expect((await world.ask("GET", path)).status).toBe(404);
  });
});

describe("partitions", () => {
  test("partitions: with leaders, replicas, offsets and no moves", async () => {
    await world.succeed("POST", "/topics", orders);
    await world.produce("orders", ["a", "b"], 1);
    const { data } = await world.succeed("GET", "/topics/orders/partitions");
    expect(data.map((it: { partition_id: number }) => it.partition_id)).toEqual([0, 1]);
    const one = "/topics/orders/partitions/1";
    expect(await world.succeed("GET", one)).toEqual(data[1]);
    expect(data[1].leader.related).toEndWith("/partitions/1/replicas/1");
    const { data: [replica] } = await world.succeed("GET", `${one}/replicas`);
    expect(replica).toMatchObject({ broker_id: 1, is_leader: true, is_in_sync: true });
    expect(await world.succeed("GET", `${one}/replicas/1`)).toEqual(replica);
    expect((await world.succeed("GET", "/brokers/1/partition-replicas")).data).toContainEqual(
      replica,
    );
    expect(await world.succeed("GET", `${one}/offset`)).toMatchObject({
      earliest_offset: 0,
      latest_offset: 2,
    });
    expect(await world.succeed("GET", `${one}/offset?offset_type=latest`)).toMatchObject({
      earliest_offset: null,
      latest_offset: 2,
    });
    for (
      const path of [
        "/topics/-/partitions/-/reassignment",
        "/topics/orders/partitions/-/reassignment",
      ]
    ) {
      expect((await world.succeed("GET", path)).data).toEqual([]);
    }
    for (
      const path of [`${one}/reassignment`, `${one}/replicas/2`, "/topics/orders/partitions/2"]
    ) {
      expect((await world.ask("GET", path)).status).toBe(404);
    }
  });
});
