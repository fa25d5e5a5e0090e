import { describe, expect, test } from "bun:test";
import { DEFAULT_LOG_CONFIG } from "../../../storage/log_config.ts";
import { Config, ConfigSource } from "../../../broker/config/config.ts";
import {
  describeBrokerConfig,
  describeClusterConfig,
  describeGroupConfig,
  describeTopicConfig,
} from "../../../broker/config/describe.ts";
import {
  effectiveTopicConfig,
  topicValue,
  validateGroupConfig,
  validateTopicConfig,
  validateTopicConfigs,
} from "../../../broker/config/topic_config.ts";

const { DEFAULT_CONFIG, DYNAMIC_DEFAULT_BROKER_CONFIG, DYNAMIC_TOPIC_CONFIG, GROUP_CONFIG } =
  ConfigSource;
const { STATIC_BROKER_CONFIG } = ConfigSource;
const overrides = (values: Record<string, string>) => new Map(Object.entries(values));

describe("effectiveTopicConfig", () => {
  test("effectiveTopicConfig: with nothing set it is what storage takes for Kafka's defaults", () => {
    expect(effectiveTopicConfig(Config.load({}))).toMatchObject({
      ...DEFAULT_LOG_CONFIG,
      isFlushRelaxed: false,
      minInsyncReplicas: 1,
      uncleanLeaderElectionEnable: false,
    });
  });

  test("effectiveTopicConfig: the topic's value over the broker's dynamic over its static", () => {
    const config = Config.load({ flags: { "log.segment.bytes": "2000000" } });
    const segmentBytes = (own = {}) => effectiveTopicConfig(config, overrides(own)).segmentBytes;
    expect(segmentBytes()).toBe(2_000_000);
    config.setDynamic({ clusterWide: overrides({ "log.segment.bytes": "3000000" }) });
    expect(segmentBytes()).toBe(3_000_000);
    expect(segmentBytes({ "segment.bytes": "4000000" })).toBe(4_000_000);
  });

  test("effectiveTopicConfig: a value that cannot be used is passed over", () => {
    const own = overrides({ "segment.bytes": "1", "preallocate": "true" });
    expect(effectiveTopicConfig(Config.load({}), own)).toMatchObject({
      segmentBytes: 1_073_741_824,
      preallocate: true,
    });
  });

  const retention: readonly [flags: Record<string, string>, retentionMs: number][] = [
    [{}, 604_800_000],
    [{ "log.retention.hours": "1" }, 3_600_000],
    [{ "log.retention.hours": "-1" }, -1],
    [{ "log.retention.hours": "1", "log.retention.minutes": "1" }, 60_000],
    [{ "log.retention.minutes": "1", "log.retention.ms": "7" }, 7],
  ];
  test.each(retention)("effectiveTopicConfig: retention from %j", (flags, retentionMs) => {
    expect(effectiveTopicConfig(Config.load({ flags })).retentionMs).toBe(retentionMs);
  });

  test("effectiveTopicConfig: isFlushRelaxed when the operator says when to sync", () => {
    const config = Config.load({});
    expect(effectiveTopicConfig(config, overrides({ "flush.messages": "1" })).isFlushRelaxed)
      .toBeTrue();
    expect(effectiveTopicConfig(config, overrides({ "flush.ms": "1000" })).isFlushRelaxed)
      .toBeTrue();
    const flags = { "log.flush.interval.ms": "1000" };
    expect(effectiveTopicConfig(Config.load({ flags })).isFlushRelaxed).toBeTrue();
  });

  test("topicValue: all digits of a 64-bit number", () => {
    expect(topicValue(Config.load({}), "flush.messages")).toBe("9223372036854775807");
  });
});

