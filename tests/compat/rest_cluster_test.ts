/** A stream over HTTP in a cluster of three processes, of which the one that served it is killed. */

import { afterAll, expect, test } from "bun:test";
import { RealCluster } from "./cluster.ts";
import { runOk } from "./harness.ts";

const FIRST = 2000;
const MORE = 500;
const STREAM = "api/topics/t/stream";

let cluster: RealCluster | null = null;
afterAll(async () => {
  await cluster?.close();
});

test(
  "a stream goes on at another node, each record once and in order, when the one it was at is dead",
  async () => {
    cluster = await RealCluster.start({ nodes: 3, isProxied: false });
    const [a, b, c] = cluster.nodeIds.map((node) =>
      `http://127.0.0.1:${cluster!.node(node).httpPort}`
    );
    const produce = async (base: string, first: number, count: number) => {
      const values = Array.from({ length: count }, (_, i) => first + i);
      const lines = values.map((it) => JSON.stringify({ key: `${it % 97}`, value: `${it}` }));
      const path = `${base}/api/topics/t/records`;
      const answers = await runOk(["curl", "-sN", "-X", "POST", "-T", "-", path], {
        input: lines.join("\n"),
      });
      expect(answers.match(/"offset"/g)?.length).toBe(count);
    };
    const clusters = await (await fetch(`${a}/v3/clusters`)).json() as {
      data: { cluster_id: string }[];
    };
    const made = await fetch(`${a}/v3/clusters/${clusters.data[0]!.cluster_id}/topics`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ topic_name: "t", partitions_count: 6, replication_factor: 3 }),
    });
    expect(made.status).toBe(201);
    await produce(b!, 0, FIRST);
    const before = await runOk([
      "curl",
      "-sN",
      `${a}/${STREAM}?from=earliest&limit=700&format=sse`,
    ]);
    const id = before.match(/^id: (.*)$/gm)!.at(-1)!.slice("id: ".length);
    await cluster.kill(1);
    await produce(c!, FIRST, MORE);
    const rest = FIRST + MORE - 700;
    const after = await runOk([
      "curl",
      "-sN",
      `${c}/${STREAM}?format=sse&limit=${rest}`,
      "-H",
      `Last-Event-ID: ${id}`,
    ]);
    const records = `${before}${after}`.match(/^data: (\{.*)$/gm)!
      .map((line) =>
        JSON.parse(line.slice("data: ".length)) as { partition: number; value: string }
      );
    const values = records.map(({ value }) => Number(value));
    expect(values.toSorted((x, y) => x - y)).toEqual([...Array(FIRST + MORE).keys()]);
    for (const own of Map.groupBy(records, ({ partition }) => partition).values()) {
      const order = own.map(({ value }) => Number(value));
      expect(order).toEqual(order.toSorted((x, y) => x - y));
    }
  },
  120_000,
);
