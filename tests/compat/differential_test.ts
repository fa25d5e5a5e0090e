/**
 * The same requests to weir and to a real Apache Kafka, at every version that both serve: the answers must
 * be the same, what names a broker, a clock or a random id aside.
 *
 * Each case is a story of requests on a topic of its own. A request that a version cannot say (a field that
 * came later) is left out for that version on both sides alike.
 */

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { join } from "node:path";
import { WireError } from "../../protocol/bytes.ts";
import type { Message } from "../../protocol/schema.ts";
import { apiVersionsRequest, apiVersionsResponse } from "../../protocol/schemas/api_versions.ts";
import { requestByApiKey } from "../../protocol/schemas/index.ts";
import { apiName } from "../../protocol/api_keys.ts";
import { versionsOf } from "../../protocol/compile.ts";
import { METADATA_TOPIC_ID, ZERO_UUID } from "../../protocol/types.ts";
import {
  eventually,
  peersDirectory,
  type RunningBroker,
  scratchDirectory,
  startWeir,
  testWith,
} from "./harness.ts";
import { type Step, stories } from "./differential_stories.ts";
import { ClosedError, Wire } from "./wire.ts";

const PEER_PORT = 31_492;
/** Members whose value belongs to one broker, one clock or one draw of chance. */
const IGNORED = new Set([
  "throttleTimeMs",
  "clusterId",
  "host",
  "port",
  "logAppendTimeMs",
  "memberId",
  "leader",
  "memberEpoch",
  "producerId",
  "errorMessage",
  "nodeEndpoints",
  "rack",
  "documentation",
  "totalBytes",
  "usableBytes",
  "logDir",
  "controllerId",
  "isFenced",
  "finalizedFeaturesEpoch",
  "sessionId",
  "eligibleLeaderReplicas",
  "lastKnownElr",
]);

let weir: RunningBroker;
let peer: Bun.Subprocess | null = null;
let sides: readonly string[] = [];
const common = new Map<number, { lowest: number; highest: number }>();

async function startPeer(): Promise<void> {
  const kafka = join(peersDirectory, "kafka", "kafka");
  const directory = scratchDirectory("peer");
  peer = Bun.spawn([
    kafka,
    "broker",
    "--port",
    String(PEER_PORT),
    "--dir",
    join(directory, "kafka"),
  ], {
    stdout: "ignore",
    stderr: "ignore",
    env: { ...process.env, KAFKA_HEAP_OPTS: "-Xmx512M -Xms256M" },
  });
  process.on("exit", () => peer?.kill("SIGKILL"));
  await eventually("Apache Kafka answers", async () => {
    const wire = await Wire.connect(`127.0.0.1:${PEER_PORT}`).catch(() => undefined);
    wire?.close();
    return wire;
  }, 60_000);
}

async function servedVersions(bootstrap: string) {
  const wire = await Wire.connect(bootstrap);
  const answer = await wire.send(apiVersionsRequest, apiVersionsResponse, 3, {
    clientSoftwareName: "differential",
    clientSoftwareVersion: "1",
  });
  wire.close();
  return new Map(
    answer.apiKeys.map((
      { apiKey, minVersion, maxVersion },
    ) => [apiKey, { minVersion, maxVersion }]),
  );
}

async function start(): Promise<void> {
  [weir] = await Promise.all([
    startWeir({ settings: { "group.initial.rebalance.delay.ms": "0" } }),
    startPeer(),
  ]);
  sides = [weir.bootstrap, `127.0.0.1:${PEER_PORT}`];
  const [ours, theirs] = await Promise.all(sides.map(servedVersions));
  for (const [key, { minVersion, maxVersion }] of ours!) {
    const other = theirs!.get(key);
    const schema = requestByApiKey.get(key);
    if (other === undefined || schema === undefined) continue;
    const known = versionsOf(schema.versions);
    common.set(key, {
      lowest: Math.max(minVersion, other.minVersion, known.lowest),
      highest: Math.min(maxVersion, other.maxVersion, known.highest),
    });
  }
}

/** Drops what may differ, and gives bytes and lists a form that compares. */
function normalize(value: unknown, name = ""): unknown {
  if (value instanceof Uint8Array) {
    return value.length > 64 ? `${value.length} bytes` : Buffer.from(value).toString("hex");
  }
  if (Array.isArray(value)) {
    const list = value.map((element) => normalize(element, name));
    return name === "configs" || name === "synonyms" ? sortBy(list) : list;
  }
  if (typeof value === "string" && /^[A-Za-z0-9_-]{22}$/.test(value)) {
    return value === ZERO_UUID || value === METADATA_TOPIC_ID ? value : "<uuid>";
  }
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).filter(([key]) => !IGNORED.has(key)).map((
      [key, member],
    ) => [key, normalize(member, key)]),
  );
}

function sortBy(list: unknown[]): unknown[] {
  return list.toSorted((a, b) => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
}

/** Plays a story at one version on both sides. Returns: one transcript a side. */
async function play(steps: readonly Step[], apiKey: number, version: number): Promise<string[][]> {
  const topic = `diff-${apiKey}-${version}-${Date.now().toString(36)}-${
    Math.trunc(Math.random() * 1e6)
  }`;
  const transcripts: string[][] = [];
  for (const bootstrap of sides) {
    let wire = await Wire.connect(bootstrap);
    const lines: string[] = [];
    const state: Record<string, unknown> = { topic };
    for (const step of steps) {
      const key = step.request.apiKey!;
      const range = common.get(key);
      if (range === undefined) continue;
      const at = key === apiKey ? version : Math.min(step.version ?? range.highest, range.highest);
      try {
        const request = step.value(state, at);
        if (request === null) continue;
        const answer = await wire.send(
          step.request as Message,
          step.response as Message,
          at,
          request as never,
        );
        step.keep?.(state, answer as never);
        if (step.compare !== false) {
          lines.push(
            `${step.title}: ${
              JSON.stringify(normalize(step.pick?.(answer as never) ?? answer), null, 1)
            }`,
          );
        }
      } catch (error) {
        if (error instanceof ClosedError) {
          lines.push(`${step.title}: the broker hung up`);
          wire = await Wire.connect(bootstrap);
        } else if (error instanceof WireError) {
          lines.push(`${step.title}: version ${at} cannot say this`);
        } else throw new Error(`${step.title}: ${(error as Error).message}`, { cause: error });
      }
    }
    wire.close();
    transcripts.push(lines);
  }
  return transcripts;
}

describe("weir beside Apache Kafka", () => {
  beforeAll(async () => {
    if (stories.length > 0) {
      await start().catch(() => {});
    }
  }, 90_000);
  afterAll(async () => {
    await weir?.stop();
    peer?.kill("SIGTERM");
    await peer?.exited;
  }, 60_000);

  for (const [title, apiKey, steps] of stories) {
    testWith("Apache Kafka (peers)", `${apiName(apiKey)}: ${title}`, async () => {
      expect(sides).toHaveLength(2);
      const range = common.get(apiKey);
      expect(range, `${apiName(apiKey)} is served by both`).toBeDefined();
      for (let version = range!.lowest; version <= range!.highest; version++) {
        const [ours, theirs] = await play(steps, apiKey, version);
        expect(ours!.length).toBeGreaterThan(0);
        for (const [i, line] of theirs!.entries()) {
          expect(`v${version} ${ours![i]}`).toBe(`v${version} ${line}`);
        }
      }
    });
  }
});
