/** librdkafka (through confluent-kafka of PyPI) against the real broker. */

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { join } from "node:path";
import {
  codecNames,
  deck,
  fingerprint,
  type RunningBroker,
  runOk,
  startWeir,
  testWith,
} from "./harness.ts";

let broker: RunningBroker;

beforeAll(async () => {
  broker = await startWeir({ settings: { "group.initial.rebalance.delay.ms": "0" } });
}, 30_000);

afterAll(async () => void await broker?.stop(), 30_000);

describe("confluent-kafka", () => {
  testWith(
    "python confluent-kafka",
    "librdkafka: codecs, a cooperative group of two and times give exactly what was produced",
    async () => {
      const records = deck("rdkafka");
      const input = JSON.stringify(records.map(({ key, value, headers }) => ({
        key: key?.toString("base64") ?? null,
        value: value?.toString("base64") ?? null,
        headers: headers.map(([name, bytes]) => [name, bytes.toString("base64")]),
      })));
      const script = join(import.meta.dir, "confluent_kafka_client.py");
      const lines = (await runOk(["python3", script, broker.bootstrap], { input }))
        .trim().split("\n").map((line) => JSON.parse(line));
      const seen = records.map(fingerprint);
      expect(lines.slice(0, 5)).toEqual(
        codecNames.map((codec) => ({ test: "codec", codec, failed: [], left: 0, seen })),
      );
      const values = Array.from({ length: 400 }, (_, i) => `v${i}`).toSorted();
      expect(lines[5]).toEqual({
        test: "group",
        owned: [2, 2],
        seen: values,
        after: 4,
        committed: [100, 100, 100, 100],
      });
      expect(lines[6]).toEqual({
        test: "consumer protocol",
        owned: [2, 2],
        seen: Array.from({ length: 200 }, (_, i) => `v${i}`).toSorted(),
        after: [4],
        committed: [50, 50, 50, 50],
      });
      expect(lines[7]).toEqual({ test: "migration", alone: [4], both: [2, 2], back: [4] });
      expect(lines[8]).toEqual({ test: "time", found: [0, 1, 49] });
    },
  );
});
