/** Pages of an application of another origin that subscribe by `/client.js`, while nodes die and kafkajs produces. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Kafka, logLevel } from "kafkajs";
import type { BrowserContext, Page } from "playwright-core";
import type { WeirRecord } from "../../broker/gateway/client/types.ts";
import { RealCluster } from "../compat/cluster.ts";
import { eventually, type RunningBroker, startWeir } from "../compat/harness.ts";
import { chromiumReason, hasChromium, launchChromium } from "./chromium.ts";

const TOPIC = "orders";
const PARTITIONS = 3;
const RECORDS = 600;
const KEYS = 10;

/** The application: notes what comes, and says by its title that it has begun. */
const APPLICATION = `<!doctype html><title>asking</title><script type="module">
  const nodes = new URLSearchParams(location.search).getAll("node");
  const { connect } = await import("http://" + nodes[0] + "/client.js");
  globalThis.seen = [];
  globalThis.faults = [];
  const weir = connect(nodes.map((node) => "ws://" + node + "/ws"), { maxBackoffMs: 300 });
  const subscription = weir.subscribe({ topic: "${TOPIC}", from: "earliest" }, {
    record: ({ partition, offset, key, value }) => seen.push({ partition, offset, key, value }),
    gap: (gap) => faults.push(JSON.stringify(gap)),
    error: (error) => faults.push(String(error)),
  });
  await subscription.begun;
  document.title = "subscribed";
</script>`;

let context: BrowserContext;
let application: ReturnType<typeof Bun.serve>;

describe.skipIf(!hasChromium)(`/client.js in Chromium${chromiumReason}`, () => {
  beforeAll(async () => {
    context = await launchChromium();
    application = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => new Response(APPLICATION, { headers: { "Content-Type": "text/html" } }),
    });
  }, 60_000);

  afterAll(async () => {
    await context?.close();
    await application?.stop(true);
  }, 30_000);

  test(
    "two pages, and a broker that is killed and restarted: every record once, in order",
    async () => {
      const settings = { "weir.gateway.allowed.origins": originOf(application) };
      let broker: RunningBroker = await startWeir({ settings });
      try {
        await createTopic(broker.bootstrap, 1);
        const pages = await openPages([[httpOf(broker)], [httpOf(broker)]]);
        await produceAll(broker.bootstrap, async (count) => {
          if (count % 200 !== 100) return;
          const { dataDirectory, port, httpPort } = broker;
          await broker.kill();
          broker = await startWeir({ settings, dataDirectory, port, httpPort });
        });
        await expectAll(pages);
      } finally {
        await broker.stop();
      }
    },
    120_000,
  );

  test(
    "two pages, and a node of a cluster that stays dead: every record once, in order",
    async () => {
      const cluster = await RealCluster.start({
        nodes: 3,
        isProxied: false,
        settings: { "weir.gateway.allowed.origins": originOf(application) },
      });
      try {
        await createTopic(cluster.bootstrap, 3);
        const [first, second, third] = cluster.nodeIds.map((node) =>
          httpOf(cluster.node(node))
        ) as [
          string,
          string,
          string,
        ];
        // One page is at the node that dies, and the other node leads some of the partitions no less than it does.
        const pages = await openPages([[first, second, third], [second, third, first]]);
        await produceAll(cluster.bootstrap, async (count) => {
          if (count === RECORDS / 2) await cluster.kill(1);
        });
        await expectAll(pages);
      } finally {
        await cluster.close();
      }
    },
    120_000,
  );
});

const originOf = ({ port }: { readonly port?: number | undefined }) => `http://127.0.0.1:${port}`;
const httpOf = ({ httpPort }: RunningBroker) => `127.0.0.1:${httpPort}`;

function clientOf(bootstrap: string): Kafka {
  return new Kafka({
    clientId: "shop",
    brokers: bootstrap.split(","),
    logLevel: logLevel.NOTHING,
    retry: { retries: 100, initialRetryTime: 50, maxRetryTime: 300 },
  });
}

async function createTopic(bootstrap: string, replicationFactor: number): Promise<void> {
  const admin = clientOf(bootstrap).admin();
  await admin.connect();
  await admin.createTopics({
    topics: [{ topic: TOPIC, numPartitions: PARTITIONS, replicationFactor }],
  });
  await admin.disconnect();
}

/** One page for each list of nodes, once it has subscribed. */
async function openPages(nodesOfPages: readonly (readonly string[])[]): Promise<Page[]> {
  return await Promise.all(nodesOfPages.map(async (nodes) => {
    const page = await context.newPage();
    const query = new URLSearchParams(nodes.map((node): [string, string] => ["node", node]));
    await page.goto(`${originOf(application)}/?${query}`);
    await page.waitForFunction("document.title === 'subscribed'");
    return page;
  }));
}

/** Produces one record after the other, and begins `fault` before each. */
async function produceAll(
  bootstrap: string,
  fault: (count: number) => Promise<void>,
): Promise<void> {
  const producer = clientOf(bootstrap).producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const faults: Promise<void>[] = [];
  for (let count = 0; count < RECORDS; count++) {
    // It does not wait for a broker to die, so that what is sent meanwhile fails and is sent again.
    faults.push(fault(count));
    // One at a time: kafkajs lets a send that it tries again be overtaken by the next.
    await producer.send({
      topic: TOPIC,
      messages: [{ key: `${count % KEYS}`, value: `${count}` }],
    });
  }
  await Promise.all(faults);
  await producer.disconnect();
}

/** Waits until each page has seen all that was produced, and looks at what it saw. */
async function expectAll(pages: readonly Page[]): Promise<void> {
  for (const page of pages) {
    const seen = await eventually("all records on the page", async () => {
      const seen = await page.evaluate<
        Pick<WeirRecord, "partition" | "offset" | "key" | "value">[]
      >(
        "seen",
      );
      return seen.length >= RECORDS ? seen : undefined;
    });
    expect(await page.evaluate<string[]>("faults")).toEqual([]);
    expect(seen).toHaveLength(RECORDS);
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const offsets = seen.filter((it) => it.partition === partition).map(({ offset }) => offset);
      expect(offsets).toEqual(offsets.map((_, i) => i));
    }
    for (let key = 0; key < KEYS; key++) {
      const values = seen.filter((it) => it.key === `${key}`).map(({ value }) => Number(value));
      expect(values).toEqual(values.map((_, i) => KEYS * i + key));
    }
    await page.close();
  }
}
