/**
 * Transactions of Apache Kafka's Java clients on three real nodes, each of which is killed once meanwhile: none is torn,
 * none that was committed is lost, none that was aborted is read (`TransactionLoad.java`).
 */

import { expect } from "bun:test";
import { join } from "node:path";
import { RealCluster } from "./cluster.ts";
import { peersDirectory, testWith } from "./harness.ts";

const PRODUCERS = 4;
const SECONDS = 25;
/** Between two nodes, and before the first. */
const PAUSE_MS = 5_000;

testWith(
  "Apache Kafka (peers)",
  "transactions on a cluster whose nodes are killed are whole or not there",
  async () => {
    const cluster = await RealCluster.start({ nodes: 3, isProxied: false });
    try {
      const program = join(import.meta.dir, "TransactionLoad.java");
      const load = Bun.spawn([
        join(peersDirectory, "kafka", "kafka"),
        "java",
        program,
        cluster.bootstrap,
        String(PRODUCERS),
        String(SECONDS),
      ], { stdout: "pipe", stderr: "ignore" });
      const output = new Response(load.stdout).text();
      for (const node of cluster.nodeIds) {
        await Bun.sleep(PAUSE_MS);
        await cluster.kill(node);
        await Bun.sleep(2_000);
        await cluster.startNode(node);
      }
      expect(await output).toMatch(/^ready\nright: [1-9]\d* committed\n$/);
    } finally {
      await cluster.close();
    }
  },
  240_000,
);
