import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  allowedValues,
  INT_MAX,
  LONG_MAX,
  parseList,
  parseNumber,
  settingProblem,
} from "../../../broker/config/setting.ts";
import {
  editDistance,
  findSetting,
  isUnused,
  nearestName,
  type Scope,
  settingsOf,
  suggestion,
} from "../../../broker/config/settings.ts";
import { TOPIC_SYNONYMS } from "../../../broker/config/topic_settings.ts";
import { UNUSED_SETTINGS } from "../../../broker/config/unused_settings.ts";

const SPEC = join(import.meta.dir, "..", "..", "..", "..", "shared", "spec", "configs.json");

/** A setting as Kafka's own tables have it. */
interface SpecSetting {
  readonly scope: Scope;
  readonly name: string;
  readonly type: string;
  readonly default: string | null;
  readonly valid?: string;
  readonly importance: string;
}

/** Broker settings whose default is not Kafka's; `broker_settings.ts` says so in each sentence. */
const OTHER_DEFAULTS = [
  "broker.heartbeat.interval.ms",
  "broker.session.timeout.ms",
  "controller.quorum.fetch.timeout.ms",
  "initial.broker.registration.timeout.ms",
  "listener.security.protocol.map",
  "listeners",
  "log.cleaner.dedupe.buffer.size",
  "log.dir",
  "node.id",
  "offsets.topic.replication.factor",
  "transaction.state.log.min.isr",
  "transaction.state.log.replication.factor",
];
/** Kafka has no bound in these tables and checks elsewhere, or its validator is not a range. */
const OTHER_BOUNDS = [
  "broker.heartbeat.interval.ms",
  "broker.session.timeout.ms",
  "connections.max.idle.ms",
  "default.replication.factor",
  "follower.replication.throttled.replicas",
  "group.initial.rebalance.delay.ms",
  "group.max.session.timeout.ms",
  "group.min.session.timeout.ms",
  "leader.replication.throttled.replicas",
  "metadata.log.segment.ms",
  "offset.metadata.max.bytes",
  "offsets.topic.compression.codec",
  "request.timeout.ms",
  "share.auto.offset.reset",
  "log.flush.interval.ms",
  "log.flush.scheduler.interval.ms",
  "log.retention.ms",
  "log.roll.jitter.ms",
  "log.roll.ms",
];

/** Kafka reads them and does not list them. */
const UNLISTED = [
  "follower.replication.throttled.rate",
  "leader.replication.throttled.rate",
  "producer.id.expiration.check.interval.ms",
  "replica.alter.log.dirs.io.max.bytes.per.second",
];

const words = (text: string) => text.replace(/^\[|\]$/g, "").split(/,\s*/).toSorted();

function readSpec(): SpecSetting[] {
  return JSON.parse(readFileSync(SPEC, "utf8"));
}

