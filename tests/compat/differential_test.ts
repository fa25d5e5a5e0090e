/**
 * The same requests to weir and to a real Apache Kafka, at every version that both serve: the answers must
 * be the same, what names a broker, a clock or a random id aside.
 *
 * Each story is played on a topic and a group of its own. A request that a version cannot say (a field that
 * came later) is left out for that version on both sides alike. Where weir answers otherwise on purpose,
 * `KNOWN` says so and why; an entry that no longer applies fails the test.
 *
 * `WEIR_COMPAT_BOOTSTRAP=host:port` puts another broker in the place of weir (a second Apache Kafka must
 * pass wholly), `WEIR_COMPAT_PEER=host:port` uses an Apache Kafka that runs already.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { WireError } from "../../protocol/bytes.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Message } from "../../protocol/schema.ts";
import { apiVersionsRequest, apiVersionsResponse } from "../../protocol/schemas/api_versions.ts";
import { requestByApiKey } from "../../protocol/schemas/index.ts";
import { apiName } from "../../protocol/api_keys.ts";
import { versionsOf } from "../../protocol/compile.ts";
import { METADATA_TOPIC_ID, ZERO_UUID } from "../../protocol/types.ts";
import { hasTool, type RunningBroker, scratchDirectory, startWeir, testWith } from "./harness.ts";
import { batchStories } from "./differential_batch_stories.ts";
import { consumerGroupStories } from "./differential_consumer_group_stories.ts";
import { clusterStories } from "./differential_cluster_stories.ts";
import { freePeerPort, type KafkaPeer, startKafka } from "./kafka_peer.ts";
import { groupStories } from "./differential_group_stories.ts";
import type { State, Step, Story } from "./differential_steps.ts";
import { topicStories } from "./differential_stories.ts";
import { transactionStories } from "./differential_transaction_stories.ts";
import { ClosedError, Wire } from "./wire.ts";

const SETTLE_MS = 20_000;
const VERSIONS_AT_ONCE = 4;
const SHORT_BYTES = 64;
const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;
const stories = [
  ...topicStories,
  ...batchStories,
  ...groupStories,
  ...consumerGroupStories,
  ...transactionStories,
  ...clusterStories,
];

/** Members whose value belongs to one broker, one clock or one draw of chance: only whether there is one counts. */
const MASKED = new Set([
  "batchIndexErrorMessage",
  "clusterId",
  "controllerId",
  "errorMessage",
  "finalizedFeaturesEpoch",
  "host",
  "leader",
  "logAppendTimeMs",
  "logDir",
  "memberId",
  "port",
  "producerId",
  "sessionId",
  "throttleTimeMs",
  "totalBytes",
  "usableBytes",
]);
/** So that no story has to wait for the next target of a consumer group. */
const AT_ONCE = { "group.consumer.assignment.interval.ms": "0" };
const NOTHING: readonly unknown[] = [null, "", -1, 0, undefined];

/** What a broker does in the moments after a change; a step that only prepares is then asked again. */
const UNSETTLED = new Set<number>([
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.UNKNOWN_TOPIC_ID,
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
]);

