import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { loadCommands } from "../../../broker/cli/cli.ts";
import { ScriptedBroker } from "./scripted_broker.ts";
import { TestMachine } from "./test_io.ts";

test.each([
  [[], "Usage: weir"],
  [["nonsense"], "unknown command 'nonsense'"],
  [["topic"], "Usage: weir topic"],
  [["topic", "create"], "missing required argument 'name'"],
  [
    ["topic", "create", "a", "--partitions", "none"],
    'Cannot use --partitions "none": it must be a whole number from 1 to',
  ],
  [["topic", "create", "a", "--partitions", "0"], 'Cannot use --partitions "0"'],
  [["topic", "create", "a", "--config", "b"], 'Cannot use --config "b": it must be name=value'],
  [["topic", "alter", "a"], "Cannot alter topic a: say what"],
  [["produce"], "missing required argument 'topic'"],
  [["produce", "a", "--acks", "2"], 'Cannot use --acks "2": it must be one of all, 1, 0'],
  [["produce", "a", "--compression", "rar"], 'Cannot use --compression "rar"'],
  [["produce", "a", "--sideways"], "unknown option '--sideways'"],
  [["consume", "a", "--from", "somewhere"], 'Cannot use --from "somewhere"'],
  [["consume", "a", "--from", "2026-13-01"], 'Cannot use --from "2026-13-01"'],
  [["consume", "a", "--format", "plain"], 'Cannot use --format "plain"'],
  [["group", "reset-offsets", "g", "--to", "end"], "say which, with --topic or with --all-topics"],
  [["group", "reset-offsets", "g", "--all-topics"], "say where to, with --to or with --shift"],
  [
    ["group", "reset-offsets", "g", "--from-file", "a", "--shift", "1"],
    "the file says which and where to",
  ],
  [
    ["group", "reset-offsets", "g", "--from-file", "a", "--export", "--json"],
    "choose one of --json and --export",
  ],
  [["config", "get", "nonsense", "a"], 'Cannot use "nonsense": it must be one of topic'],
  [["config", "get", "broker", "a"], 'Cannot use broker "a": it must be a node id'],
  [["config", "set", "topic", "a"], "say what, as name=value or with --delete"],
  [["completion", "tcsh"], 'Cannot complete for "tcsh"'],
])("runCli: %p is wrong usage, which is 2, and asks no broker", async (argv, expected) => {
  const outcome = await new TestMachine().run(argv);
  expect(outcome.error).toContain(expected);
  expect(outcome).toMatchObject({ exitCode: 2, out: "" });
});

const all = (await loadCommands([])).length;

test.each([
  [["topic", "list"], 1],
  [["-b", "group", "topic", "list"], 1],
  [["--json", "topic", "create", "produce"], 1],
  [["serve", "--help"], 1],
  [[], all],
  [["--help", "topic"], all],
  [["help", "topic"], all],
  [["nonsense", "topic"], all],
  [["constructor"], all],
  [["completion", "bash"], all],
])(
  "loadCommands: %p loads the command that it names, or all there are: %p",
  async (argv, count) => {
    const serve = () => Promise.resolve(() => {});
    const others = count === all ? {} : { serve };
    expect(await loadCommands(argv, others)).toHaveLength(count);
  },
);

test.each([
  [["--help"], "Usage: weir"],
  [["produce", "--help"], "ndjson"],
  [["consume", "--help"], "--bootstrap-server"],
  [["topic", "create", "--help"], "--partitions"],
  [["--version"], "9.8.7\n"],
  [["version"], "weir 9.8.7 (test)\n"],
  [["version", "--json"], '{"version":"9.8.7","runtime":"test"}\n'],
])("runCli: %p is answered on standard output", async (argv, expected) => {
  const outcome = await new TestMachine().run(argv);
  expect(outcome.out).toContain(expected);
  expect(outcome).toMatchObject({ exitCode: 0, error: "" });
});

test("runCli: without a broker the failure names the address and ends at once", async () => {
  for (const argv of [["topic", "list"], ["produce", "a"], ["consume", "a"], ["group", "list"]]) {
    const machine = new TestMachine();
    const outcome = await machine.run(argv);
    expect(outcome.exitCode).toBe(1);
    expect(outcome.error).toContain("no broker answers at 127.0.0.1:9092 (");
    expect(machine.clock.monotonicMs()).toBeLessThan(1000);
  }
});

test("runCli: --bootstrap-server counts before WEIR_BOOTSTRAP, and takes several", async () => {
  const machine = new TestMachine();
  const broker = new ScriptedBroker(machine);
  broker.create("there", 1);
  machine.env.WEIR_BOOTSTRAP = "127.0.0.1:1";
  expect(await machine.run(["topic", "list"])).toMatchObject({ exitCode: 1 });
  const named = ["--bootstrap-server", "127.0.0.1:2,127.0.0.1:9092"];
  expect(await machine.run([...named, "topic", "list"])).toMatchObject({ exitCode: 0 });
  expect(await machine.run(["topic", "list", ...named])).toMatchObject({ exitCode: 0 });
  const wrong = await machine.run(["topic", "list", "-b", "a:b:c"]);
  expect(wrong.error).toContain('"a:b:c" is not host:port');
});

