/**
 * The metrics page of a whole broker, in memory, after a life in which everything that has a metric has happened once:
 * what pages, dashboards and alerts say of metrics is held against it.
 */

import { Calls } from "../../broker/client/calls.ts";
import { KafkaClient } from "../../broker/client/kafka_client.ts";
import { ServedApp, startedBroker } from "../broker/cli/started_broker.ts";
import { TestMachine } from "../broker/cli/test_io.ts";

/** One name on the page. */
export interface ServedFamily {
  readonly type: string;
  /** Of each of its series: labels and their values. */
  readonly series: readonly Readonly<Record<string, string>>[];
  /** The values of the series. */
  readonly values: readonly number[];
}

/** Everything on the page, by name; a histogram under its own name, with the labels of its buckets. */
export type ServedMetrics = ReadonlyMap<string, ServedFamily>;

/** Reads a page in Prometheus' text format. */
export function parseMetrics(text: string): ServedMetrics {
  const families = new Map<
    string,
    { type: string; series: Record<string, string>[]; values: number[] }
  >();
  for (const [, name, type] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    families.set(name!, { type: type!, series: [], values: [] });
  }
  for (const [, name, labels = "", value] of text.matchAll(/^([a-z_]+)(?:\{(.*)\})? (\S+)$/gm)) {
    const family = families.get(name!) ?? families.get(name!.replace(/_(bucket|sum|count)$/, ""));
    if (family === undefined) throw new Error(`${name} has no type`);
    const pairs = [...labels.matchAll(/([a-z]+)="((?:[^"\\]|\\.)*)"/g)];
    family.values.push(Number(value));
    family.series.push(Object.fromEntries(pairs.map(([, label, value]) => [label!, value!])));
  }
  return families;
}

/** The value of the one series with these labels. */
export function valueOf(
  served: ServedMetrics,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const { series = [], values = [] } = served.get(name) ?? {};
  const index = series.findIndex((one) =>
    Object.entries(labels).every(([label, value]) => one[label] === value)
  );
  return values[index];
}

/** The text of `/metrics` of a broker that has lived. */
export async function liveMetricsPage(): Promise<string> {
  const machine = new TestMachine();
  const { clock, network, disk } = machine;
  const served = new ServedApp();
  const broker = await startedBroker(machine, {
    name: "broker",
    disk,
    network,
    serveHttp: served.serve,
  });
  await machine.succeed("topic create orders -p 2");
  await machine.succeed("produce orders", ["a\nb\nc\n"]);
  await machine.succeed("consume orders --group billing");
  await speakNonsense(machine);
  await clock.advance(2000);
  const page = await clock.run((async () => {
    await served.request("/readyz");
    const response = await served.request("/metrics");
    return await response.text();
  })());
  await clock.run(broker.stop());
  return page;
}

/** What is refused: a batch that is none, an offset that is not there, a connection that does not speak Kafka. */
async function speakNonsense({ clock, random, network }: TestMachine): Promise<void> {
  const client = new KafkaClient({
    network,
    clock,
    random: random.fork("nonsense"),
    bootstrap: [{ host: "127.0.0.1", port: 9092 }],
    clientId: "nonsense",
    softwareVersion: "1",
    interrupted: new AbortController().signal,
    requestTimeoutMs: 1000,
    retryTimeoutMs: 1000,
  });
  const records = new Uint8Array(100);
  await clock.run(client.ask(Calls.produce, {
    acks: 1,
    timeoutMs: 1000,
    topicData: [{ name: "orders", partitionData: [{ index: 0, records }] }],
  }));
  const partitions = [{ partition: 0, fetchOffset: 99, partitionMaxBytes: 1 }];
  await clock.run(client.ask(Calls.fetch, {
    maxWaitMs: 0,
    minBytes: 0,
    topics: [{ topic: "orders", partitions }],
  }));
  await clock.run(client.close());
  const quiet = { onData: () => {}, onDrain: () => {}, onClose: () => {} };
  const link = await clock.run(network.connect({ host: "127.0.0.1", port: 9092 }, () => quiet));
  link.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
  await clock.advance(100);
}