/** Differences that are meant: where in the transcript, and why. */
const KNOWN: readonly { readonly where: RegExp; readonly why: string }[] = [
  {
    where: /duplicate\..*\.logAppendTimeMs: -1,/,
    why: "Kafka tells when the batch was written first, and clients then take that for the time " +
      "of each record; weir leaves them the time that they gave the record",
  },
  {
    where: /CreatePartitions .*20000.*errorCode: 44, Kafka -1$/,
    why: "Kafka fails with UNKNOWN_SERVER_ERROR over more partitions than a change may have",
  },
  {
    where: /no\.such\.setting=1\.responses\.0\.errorCode: 42, Kafka 0$/,
    why: "weir refuses settings of a broker that nobody knows; Kafka keeps them for plugins",
  },
  {
    where: /ApiVersions .*\.apis\.\w+: undefined, Kafka \{/,
    why: "what weir does not serve yet: docs/compatibility.md has the list",
  },
  {
    where:
      /ApiVersions .*\.apis\.(ApiVersions|DeleteGroups|InitProducerId|TxnOffsetCommit)\.maxVersion: /,
    why: "versions of Kafka 4.4, which the peer does not know",
  },
  {
    where: /ApiVersions .*\.features\./,
    why: "weir has the features of what it serves, and one metadata version",
  },
  {
    where: /\.heartbeatIntervalMs: 1000, Kafka 5000$/,
    why: "who waits for partitions of others asks more often (decision 0066)",
  },
  {
    where: /retention\.ms 7 5\.0: 42, Kafka -1$/,
    why: "Kafka fails with UNKNOWN_SERVER_ERROR over an operation that does not exist",
  },
  {
    where: /UpdateFeatures .*\.results\.\d\.errorMessage: null, Kafka "<errorMessage>"$/,
    why: 'Kafka says "NONE" where there is no error',
  },
  {
    where: /FindCoordinator .* type 0\.errorMessage: "", Kafka "<errorMessage>"$/,
    why: 'up to version 3 Kafka says "NONE" where there is no error',
  },
  {
    where:
      /configs\.(errors\.deadletterqueue|max\.decompressed|(log\.)?remote\.copy\.lag)\.[^:]*: \{.*undefined$/,
    why: "settings of Kafka 4.4, which the peer does not know",
  },
  {
    where:
      /configs\.(producer\.id\.expiration\.check|(leader|follower)\.replication\.throttled|replica\.alter\.log\.dirs\.io)\.[^:]*: \{.*undefined$/,
    why: "settings that Kafka has and does not list",
  },
  {
    where: /describe\..*configs\.retention\.ms\.configSource: 4, Kafka 5$/,
    why: "Kafka overlooks log.retention.hours here, though not in the answer to CreateTopics",
  },
  { where: /broker.*configs\.(weir|http)\.[^:]*: \{.*undefined$/, why: "settings of weir's own" },
  {
    where: /broker.*configs\.[^:]*: undefined, Kafka \{/,
    why: "weir lists the settings that it acts on",
  },
  {
    where:
      /broker.*configs\.(listener|num\.replica\.fetchers|producer\.id\.exp)[^:]*\.readOnly: true, Kafka false$/,
    why: "weir reads these when it starts",
  },
];
const seen = new Set<RegExp>();

interface Versions {
  readonly lowest: number;
  readonly highest: number;
}

let weir: RunningBroker;
let peer: KafkaPeer | null = null;
let sides: readonly string[] = [];
const common = new Map<number, Versions>();

async function startPeer(): Promise<string> {
  const running = process.env["WEIR_COMPAT_PEER"];
  if (running !== undefined) return running;
  const directory = join(scratchDirectory("peer"), "kafka");
  peer = await startKafka({ directory, port: await freePeerPort(), settings: AT_ONCE });
  return peer.bootstrap;
}

async function servedVersions(bootstrap: string) {
  const wire = await Wire.connect(bootstrap);
  const answer = await wire.send(apiVersionsRequest, apiVersionsResponse, 3, {
    clientSoftwareName: "differential",
    clientSoftwareVersion: "1",
  });
  wire.close();
  return new Map(
    answer.apiKeys.map(({ apiKey, minVersion, maxVersion }) => [
      apiKey,
      { lowest: minVersion, highest: maxVersion },
    ]),
  );
}

async function start(): Promise<void> {
  const [ours, theirs] = await Promise.all([
    // As the peer's own file has them.
    startWeir({
      settings: {
        "group.initial.rebalance.delay.ms": "0",
        ...AT_ONCE,
        "log.segment.bytes": "1073741824",
        "log.retention.hours": "168",
      },
    }),
    startPeer(),
  ]);
  weir = ours;
  sides = [weir.bootstrap, theirs];
  const [served, kafkas] = await Promise.all(sides.map(servedVersions));
  for (const [key, { lowest, highest }] of served!) {
    const other = kafkas!.get(key);
    const schema = requestByApiKey.get(key);
    if (other === undefined || schema === undefined) continue;
    const known = versionsOf(schema.versions);
    common.set(key, {
      lowest: Math.max(lowest, other.lowest, known.lowest),
      highest: Math.min(highest, other.highest, known.highest),
    });
  }
}

/** Gives values a form that compares: ids and times masked, bytes as text, settings by name. */
function normalize(value: unknown, name = ""): unknown {
  if (MASKED.has(name)) return NOTHING.includes(value) ? value : `<${name}>`;
  if (value instanceof Uint8Array) {
    return value.length <= SHORT_BYTES
      ? Buffer.from(value).toString("hex")
      : `${value.length} bytes ${createHash("sha256").update(value).digest("hex").slice(0, 16)}`;
  }
  if (Array.isArray(value)) {
    if (name !== "configs") return value.map((element) => normalize(element));
    return Object.fromEntries(
      value.map((entry: { name: string }) => [entry.name, normalize(entry)]),
    );
  }
  if (typeof value === "string" && /^[A-Za-z0-9_-]{22}$/.test(value)) {
    return value === ZERO_UUID || value === METADATA_TOPIC_ID ? value : "<uuid>";
  }
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, normalize(member, key)]),
  );
}

/** Lists where two normalized values differ. */
function differences(ours: unknown, theirs: unknown, path: string): string[] {
  const isTree = (value: unknown) => typeof value === "object" && value !== null;
  if (isTree(ours) && isTree(theirs) && Array.isArray(ours) === Array.isArray(theirs)) {
    const [a, b] = [ours, theirs] as [Record<string, unknown>, Record<string, unknown>];
    return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((key) =>
      differences(a[key], b[key], `${path}.${key}`)
    );
  }
  const explainsMore = path.endsWith("essage") && !theirs; // weir's texts are its own
  return explainsMore || Object.is(ours, theirs)
    ? []
    : [`${path}: ${JSON.stringify(ours)}, Kafka ${JSON.stringify(theirs)}`];
}

function hasUnsettledError(answer: unknown): boolean {
  if (answer instanceof Uint8Array || answer === null || typeof answer !== "object") return false;
  return Object.entries(answer).some(([key, value]) =>
    key === "errorCode" ? UNSETTLED.has(value) : hasUnsettledError(value)
  );
}

/** Sends a step, again and again where it says so. Returns: the last answer. */
async function ask(wire: Wire, step: Step, version: number, request: object): Promise<object> {
  const isDone = step.compare === false
    ? (answer: object) => !hasUnsettledError(answer)
    : (answer: object) => step.until?.(answer as never) ?? true;
  let last = {};
  const patience = performance.now() + SETTLE_MS;
  while (performance.now() < patience) {
    last = await wire.send(
      step.request as Message,
      step.response as Message,
      version,
      request as never,
    );
    if (isDone(last)) return last;
    await Bun.sleep(20);
  }
  if (step.compare !== false) return last;
  throw new Error(`in vain for ${SETTLE_MS} ms: ${JSON.stringify(normalize(last))}`);
}

async function answerAlone(
  bootstrap: string,
  step: Step,
  version: number,
  request: object,
): Promise<object> {
  const wire = await Wire.connect(bootstrap);
  try {
    return await ask(wire, step, version, request);
  } finally {
    wire.close();
  }
}

/** Plays a story at one version on one side. Returns: what was answered, by the title of the step. */
async function play(
  bootstrap: string,
  topic: string,
  [, apiKey, steps]: Story,
  version: number,
): Promise<Record<string, unknown>> {
  let wire = await Wire.connect(bootstrap);
  const transcript: Record<string, unknown> = {};
  const state: State = { topic };
  const waiting: Promise<void>[] = [];
  for (const step of steps) {
    const range = common.get(step.request.apiKey!);
    if (range === undefined) continue;
    const isUnderTest = step.request.apiKey === apiKey && step.compare !== false;
    const at = isUnderTest ? version : range.highest;
    const request = step.value(state, at);
    if (request === null) continue;
    if (step.isAfterBackground === true) await Promise.all(waiting.splice(0));
    if (step.isBackground === true) {
      waiting.push(
        answerAlone(bootstrap, step, at, request).then((answer) => {
          transcript[step.title] = normalize(step.pick?.(answer as never, state) ?? answer);
        }),
      );
      continue;
    }
    let outcome: unknown;
    try {
      const answer = await ask(wire, step, at, request);
      step.keep?.(state, answer as never);
      if (step.settleMs !== undefined) await Bun.sleep(step.settleMs);
      outcome = normalize(step.pick?.(answer as never, state) ?? answer);
    } catch (error) {
      if (error instanceof WireError) outcome = `version ${at} cannot say this`;
      else if (error instanceof ClosedError && step.compare !== false) {
        outcome = "the broker hung up";
        wire = await Wire.connect(bootstrap);
      } else throw new Error(`${bootstrap}: ${step.title}: ${String(error)}`, { cause: error });
    }
    if (step.compare === false) continue;
    const again = steps.filter(({ title }) => title === step.title).indexOf(step);
    transcript[again === 0 ? step.title : `${step.title} (${again + 1})`] = outcome;
  }
  wire.close();
  await Promise.all(waiting);
  return transcript;
}

/** Plays a story at one version on both sides. Returns: the differences, those that are meant left out. */
async function compare(story: Story, version: number): Promise<string[]> {
  const [title, apiKey] = story;
  const topic = `diff-${apiKey}-${version}-${process.pid.toString(36)}-${
    Bun.randomUUIDv7().slice(-8)
  }`;
  const [ours, theirs] = await Promise.all(
    sides.map((bootstrap) => play(bootstrap, topic, story, version)),
  );
  expect(Object.keys(theirs!).length).toBeGreaterThan(0);
  const found = differences(ours, theirs, `${apiName(apiKey)} ${title}`);
  return found.filter((line) => {
    const known = isExternal ? undefined : KNOWN.find(({ where }) => where.test(line));
    if (known !== undefined) seen.add(known.where);
    return known === undefined;
  });
}

/** Differences of the table that no story has shown. */
function staleDifferences(): string[] {
  return KNOWN.filter(({ where }) => !seen.has(where)).map(({ where }) => where.source);
}

describe("weir beside Apache Kafka", () => {
  const played = new Set<Story>();
  beforeAll(async () => {
    if (hasTool("Apache Kafka (peers)")) await start();
  }, 90_000);
  afterAll(async () => {
    await weir?.stop();
    await peer?.stop();
  }, 60_000);

  for (const story of stories) {
    const [title, apiKey, , lowestVersion = 0] = story;
    testWith("Apache Kafka (peers)", `${apiName(apiKey)}: ${title}`, async () => {
      const range = common.get(apiKey);
      expect(range, `${apiName(apiKey)} is served by both`).toBeDefined();
      const { highest } = range!;
      const lowest = Math.max(range!.lowest, lowestVersion);
      const versions = Array.from({ length: highest - lowest + 1 }, (_, i) => lowest + i);
      const found: Record<string, number[]> = {};
      const next = async () => {
        for (let v = versions.shift(); v !== undefined; v = versions.shift()) {
          for (const line of await compare(story, v)) (found[line] ??= []).push(v);
        }
      };
      await Promise.all(Array.from({ length: VERSIONS_AT_ONCE }, next));
      expect(
        Object.entries(found).map(([line, at]) => `v${at.toSorted((a, b) => a - b)} ${line}`),
      ).toEqual([]);
      // Stories run in any order: with the last of them it is known which differences are gone.
      played.add(story);
      if (played.size === stories.length && isOurs) expect(staleDifferences()).toEqual([]);
    });
  }

  const isOurs = !isExternal && hasTool("Apache Kafka (peers)");
  test.skipIf(!isOurs)("every API that both serve has a story", () => {
    const told = new Set(stories.map(([, apiKey]) => apiKey));
    const untold = [...common.keys()].filter((key) => !told.has(key)).map(apiName);
    expect(untold).toEqual([]);
  });
});
