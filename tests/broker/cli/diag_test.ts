/** `weir diag`: what is in the bundle, and above all what is not. */

import { describe, expect, test } from "bun:test";
import { strFromU8, strToU8, unzipSync } from "fflate";
import type { Broker } from "../../../broker/broker.ts";
import { Bundle, MAX_BUNDLE_BYTES, MAX_FILE_BYTES } from "../../../broker/cli/diag/bundle.ts";
import { Redactor } from "../../../broker/cli/diag/redactor.ts";
import { GroupMember } from "../../../broker/client/group_member.ts";
import { KafkaClient } from "../../../broker/client/kafka_client.ts";
import { ServedApp, startedBroker } from "./started_broker.ts";
import { TestMachine, VERSION } from "./test_io.ts";

const OUT = "/tmp/out.zip";
const CONFIG = "/etc/weir.properties";
const LOG = "/var/weir.log";

/** Every secret that is planted, by where it is. Each is a word of its own, so that one cannot hide another. */
const SECRETS = {
  flag: "flag-hunter2-secret",
  /** Too short to be looked for elsewhere. */
  short: "z9#",
  file: "file.correct.horse",
  jaas: "jaas'battery'staple",
  truststore: "store pass phrase",
  environmentSetting: "env-setting-7391",
  foreignVariable: "aws+secret/ACCESS/44",
  url: "url-credential-55",
  unknownSetting: "unknown-setting-66",
  unknownPlainSetting: "unknown-plain-88",
  unknownVariable: "unknown-variable-99",
  clientId: "eyJhbGciOiJub25lIn0.eyJjbGllbnQiOjF9.c2lnbmVk",
  groupId: "ghp_0123456789groupABCDEF",
  topic: "AKIAQ7TOPICNAME12345",
  logged: "logged-bearer-token-77",
  quoted: 'quo"ted\\back-88',
  privateKey: "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
} as const;
/** What producers wrote: keys, values and headers. */
const RECORD_WORDS = ["record-key-x1", "record-value-x2", "record-header-x3"];

interface World {
  readonly machine: TestMachine;
  readonly broker: Broker;
}

function write({ disk }: TestMachine, path: string, text: string): void {
  disk.makeDirectory(path.slice(0, path.lastIndexOf("/")));
  const file = disk.open(path, "write");
  file.write(0, strToU8(text));
  file.close();
}

async function start(): Promise<World> {
  const machine = new TestMachine();
  const { disk, network } = machine;
  machine.disk.makeDirectory("/tmp");
  const served = new ServedApp();
  const broker = await startedBroker(machine, {
    name: "broker",
    disk,
    network,
    serveHttp: served.serve,
  });
  machine.fetchPage = async (url) => {
    const response = await served.request(url);
    return { status: response.status, text: await response.text() };
  };
  return { machine, broker };
}

/** Secrets in every place that comes to mind. */
function plant(machine: TestMachine): void {
  write(
    machine,
    CONFIG,
    [
      "log.dirs=/data",
      `ssl.keystore.password=${SECRETS.file}`,
      `ssl.truststore.password=${SECRETS.truststore}`,
      "listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \\",
      `  required username="me" password="${SECRETS.jaas}";`,
      'sasl.jaas.config=x.LoginModule required password="' + SECRETS.jaas + '";',
      `ssl.keystore.key=-----BEGIN PRIVATE KEY----- ${SECRETS.privateKey} -----END PRIVATE KEY-----`,
      `my.own.api.key=${SECRETS.unknownSetting}`,
      `my.own.thing=${SECRETS.unknownPlainSetting}`,
      `sasl.oauthbearer.token.endpoint.url=https://me:${SECRETS.url}@login.example/token`,
    ].join("\n"),
  );
  Object.assign(machine.env, {
    WEIR_SSL_KEY_PASSWORD: SECRETS.environmentSetting,
    AWS_SECRET_ACCESS_KEY: SECRETS.foreignVariable,
    WEIR_MY_OWN_THING: SECRETS.unknownVariable,
    KAFKA_PROXY: `http://me:${SECRETS.url}@proxy:3128`,
    DATABASE_URL: `postgres://me:${SECRETS.url}@db/x`,
    VAULT_TOKEN: SECRETS.quoted,
    HOME: "/users/someone",
  });
  write(
    machine,
    LOG,
    [
      "2026-01-01 INFO server: a first line that is whole",
      `2026-01-01 WARN http: refused  authorization="Bearer ${SECRETS.logged}"`,
      `2026-01-01 INFO app: uses ${SECRETS.foreignVariable} and ${SECRETS.file} and ${SECRETS.truststore}`,
      `{"level":"info","said":${JSON.stringify(SECRETS.quoted)}}`,
      `2026-01-01 INFO app: ${Buffer.from(SECRETS.environmentSetting).toString("base64")}`,
      `2026-01-01 INFO app: ${encodeURIComponent(SECRETS.foreignVariable)}`,
      `-----BEGIN PRIVATE KEY-----\n${SECRETS.privateKey}\n-----END PRIVATE KEY-----`,
    ].join("\n"),
  );
}

