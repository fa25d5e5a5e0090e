import { describe, expect, test } from "bun:test";
import { brokerConfigProblem, Config, ConfigSource } from "../../../broker/config/config.ts";
import { settingsOf } from "../../../broker/config/settings.ts";
import { beginsCluster } from "../../../broker/config/roles.ts";
import { ConfigError } from "../../../broker/config/sources.ts";

const properties = (text: string) => ({ path: "weir.properties", text });
const toml = (text: string) => ({ path: "weir.toml", text });

function problemsOf(load: () => unknown): readonly string[] {
  try {
    load();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("Config.load", () => {
  test("load: nothing given is a broker that serves this machine", () => {
    const config = Config.load({});
    expect(config.listeners()).toEqual([
      { name: "PLAINTEXT", host: "127.0.0.1", port: 9092, securityProtocol: "PLAINTEXT" },
    ]);
    expect(config.httpListeners()).toEqual([{ host: "127.0.0.1", port: 8080 }]);
    expect(config.logDirectories()).toEqual(["./data"]);
    expect(config.number("node.id")).toBe(1);
    expect(config.boolean("auto.create.topics.enable")).toBeTrue();
    expect(config.number("log.retention.ms")).toBeNull();
    expect(config.advertisedListener("PLAINTEXT")).toBeNull();
    expect(config.warnings).toEqual([]);
  });

  test("load: flag over environment over the later file over the earlier over default", () => {
    const input = {
      flags: {} as Record<string, string>,
      environment: {} as Record<string, string>,
      files: [properties("num.partitions=2"), toml("[num]\npartitions = 3")],
    };
    expect(Config.load({ files: input.files.slice(0, 1) }).number("num.partitions")).toBe(2);
    expect(Config.load(input).number("num.partitions")).toBe(3);
    input.environment["WEIR_NUM_PARTITIONS"] = "4";
    expect(Config.load(input).number("num.partitions")).toBe(4);
    input.flags["num.partitions"] = "5";
    expect(Config.load(input).number("num.partitions")).toBe(5);
    expect(Config.load(input).values("num.partitions")).toEqual([
      { name: "num.partitions", value: "5", source: ConfigSource.STATIC_BROKER_CONFIG },
      { name: "num.partitions", value: "1", source: ConfigSource.DEFAULT_CONFIG },
    ]);
  });

  test("load: the properties format of Java", () => {
    const text = [
      "# a comment",
      "! another",
      "",
      "num.partitions : 7",
      "log.retention.hours\t24",
      "log.dirs = /a,\\",
      "   /b\\u0063",
      "broker.rack=a\\=b \\",
      "",
      "auto.create.topics.enable=false\r",
    ].join("\n");
    const config = Config.load({ files: [properties(text)] });
    expect(config.number("num.partitions")).toBe(7);
    expect(config.number("log.retention.hours")).toBe(24);
    expect(config.list("log.dirs")).toEqual(["/a", "/bc"]);
    expect(config.string("broker.rack")).toBe("a=b");
    expect(config.boolean("auto.create.topics.enable")).toBeFalse();
  });

  test("load: TOML with nested tables, quoted keys, lists and 64-bit numbers", () => {
    const text = `
      listeners = ["PLAINTEXT://127.0.0.1:19092"]
      "log.cleaner.min.cleanable.ratio" = 0.25
      [log]
      dirs = ["/a", "/b"]
      retention.hours = 24
      [log.flush.interval]
      messages = 9223372036854775807
    `;
    const config = Config.load({ files: [toml(text)] });
    expect(config.listeners()[0]?.port).toBe(19092);
    expect(config.list("log.dirs")).toEqual(["/a", "/b"]);
    expect(config.number("log.cleaner.min.cleanable.ratio")).toBe(0.25);
    expect(config.text("log.flush.interval.messages")).toBe("9223372036854775807");
    expect(config.number("log.flush.interval.messages")).toBe(Number.MAX_SAFE_INTEGER);
  });

  test("load: a server.properties of Kafka is taken, with one line on what has no effect", () => {
    const text = [
      "process.roles=broker,controller",
      "node.id=1",
      "controller.quorum.bootstrap.servers=localhost:9093",
      "listeners=PLAINTEXT://:9092,CONTROLLER://:9093",
      "inter.broker.listener.name=PLAINTEXT",
      "advertised.listeners=PLAINTEXT://localhost:9092",
      "controller.listener.names=CONTROLLER",
      "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL",
      "num.network.threads=3",
      "log.dirs=/tmp/kraft-combined-logs",
    ].join("\n");
    const config = Config.load({ files: [properties(text)] });
    expect(config.listeners().map(({ name, host }) => [name, host])).toEqual([["PLAINTEXT", ""]]);
    expect(config.advertisedListener("plaintext")).toMatchObject({ host: "localhost", port: 9092 });
    expect(config.warnings).toHaveLength(1);
    expect(config.warnings[0]).toContain("num.network.threads");
    expect(config.controllerListeners()).toMatchObject([{
      name: "CONTROLLER",
      host: "",
      port: 9093,
    }]);
    expect(beginsCluster(config.roleSettings())).toBeTrue();
  });

  const refused: readonly (readonly [string, () => unknown, string])[] = [
    [
      "an unknown name in a file",
      () => Config.load({ files: [properties("\nlog.retenton.hours=1")] }),
      "Cannot use weir.properties line 2: unknown setting 'log.retenton.hours', " +
      "did you mean 'log.retention.hours'?",
    ],
    [
      "an unknown name in the environment",
      () => Config.load({ environment: { WEIR_LOG_DIRZ: "/x" } }),
      "Cannot use environment variable WEIR_LOG_DIRZ: unknown setting 'log.dirz', " +
      "did you mean 'log.dirs'?",
    ],
    [
      "a name that is near none",
      () => Config.load({ flags: { "quite.something.else.entirely": "1" } }),
      "Cannot use flag --set quite.something.else.entirely: unknown setting " +
      "'quite.something.else.entirely', no known setting is near it",
    ],
    [
      "a value out of bounds",
      () => Config.load({ flags: { "log.segment.bytes": "1" } }),
      "Cannot use flag --set log.segment.bytes: Invalid value 1 for configuration log.segment.bytes: " +
      "Value must be at least 1048576; allowed: [1048576,...]",
    ],
    [
      "TOML that is none",
      () => Config.load({ files: [toml("a = 1\nb =")] }),
      "Cannot read weir.toml line 2: ",
    ],
    [
      "a TOML value of no use",
      () => Config.load({ files: [toml("num.partitions = 2020-01-01")] }),
      "Cannot use num.partitions of weir.toml: a value is text, a number, a boolean or a list",
    ],
    [
      "a wildcard that would be advertised",
      () => Config.load({ flags: { "advertised.listeners": "PLAINTEXT://0.0.0.0:9092" } }),
      "names no machine that a client could connect to: write the host name",
    ],
    [
      "the wildcard of IPv6",
      () => Config.load({ flags: { "advertised.listeners": "PLAINTEXT://[::]:9092" } }),
      "names no machine",
    ],
    [
      "an empty host that would be advertised",
      () => Config.load({ flags: { "advertised.listeners": "PLAINTEXT://:9092" } }),
      "names no machine",
    ],
    [
      "an advertised listener that is not opened",
      () => Config.load({ flags: { "advertised.listeners": "OTHER://host:9092" } }),
      "Cannot advertise listener OTHER: listeners has no such name; it has PLAINTEXT",
    ],
    [
      "a listener without a port",
      () => Config.load({ flags: { listeners: "PLAINTEXT://host" } }),
      "is not an address of the form NAME://host:port",
    ],
    [
      "two listeners on one port",
      () => Config.load({ flags: { listeners: "A://h:1,B://h:1" } }),
      "Each listener must have a different address, found h:1 twice",
    ],
    [
      "two listeners of one name",
      () => Config.load({ flags: { listeners: "A://h:1,a://h:2" } }),
      "Each listener must have a different name, found A twice",
    ],
    [
      "a listener with a protection that is not given",
      () => Config.load({ flags: { listeners: "SSL://127.0.0.1:9093" } }),
      "Cannot open listener SSL: its security protocol is SSL, and only PLAINTEXT is served",
    ],
    [
      "an authorizer",
      () => Config.load({ flags: { "authorizer.class.name": "org.example.Authorizer" } }),
      "asks for a protection that weir does not give yet",
    ],
    [
      "bounds that cross",
      () => Config.load({ flags: { "group.min.session.timeout.ms": "1800001" } }),
      "it is above group.max.session.timeout.ms 1800000",
    ],
  ];
  test.each(refused)("load: refuses %s", (_title, load, problem) => {
    const problems = problemsOf(load);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(problem);
  });

  test("load: a setting that nothing acts on so far is kept and named in the warning", () => {
    const pending = settingsOf("broker").find(([, setting]) => setting.pending === true);
    if (pending === undefined) return;
    const [name, { default: value }] = pending;
    const config = Config.load({ flags: { [name]: value ?? "1", "log.segment.bytes": "2000000" } });
    expect(config.values(name)[0]?.value).toBe(value ?? "1");
    expect(config.warnings).toEqual([
      `These settings have no effect in this version of weir: ${name}`,
    ]);
  });

  test("load: tells every problem at once", () => {
    const load = () => Config.load({ flags: { "log.dirz": "x", "num.partitions": "0" } });
    expect(problemsOf(load)).toHaveLength(2);
  });

  test("load: variables of tests and clients are no settings", () => {
    const environment = {
      WEIR_SEED: "1",
      WEIR_INTEROP: "required",
      WEIR_BOOTSTRAP: "h:1",
      PATH: "x",
    };
    expect(Config.load({ environment }).warnings).toEqual([]);
    expect(problemsOf(() => Config.load({ environment: { WEIR_SEEDED: "1" } }))).toHaveLength(1);
  });

  test("load: weir's own settings are reached with and without the prefix spelled out", () => {
    const config = Config.load({ environment: { WEIR_MEMORY_BUDGET_BYTES: "2000000" } });
    expect(config.number("weir.memory.budget.bytes")).toBe(2_000_000);
  });
});

describe("Config.setDynamic", () => {
  test("setDynamic: this broker's over the cluster's over what was given at start", () => {
    const config = Config.load({ flags: { "log.retention.ms": "1" } });
    const clusterWide = new Map([["log.retention.ms", "2"]]);
    expect(config.setDynamic({ clusterWide })).toEqual([]);
    expect(config.number("log.retention.ms")).toBe(2);
    config.setDynamic({ clusterWide, perBroker: new Map([["log.retention.ms", "3"]]) });
    expect(config.number("log.retention.ms")).toBe(3);
    expect(config.values("log.retention.ms").map(({ source }) => source)).toEqual([
      ConfigSource.DYNAMIC_BROKER_CONFIG,
      ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG,
      ConfigSource.STATIC_BROKER_CONFIG,
    ]);
    config.setDynamic({});
    expect(config.number("log.retention.ms")).toBe(1);
  });

  test("setDynamic: leaves out what cannot be used and says so; tells listeners until they leave", () => {
    const config = Config.load({});
    let calls = 0;
    const leave = config.onChange(() => calls++);
    const clusterWide = new Map([["log.dirs", "/x"], ["log.retention.ms", "x"], ["nope", "1"]]);
    expect(config.setDynamic({ clusterWide })).toHaveLength(3);
    expect(config.logDirectories()).toEqual(["./data"]);
    leave();
    config.setDynamic({});
    expect(calls).toBe(1);
  });

  test("brokerConfigProblem: Kafka's words", () => {
    expect(brokerConfigProblem("log.dirs", "/x", "broker"))
      .toBe("Cannot update these configs dynamically: Set(log.dirs)");
    expect(brokerConfigProblem("nope", "1", "cluster")).toBe("Unknown broker config name: nope");
    expect(brokerConfigProblem("message.max.bytes", "-1", "cluster"))
      .toBe("Invalid value -1 for configuration message.max.bytes: Value must be at least 0");
    expect(brokerConfigProblem("message.max.bytes", "5", "cluster")).toBeNull();
  });
});
