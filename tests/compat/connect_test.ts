/** Kafka Connect, standalone, with its file connectors: lines of one file come out in another, over a restart too. */

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  eventually,
  kafkaTool,
  type RunningBroker,
  scratchDirectory,
  spawnKafka,
  startWeir,
  testWith,
} from "./harness.ts";
import { freePeerPort } from "./kafka_peer.ts";

const PATIENCE_MS = 180_000;
const LINES = 500;

let broker: RunningBroker;

beforeAll(async () => {
  broker = await startWeir({ settings: { "group.initial.rebalance.delay.ms": "0" } });
}, 30_000);

afterAll(async () => void await broker?.stop(), 30_000);

/** The files of a worker with a source and a sink. */
async function prepare(directory: string) {
  const at = (name: string) => join(directory, name);
  const write = (name: string, settings: Readonly<Record<string, string>>) =>
    writeFileSync(
      at(name),
      Object.entries(settings).map(([key, value]) => `${key}=${value}\n`).join(""),
    );
  const converter = "org.apache.kafka.connect.storage.StringConverter";
  write("worker.properties", {
    "bootstrap.servers": broker.bootstrap,
    "key.converter": converter,
    "value.converter": converter,
    "offset.storage.file.filename": at("offsets"),
    "offset.flush.interval.ms": "200",
    "listeners": `http://127.0.0.1:${await freePeerPort()}`,
    "plugin.discovery": "only_scan",
  });
  write("source.properties", {
    "name": "lines-source",
    "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
    "file": at("in.txt"),
    "topic": "lines",
  });
  write("sink.properties", {
    "name": "lines-sink",
    "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
    "file": at("out.txt"),
    "topics": "lines",
  });
  return {
    input: at("in.txt"),
    output: at("out.txt"),
    files: ["worker", "source", "sink"].map((name) => at(`${name}.properties`)),
  };
}

/** Runs a worker until `isDone`. */
async function work(files: readonly string[], what: string, isDone: () => boolean): Promise<void> {
  const child = spawnKafka(kafkaTool("connect-standalone", ...files), { heapMegabytes: 400 });
  await eventually(what, () => {
    if (child.exitCode !== null) throw new Error(`Connect ended with code ${child.exitCode}`);
    return isDone() ? true : undefined;
  }, PATIENCE_MS);
  child.kill("SIGTERM");
  await child.exited;
}

describe("Kafka Connect", () => {
  testWith("Apache Kafka (peers)", "a file goes through a topic into another file", async () => {
    const { input, output, files } = await prepare(scratchDirectory("connect"));
    const lines = (from: number) =>
      Array.from({ length: LINES }, (_, index) => `line ${from + index}\n`).join("");
    const written = () => existsSync(output) ? readFileSync(output, "utf8") : "";
    writeFileSync(input, lines(0));
    await work(files, "the first lines come out", () => written().length >= lines(0).length);
    expect(written()).toBe(lines(0));
    appendFileSync(input, lines(LINES));
    const all = lines(0) + lines(LINES);
    await work(files, "the others come out", () => written().length >= all.length);
    expect(written()).toBe(all);
  }, 420_000);
});