/** Secrets in names that clients choose, and records. */
async function use({ machine }: World): Promise<KafkaClient> {
  const { clock, network, random } = machine;
  await machine.succeed("topic create orders");
  await machine.succeed(`topic create t-${SECRETS.topic}`);
  const record = JSON.stringify({
    key: RECORD_WORDS[0],
    value: RECORD_WORDS[1],
    headers: { note: RECORD_WORDS[2] },
  });
  await machine.succeed("produce orders --format ndjson", [`${record}\n`]);
  await machine.succeed(`consume orders --group ${SECRETS.groupId}`);
  const client = new KafkaClient({
    network,
    clock,
    random: random.fork("client"),
    bootstrap: [{ host: "127.0.0.1", port: 9092 }],
    clientId: `app-${SECRETS.clientId}`,
    softwareVersion: "1",
    interrupted: new AbortController().signal,
    requestTimeoutMs: 60_000,
    retryTimeoutMs: 10_000,
  });
  await clock.run(new GroupMember(client, { groupId: "workers", topic: "orders" }).join());
  return client;
}

/** What is in a bundle, by path below its folder. */
function opened({ disk }: TestMachine, path = OUT): Map<string, string> {
  const file = disk.open(path, "read");
  const bytes = new Uint8Array(file.sizeBytes);
  file.read(0, bytes);
  file.close();
  const entries = Object.entries(unzipSync(bytes));
  return new Map(entries.map(([name, content]) => [
    name.slice(name.indexOf("/") + 1),
    strFromU8(content),
  ]));
}

const argvOf = (...more: string[]) => [
  "diag",
  "--config",
  CONFIG,
  "--set",
  `ssl.truststore.certificates=${SECRETS.flag}`,
  "--set",
  `sasl.oauthbearer.client.credentials.client.secret=${SECRETS.short}`,
  "--log-file",
  LOG,
  "--output",
  OUT,
  ...more,
];

/** Every form in which a text may stand in a file. */
function formsOf(text: string): string[] {
  return [
    text,
    JSON.stringify(text).slice(1, -1),
    encodeURIComponent(text),
    Buffer.from(text).toString("base64"),
  ];
}

