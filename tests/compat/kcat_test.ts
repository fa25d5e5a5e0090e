/** kcat of Debian (an older librdkafka) against the real broker. */

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  codecNames,
  type RunningBroker,
  runOk,
  scratchDirectory,
  startWeir,
  testWith,
} from "./harness.ts";

let broker: RunningBroker;

beforeAll(async () => {
  broker = await startWeir({ settings: { "group.initial.rebalance.delay.ms": "0" } });
}, 30_000);

afterAll(async () => void await broker?.stop(), 30_000);

const kcat = (...args: string[]) => ["kcat", "-b", broker.bootstrap, "-q", ...args];
const lines = (text: string) => text.trimEnd().split("\n");

describe("kcat", () => {
  testWith("kcat", "kcat -L: names the broker, the topic and its leader", async () => {
    const topic = `kcat-list-${Date.now()}`;
    await runOk(kcat("-P", "-t", topic), { input: "one\n" });
    const metadata = JSON.parse(await runOk(kcat("-L", "-J", "-t", topic)));
    expect(metadata.brokers).toHaveLength(1);
    expect(metadata.topics[0]).toMatchObject({ topic, partitions: [{ partition: 0 }] });
    expect(metadata.topics[0].partitions[0].leader).toBe(metadata.brokers[0].id);
  });

  for (const codec of codecNames) {
    testWith("kcat", `kcat ${codec}: keys, headers and values come back`, async () => {
      const topic = `kcat-${codec}-${Date.now()}`;
      const input = Array.from({ length: 1000 }, (_, i) => `k${i}:value ${i} ${"x".repeat(i)}`);
      await runOk(
        kcat("-P", "-t", topic, "-p", "0", "-K:", "-z", codec, "-H", "a=b", "-X", "acks=all"),
        { input: `${input.join("\n")}\n` },
      );
      const output = await runOk(kcat("-C", "-t", topic, "-p", "0", "-e", "-f", "%k:%s|%h\n"));
      expect(lines(output)).toEqual(input.map((line) => `${line}|a=b`));
    });
  }

  testWith("kcat", "kcat: null values, a record of 900 KiB from a file, and a time", async () => {
    const topic = `kcat-edge-${Date.now()}`;
    const file = join(scratchDirectory("kcat"), "large");
    writeFileSync(file, "L".repeat(900 * 1024));
    await runOk(kcat("-P", "-t", topic, "-p", "0", "-K:", "-Z"), { input: "tombstone:\n" });
    await runOk(kcat("-P", "-t", topic, "-p", "0", file));
    const output = await runOk(kcat("-C", "-t", topic, "-p", "0", "-e", "-f", "%K %S\n"));
    expect(lines(output)).toEqual(["9 -1", `-1 ${900 * 1024}`]);
    const [offset] = lines(await runOk(kcat("-Q", "-t", `${topic}:0:0`)));
    expect(offset).toContain("offset 0");
  });

  testWith("kcat", "kcat -G: a group consumes and commits", async () => {
    const topic = `kcat-group-${Date.now()}`;
    const values = Array.from({ length: 50 }, (_, i) => `v${i}`);
    await runOk(kcat("-P", "-t", topic), { input: `${values.join("\n")}\n` });
    const consume = () =>
      runOk(kcat("-X", "auto.offset.reset=earliest", "-c", "25", "-G", `group-${topic}`, topic));
    const seen = [...lines(await consume()), ...lines(await consume())];
    expect(seen.toSorted()).toEqual(values.toSorted());
  });
});