describe("settings", () => {
  const isMissing = !existsSync(SPEC);
  const title = isMissing ? " (../shared/spec/configs.json is absent)" : "";

  test.skipIf(isMissing)(`settings: topic and group names are Kafka's, all of them${title}`, () => {
    for (const scope of ["topic", "group"] as const) {
      const names = readSpec().filter((setting) => setting.scope === scope).map(({ name }) => name);
      expect(settingsOf(scope).map(([name]) => name).toSorted()).toEqual(names.toSorted());
    }
  });

  test.skipIf(isMissing)(`settings: types, defaults and bounds are Kafka's${title}`, () => {
    const problems: string[] = [];
    for (const spec of readSpec()) {
      const setting = findSetting(spec.scope, spec.name);
      if (setting === null) continue;
      const differs = (what: string, ours: unknown, theirs: unknown) => {
        if (ours !== theirs) {
          problems.push(`${spec.scope} ${spec.name} ${what}: ${ours}, ${theirs}`);
        }
      };
      differs("type", setting.type, spec.type);
      differs("importance", setting.importance ?? "medium", spec.importance);
      if (!OTHER_DEFAULTS.includes(spec.name)) {
        differs("default", setting.default, spec.default ?? null);
      }
      if (OTHER_BOUNDS.includes(spec.name)) continue;
      if (setting.allowed !== undefined) {
        differs("words", setting.allowed.toSorted().join(), words(spec.valid ?? "").join());
      } else {
        const [theirs, also] = (spec.valid ?? "").split(" or ");
        const isRange = /^\[.*\.\.\..*\]$/.test(theirs ?? "");
        differs(
          "bounds",
          allowedValues(setting).split(" or ")[0],
          isRange ? theirs : "",
        );
        differs("also", setting.alsoAllowed, also === undefined ? undefined : Number(also));
      }
    }
    expect(problems).toEqual([]);
  });

  test.skipIf(isMissing)(
    `settings: every broker setting of Kafka is acted on or accepted${title}`,
    () => {
      const kafka = readSpec().filter(({ scope }) => scope === "broker").map(({ name }) => name);
      const ours = settingsOf("broker").map(([name]) => name)
        .filter((name) => !name.startsWith("weir.") && !name.startsWith("http."));
      expect([...ours, ...UNUSED_SETTINGS].toSorted()).toEqual([...kafka, ...UNLISTED].toSorted());
    },
  );

  test("settings: every default passes its own check, every sentence is one", () => {
    for (const scope of ["broker", "topic", "group"] as const) {
      for (const [name, setting] of settingsOf(scope)) {
        if (setting.default !== null) {
          expect(settingProblem(name, setting, setting.default)).toBeNull();
        }
        expect(setting.doc).toMatch(/^[A-Z`*].*\.$|by_duration:…$/);
      }
    }
  });

  test("TOPIC_SYNONYMS: name broker settings that have the topic's default", () => {
    for (const [topicName, synonyms] of Object.entries(TOPIC_SYNONYMS)) {
      const topic = findSetting("topic", topicName);
      const values = synonyms.map(({ name, factor }) => {
        const broker = findSetting("broker", name);
        expect(broker, `${topicName} ↔ ${name}`).not.toBeNull();
        const text = broker?.default ?? null;
        return text === null || factor === 1 ? text : String(Number(text) * factor);
      });
      expect(values.find((value) => value !== null), topicName).toBe(topic?.default as string);
    }
  });
});

describe("settingProblem", () => {
  const topic = (name: string, text: string) => {
    const setting = findSetting("topic", name);
    if (setting === null) throw new Error(`no setting ${name}`);
    return settingProblem(name, setting, text);
  };
  const cases: readonly [name: string, text: string, problem: string | null][] = [
    ["segment.bytes", "1048576", null],
    ["segment.bytes", " 1048576 ", null],
    ["segment.bytes", "+1048576", null],
    ["segment.bytes", "1048575", "Value must be at least 1048576"],
    ["segment.bytes", "2147483648", "Not a number of type INT"],
    ["segment.bytes", "1e7", "Not a number of type INT"],
    ["segment.bytes", "", "Not a number of type INT"],
    ["segment.bytes", "1048576.0", "Not a number of type INT"],
    ["retention.ms", LONG_MAX, null],
    ["retention.ms", "9223372036854775808", "Not a number of type LONG"],
    ["retention.ms", "-1", null],
    ["retention.ms", "-2", "Value must be at least -1"],
    ["retention.bytes", "-9223372036854775808", null],
    ["compression.gzip.level", "-1", null],
    ["compression.gzip.level", "0", "Value must be at least 1"],
    ["compression.gzip.level", "10", "Value must be no more than 9"],
    ["compression.type", "zstd", null],
    [
      "compression.type",
      "brotli",
      "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
    ],
    ["cleanup.policy", "compact,delete", null],
    ["cleanup.policy", "compact, delete", null],
    ["cleanup.policy", "", null],
    ["cleanup.policy", "compress", "String must be one of: compact, delete"],
    ["cleanup.policy", "delete,delete", "Configuration values must not be duplicated."],
    ["cleanup.policy", "delete,,compact", "Configuration values must not be empty."],
    ["min.cleanable.dirty.ratio", "0.5", null],
    ["min.cleanable.dirty.ratio", "1.1", "Value must be no more than 1"],
    ["min.cleanable.dirty.ratio", "NaN", "Not a number of type DOUBLE"],
    ["preallocate", "TRUE", null],
    ["preallocate", "yes", "Expected value to be either true or false"],
    ["leader.replication.throttled.replicas", "*", null],
    ["leader.replication.throttled.replicas", "0:1,1:2", null],
  ];
  test.each(cases)("settingProblem: %s=%s", (name, text, problem) => {
    const expected = problem === null
      ? null
      : `Invalid value ${text} for configuration ${name}: ${problem}`;
    expect(topic(name, text)).toBe(expected);
  });

  test("settingProblem: a password is not shown", () => {
    const setting = { type: "password", default: null, doc: "", allowed: ["x"] } as const;
    expect(settingProblem("ssl.key.password", setting, "hunter2")).not.toContain("hunter2");
  });
});

describe("values", () => {
  test("parseNumber: what a safe integer cannot hold becomes the nearest one", () => {
    expect(parseNumber(LONG_MAX)).toBe(Number.MAX_SAFE_INTEGER);
    expect(parseNumber("-9223372036854775808")).toBe(-Number.MAX_SAFE_INTEGER);
    expect(parseNumber(String(INT_MAX))).toBe(INT_MAX);
    expect(parseNumber("0.5")).toBe(0.5);
  });

  test("parseList: blanks around words and an empty list", () => {
    expect(parseList(" a , b,c ")).toEqual(["a", "b", "c"]);
    expect(parseList("  ")).toEqual([]);
  });
});

describe("names", () => {
  test("editDistance: counts edits and swaps of neighbours", () => {
    expect(editDistance("", "abc")).toBe(3);
    expect(editDistance("kitten", "sitting")).toBe(3);
    expect(editDistance("log.dris", "log.dirs")).toBe(1);
  });

  test("nearestName: nothing when all are far", () => {
    expect(nearestName("log.retenton.hours", ["log.retention.hours", "log.roll.hours"]))
      .toBe("log.retention.hours");
    expect(nearestName("zzzzzz", ["log.dirs"])).toBeNull();
  });

  test("suggestion: a topic's name leads to the broker's", () => {
    expect(suggestion("retention.ms")).toContain("'log.retention.ms'");
    expect(suggestion("auto.create.topic.enable")).toContain("'auto.create.topics.enable'");
    expect(isUnused("num.io.threads")).toBeTrue();
    expect(isUnused("log.dirs")).toBeFalse();
  });
});