describe("diag", () => {
  test("diag: no secret is in the bundle or in what is printed, wherever it was planted", async () => {
    const world = await start();
    const { machine, broker } = world;
    plant(machine);
    const client = await use(world);
    const { exitCode, out, error } = await machine.run(argvOf());
    expect({ exitCode, error }).toEqual({ exitCode: 0, error: "" });
    const files = opened(machine);
    const all = [...files, ["(printed)", out]] as const;
    const found = Object.entries(SECRETS).flatMap(([place, secret]) =>
      all.flatMap(([path, text]) =>
        formsOf(secret).some((form) => path.includes(form) || text.includes(form))
          ? [`${place} in ${path}`]
          : []
      )
    );
    expect(found).toEqual([]);
    // What stands around the secrets is there: they were not left out with all that held them.
    expect(files.get("log/0.txt")).toContain("a first line that is whole");
    expect(files.get("log/0.txt")!.split("\n").length).toBeGreaterThan(5);
    expect(files.get("config/given.json")).toContain("ssl.keystore.password");
    expect(files.get("config/given.json")).toContain(`${CONFIG} line 2`);
    expect(files.get("environment.json")).toContain("@proxy:3128");
    expect(files.get("environment.json")).not.toContain("someone");
    expect(files.get("cluster/group_details.ndjson")).toContain('"clientId":"app-[removed]"');
    expect(files.get("http/metrics.txt")).toContain(
      'weir_partition_size_bytes{topic="t-[removed]"',
    );
    await machine.clock.run(client.close());
    await machine.clock.run(broker.stop());
  });

  test("diag: nothing of a record is in it", async () => {
    const world = await start();
    const client = await use(world);
    const { machine, broker } = world;
    write(machine, CONFIG, "log.dirs=/data");
    write(machine, LOG, "");
    await machine.run(argvOf());
    for (const [path, text] of opened(machine)) {
      for (const word of RECORD_WORDS) expect(text, path).not.toContain(word);
    }
    // They are on the disk that it looked at.
    expect(await machine.succeed("consume orders --format json")).toContain(RECORD_WORDS[1]!);
    await machine.clock.run(client.close());
    await machine.clock.run(broker.stop());
  });

  test("diag: of a broker that runs it has everything, and a manifest that is true", async () => {
    const world = await start();
    const { machine, broker } = world;
    const client = await use(world);
    write(machine, CONFIG, "log.dirs=/data\nlog.retention.hours=5");
    write(machine, LOG, "a line\n");
    const { out } = await machine.run(argvOf());
    const files = opened(machine);
    const manifest = JSON.parse(files.get("manifest.json")!);
    expect(manifest).toMatchObject({ weir: VERSION, missing: [] });
    const listed = manifest.files.map(({ path }: { path: string }) => path);
    expect([...files.keys()].toSorted()).toEqual([...listed, "manifest.json"].toSorted());
    for (const { path, bytes } of manifest.files) {
      expect(strToU8(files.get(path)!).length, path).toBe(bytes);
    }
    expect(JSON.parse(files.get("config/in_force.json")!).settings["log.retention.hours"]).toBe(
      "5",
    );
    expect(files.get("cluster/metadata.ndjson")).toContain('"name":"orders"');
    expect(files.get("cluster/quorum.ndjson")).toContain('"leaderId":1');
    expect(files.get("cluster/broker_settings.ndjson")).toContain(
      '"setting":"log.dirs","value":"/data"',
    );
    expect(files.get("cluster/group_details.ndjson")).toContain('"group":"workers"');
    expect(files.get("http/readyz.json")).toBe('{"status":"ready"}');
    expect(files.get("data/0/files.txt")).toContain("orders-0/00000000000000000000.log");
    expect(files.get("data/0/notes.txt")).toContain("── meta.properties");
    expect(files.get("limits.txt")).toContain("Max open files");
    expect(JSON.parse(files.get("version.json")!)).toMatchObject({ platform: "testos" });
    expect(out).toContain(`Wrote ${OUT}`);
    expect(out).toContain("Before you send it, look at");
    await machine.clock.run(client.close());
    await machine.clock.run(broker.stop());
  });

  test("diag: of a broker that is down it has what lies there, and says what it lacks and why", async () => {
    const world = await start();
    const { machine, broker } = world;
    await machine.succeed("topic create orders");
    await machine.clock.run(broker.stop());
    machine.fetchPage = new TestMachine().fetchPage;
    write(machine, CONFIG, "log.dirs=/data");
    const { exitCode, out } = await machine.run([
      "diag",
      "--config",
      CONFIG,
      "--output",
      OUT,
      "--json",
    ]);
    expect(exitCode).toBe(0);
    const { path, missing } = JSON.parse(out);
    expect(path).toBe(OUT);
    const reasons = Object.fromEntries(
      missing.map((one: { path: string; reason: string }) => [one.path, one.reason]),
    );
    expect(reasons["cluster/"]).toContain("no broker answers at 127.0.0.1:9092");
    expect(reasons["http/metrics.txt"]).toContain("nobody is there");
    expect(reasons["log/"]).toContain("--log-file");
    const files = opened(machine);
    expect(files.get("data/0/files.txt")).toContain("orders-0/");
    expect(files.get("data/0/notes.txt")).toContain("── .kafka_cleanshutdown");
    expect([...files.keys()].filter((name) => name.startsWith("cluster/"))).toEqual([]);
  });

  test("diag: settings that are wrong, and directories and logs that are not there, are reasons", async () => {
    const machine = new TestMachine();
    machine.disk.makeDirectory("/tmp");
    const argv = [
      "diag",
      "-s",
      "log.dirs=/nowhere",
      "-s",
      "log.retention.hurs=5",
      "-c",
      "/no.properties",
    ];
    const { exitCode } = await machine.run([...argv, "--log-file", "/no.log", "-o", OUT]);
    expect(exitCode).toBe(0);
    const files = opened(machine);
    const { problems } = JSON.parse(files.get("config/given.json")!);
    expect(problems.join("\n")).toContain("unknown setting 'log.retention.hurs'");
    expect(problems.join("\n")).toContain("Cannot read settings from /no.properties");
    const { missing } = JSON.parse(files.get("manifest.json")!);
    const told = missing.map((one: { path: string }) => one.path);
    expect(told).toContain("log/0.txt");
    expect(told).toContain("config/in_force.json");
    // What is right among the settings still says where to look.
    const data = missing.find((one: { path: string }) => one.path === "data/0/files.txt");
    expect(data.reason).toContain("/nowhere");
  });

  test("diag: never writes over a file, and says where it could not write", async () => {
    const machine = new TestMachine();
    write(machine, OUT, "precious");
    const { exitCode, error } = await machine.run(["diag", "-o", OUT]);
    expect(exitCode).toBe(1);
    expect(error).toContain(`Cannot write ${OUT}: it is there already`);
    const elsewhere = await machine.run(["diag", "-o", "/no/such/place.zip"]);
    expect(elsewhere.exitCode).toBe(1);
    expect(elsewhere.error).toContain("Cannot write /no/such/place.zip");
    const wrong = await machine.run(["diag", "--http", "nonsense", "-o", "/tmp/other.zip"]);
    expect(wrong.error).toContain('Cannot use --http "nonsense"');
  });
});

