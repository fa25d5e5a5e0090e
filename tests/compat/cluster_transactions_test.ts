/**
 * Transactions of Apache Kafka's Java clients on three real nodes, each of which is killed once meanwhile: none is torn,
 * none that was committed is lost, none that was aborted is read (`TransactionLoad.java`).
 */

import { expect } from "bun:test";
import { RealCluster } from "./cluster.ts";
import { kafkaJava, spawnKafka, testWith } from "./harness.ts";

const PRODUCERS = 4;
const SECONDS = 25;
/** Between two nodes, and before the first. */
const PAUSE_MS = 5_000;

testWith(
  "Apache Kafka (peers)",
  "transactions on a cluster whose nodes are killed are whole or not there",
  async () => {
    const cluster = await RealCluster.start({ nodes: 3, isProxied: false });
    const load = spawnKafka(
      kafkaJava("TransactionLoad.java", cluster.bootstrap, String(PRODUCERS), String(SECONDS)),
      { heapMegabytes: 512, stdout: "pipe" },
    );
    try {
      const output = new Response(load.stdout).text();
      for (const node of cluster.nodeIds) {
        await Bun.sleep(PAUSE_MS);
        await cluster.kill(node);
        await Bun.sleep(2_000);
        await cluster.startNode(node);
      }
      expect(await output).toMatch(/^ready\nright: [1-9]\d* committed\n$/);
    } finally {
      load.kill("SIGKILL");
      await Promise.all([load.exited, cluster.close()]);
    }
  },
  240_000,
);