describe("topic", () => {
  function cluster() {
    const machine = new TestMachine();
    return { machine, broker: new ScriptedBroker(machine) };
  }

  test("topic create: makes it, refuses a second time, unless that is fine", async () => {
    const { machine, broker } = cluster();
    expect(await machine.run(["topic", "create", "a", "-p", "3"])).toMatchObject({
      exitCode: 0,
      error: "Created topic a.\n",
    });
    expect(broker.topics.get("a")!.length).toBe(3);
    expect(await machine.run(["topic", "create", "a"])).toMatchObject({
      exitCode: 1,
      error: "Cannot create topic a: it exists already; --if-not-exists makes this a success\n",
    });
    expect(await machine.run(["topic", "create", "a", "--if-not-exists", "--json"])).toMatchObject({
      exitCode: 0,
      out: '{"topic":"a","created":false}\n',
    });
  });

  test("topic list: an aligned table, JSON lines with --json, a sentence when there are none", async () => {
    const { machine, broker } = cluster();
    expect(await machine.run(["topic", "list"])).toMatchObject({
      exitCode: 0,
      out: "",
      error: 'There are no topics. "weir topic create NAME" makes one.\n',
    });
    expect(await machine.run(["topic", "list", "--json"])).toMatchObject({ out: "", error: "" });
    broker.create("orders", 12);
    broker.create("a", 1);
    broker.create("__consumer_offsets", 50);
    const { out } = await machine.run(["topic", "list"]);
    expect(out.split("\n").map((line) => line.slice(0, 30))).toEqual([
      "TOPIC   PARTITIONS  REPLICATIO",
      "a                1            ",
      "orders          12            ",
      "",
    ]);
    const json = await machine.run(["topic", "list", "--json", "--internal"]);
    expect(json.out.trim().split("\n").map((line) => JSON.parse(line).topic)).toEqual([
      "__consumer_offsets",
      "a",
      "orders",
    ]);
  });
});

test("completion: every command and option is in each script", async () => {
  const machine = new TestMachine();
  for (const shell of ["bash", "zsh", "fish"]) {
    const { out, exitCode } = await machine.run(["completion", shell]);
    expect(exitCode).toBe(0);
    for (const word of ["topic", "reset-offsets", "dump", "bootstrap-server", "compression"]) {
      expect(out).toContain(word);
    }
  }
});

const bash = spawnSync("bash", ["--version"]).status === 0;
test.skipIf(!bash).each([
  ["weir to", ["topic"]],
  ["weir topic cr", ["create"]],
  ["weir --json topic de", ["describe", "delete"]],
  ["weir -b", ["--bootstrap-server"].filter(() => false)],
  ["weir --boot", ["--bootstrap-server"]],
  ["weir topic create orders --par", ["--partitions"]],
  ["weir consume orders --from 3 --fo", ["--follow", "--format"]],
  ["weir log ", ["dump", "verify", "--help", "--version", "--bootstrap-server", "--json"]],
])("completion bash: %p completes to %p (needs bash)", async (line, expected) => {
  const { out } = await new TestMachine().run(["completion", "bash"]);
  const words = line.split(" ");
  const script = `${out}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}
_weir; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const result = spawnSync("bash", ["-c", script], { encoding: "utf8" });
  expect(result.stderr).toBe("");
  expect(result.stdout.split("\n").filter((word) => word !== "").sort()).toEqual(
    expected.toSorted(),
  );
});

test("runCli: what answers with garbage, with silence or hangs up is told apart", async () => {
  const answers: readonly [string, (write: (text: string) => void, close: () => void) => void][] = [
    ["127.0.0.1:9092 does not speak the Kafka protocol", (write) => write("HTTP/1.1 400 Bad\r\n")],
    [
      "127.0.0.1:9092 does not speak the Kafka protocol",
      (write) => write("\0\0\0\x08\0\0\0\0garb"),
    ],
    ["127.0.0.1:9092 does not speak the Kafka protocol", (write) => write("\0\0\0\x04\0\0\0\x09")],
    ["within 3000 ms", () => undefined],
    ["was lost: ", (_write, close) => close()],
  ];
  for (const [expected, answer] of answers) {
    const machine = new TestMachine();
    machine.network.listen({ host: "127.0.0.1", port: 9092 }, (connection) => ({
      onData: () =>
        answer(
          (text) => void connection.write(new TextEncoder().encode(text)),
          () => connection.close(),
        ),
      onDrain: () => undefined,
      onClose: () => undefined,
    }));
    const outcome = await machine.run(["topic", "list"]);
    expect(outcome.error).toContain(expected);
    expect(outcome.exitCode).toBe(1);
    await machine.clock.advance(1000);
    expect(machine.clock.pendingTimers).toBe(0);
    expect(machine.network.openEnds).toBe(0);
  }
});

test("KafkaClient.any: a server that accepts and says nothing holds nobody up", async () => {
  const machine = new TestMachine();
  const broker = new ScriptedBroker(machine);
  broker.create("orders", 1);
  const silent = { onData: () => {}, onDrain: () => {}, onClose: () => {} };
  for (const port of [1, 2]) machine.network.listen({ host: "127.0.0.1", port }, () => silent);
  const named = ["--bootstrap-server", "127.0.0.1:1,127.0.0.1:2,127.0.0.1:9092"];
  const { exitCode, out } = await machine.run(["topic", "list", "--json", ...named]);
  expect([exitCode, out]).toMatchObject([0, expect.stringContaining("orders")]);
  expect(machine.clock.monotonicMs()).toBeLessThan(1000);
  const alone = await machine.run(["topic", "list", "--bootstrap-server", "127.0.0.1:1"]);
  expect(alone.exitCode).toBe(1);
  expect(alone.error).toContain("no broker answers at 127.0.0.1:1");
  expect(machine.clock.monotonicMs()).toBeLessThan(6000);
});