describe("Bundle", () => {
  const line = `${"x".repeat(99)}\n`;
  const makeBundle = () => new Bundle({ redactor: new Redactor(), root: "r", atMs: 1e12 });

  test("add: a file past the bound is cut at the end of a line, and the manifest says so", () => {
    const bundle = makeBundle();
    bundle.add("a.txt", "lines", line.repeat(MAX_FILE_BYTES / 100 + 10));
    const [file] = bundle.files;
    expect(file!.bytes).toBeWithin(MAX_FILE_BYTES - 100, MAX_FILE_BYTES + 1);
    expect(file!.bytes % 100).toBe(0);
    expect(file!.cutBytes! + file!.bytes).toBe(100 * Math.floor(MAX_FILE_BYTES / 100 + 10));
  });

  test("add: a bundle that is full takes no more, and says so", () => {
    const bundle = makeBundle();
    const full = MAX_BUNDLE_BYTES / MAX_FILE_BYTES;
    const large = "y".repeat(MAX_FILE_BYTES);
    for (let index = 0; index <= full; index++) bundle.add(`${index}.txt`, "letters", large);
    expect(bundle.files.length).toBe(full);
    expect(bundle.missing).toEqual([
      { path: `${full}.txt`, reason: `the bundle is full: ${MAX_BUNDLE_BYTES} bytes` },
    ]);
    bundle.addJson("manifest.json", "this list", {}, { always: true });
    expect(bundle.files.at(-1)!.path).toBe("manifest.json");
  });
});