describe("validation", () => {
  const config = Config.load({});

  test("validateTopicConfig: Kafka's words", () => {
    expect(validateTopicConfig("nope", "1")).toBe("Unknown topic config name: nope");
    expect(validateTopicConfig("retention.ms", "x"))
      .toBe("Invalid value x for configuration retention.ms: Not a number of type LONG");
    expect(validateTopicConfig("retention.ms", "5")).toBeNull();
  });

  test("validateTopicConfigs: values that contradict each other, the broker's included", () => {
    const lag = overrides({ "min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5" });
    expect(validateTopicConfigs(config, lag)).toBe(
      "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)",
    );
    const flags = { "log.cleaner.min.compaction.lag.ms": "10" };
    const own = overrides({ "max.compaction.lag.ms": "5" });
    expect(validateTopicConfigs(Config.load({ flags }), own)).toContain("conflict topic config");
    expect(validateTopicConfigs(config, overrides({ "remote.storage.enable": "true" })))
      .toContain("Tiered Storage functionality is disabled");
    expect(validateTopicConfigs(config, overrides({ "cleanup.policy": "compact" }))).toBeNull();
  });

  const groups: readonly [string, string, boolean][] = [
    ["share.auto.offset.reset", "latest", true],
    ["share.auto.offset.reset", "by_duration:PT1H30M", true],
    ["share.auto.offset.reset", "by_duration:P1D", true],
    ["share.auto.offset.reset", "by_duration:1h", false],
    ["share.auto.offset.reset", "by_duration:P", false],
    ["share.auto.offset.reset", "none", false],
    ["consumer.session.timeout.ms", "0", false],
    ["consumer.session.timeout.ms", "50000", true],
    ["nope", "1", false],
  ];
  test.each(groups)("validateGroupConfig: %s=%s is %p", (name, value, isFine) => {
    expect(validateGroupConfig(name, value) === null).toBe(isFine);
  });
});

describe("describe", () => {
  const entryOf = <E extends { name: string }>(entries: readonly E[], name: string) => {
    const entry = entries.find((candidate) => candidate.name === name);
    if (entry === undefined) throw new Error(`no entry ${name}`);
    return entry;
  };

  test("describeTopicConfig: sources and synonyms as Kafka lists them", () => {
    const config = Config.load({ flags: { "log.segment.bytes": "2000000" } });
    config.setDynamic({ clusterWide: overrides({ "log.segment.bytes": "3000000" }) });
    const entries = describeTopicConfig(config, overrides({ "segment.bytes": "4000000" }));
    expect(entries).toHaveLength(37);
    expect(entryOf(entries, "segment.bytes")).toMatchObject({
      value: "4000000",
      source: DYNAMIC_TOPIC_CONFIG,
      readOnly: false,
      sensitive: false,
      type: 3,
      synonyms: [
        { name: "segment.bytes", value: "4000000", source: DYNAMIC_TOPIC_CONFIG },
        { name: "log.segment.bytes", value: "3000000", source: DYNAMIC_DEFAULT_BROKER_CONFIG },
        { name: "log.segment.bytes", value: "2000000", source: STATIC_BROKER_CONFIG },
        { name: "log.segment.bytes", value: "1073741824", source: DEFAULT_CONFIG },
      ],
    });
    expect(entryOf(entries, "cleanup.policy")).toMatchObject({
      value: "delete",
      source: DEFAULT_CONFIG,
      synonyms: [{ name: "log.cleanup.policy", value: "delete", source: DEFAULT_CONFIG }],
    });
    // The default comes from log.retention.hours, which Kafka does not list for log.retention.ms.
    expect(entryOf(entries, "retention.ms")).toMatchObject({
      value: "604800000",
      source: DEFAULT_CONFIG,
      synonyms: [],
    });
  });

  test("describeTopicConfig: hours given at start are the source of retention.ms", () => {
    const config = Config.load({ flags: { "log.retention.hours": "1" } });
    expect(entryOf(describeTopicConfig(config, new Map()), "retention.ms")).toMatchObject({
      value: "3600000",
      source: STATIC_BROKER_CONFIG,
    });
  });

  test("describeBrokerConfig: every setting once, read-only where it cannot change", () => {
    const entries = describeBrokerConfig(Config.load({}));
    expect(new Set(entries.map(({ name }) => name)).size).toBe(entries.length);
    expect(entryOf(entries, "log.dirs").readOnly).toBeTrue();
    expect(entryOf(entries, "log.retention.ms")).toMatchObject({ readOnly: false, value: null });
  });

  test("describeClusterConfig: only what was set for all brokers", () => {
    expect(describeClusterConfig(overrides({ "message.max.bytes": "5" }))).toMatchObject([
      { name: "message.max.bytes", value: "5", source: DYNAMIC_DEFAULT_BROKER_CONFIG },
    ]);
  });

  test("describeGroupConfig: the group's own over the default", () => {
    const entries = describeGroupConfig(overrides({ "consumer.session.timeout.ms": "50000" }));
    expect(entries).toHaveLength(21);
    expect(entryOf(entries, "consumer.session.timeout.ms")).toMatchObject({
      value: "50000",
      source: GROUP_CONFIG,
    });
    expect(entryOf(entries, "streams.assignor.name")).toMatchObject({ value: null, synonyms: [] });
  });
});
