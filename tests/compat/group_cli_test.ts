/**
 * `weir group` beside Apache Kafka's own `consumer-groups`, over the same groups of both protocols: on weir, and on
 * Apache Kafka.
 */

import { expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  eventually,
  jvmEnvironment,
  kafkaTool,
  repositoryRoot,
  runOk,
  scratchDirectory,
  spawnKafka,
  startWeir,
  testWith,
} from "./harness.ts";
import { freePeerPort, startKafka } from "./kafka_peer.ts";

const WEIR = [process.execPath, join(repositoryRoot, "main.ts")];
const GROUP_PROTOCOLS = ["classic", "consumer"] as const;
const JVM_MEGABYTES = 256;
/** Its own 5 s are soon over on a machine that has other things to do. */
const TOOL_TIMEOUT_MS = 60_000;

/** What a group has in one partition, as either tool says it. */
interface GroupPartition {
  readonly topic: string;
  readonly partition: number;
  readonly committedOffset: number;
  readonly endOffset: number;
  readonly lag: number;
  readonly memberId: string | null;
  readonly host: string | null;
  readonly clientId: string | null;
}

/** What `weir` says besides. */
interface DescribedPartition extends GroupPartition {
  readonly lagSeconds: number | null;
  readonly instanceId: string | null;
}

/** What `weir group describe --json` says. */
interface DescribedGroup {
  readonly group: string;
  readonly type: string;
  readonly state: string;
  readonly protocol: string;
  readonly members: readonly unknown[];
  readonly partitions: readonly DescribedPartition[];
}

/** Kafka's `consumer-groups` and `weir group` over the same broker. */
class BothTools {
  readonly bootstrap: string;

  constructor(bootstrap: string) {
    this.bootstrap = bootstrap;
  }

  async weir(line: string, input = ""): Promise<string> {
    return await runOk([...WEIR, ...line.split(" "), "-b", this.bootstrap], { input });
  }

  async kafka(...flags: readonly string[]): Promise<string> {
    const own = ["--bootstrap-server", this.bootstrap, "--timeout", String(TOOL_TIMEOUT_MS)];
    const command = kafkaTool("consumer-groups", ...own, ...flags);
    return await runOk(command, { environment: jvmEnvironment(JVM_MEGABYTES) });
  }

  /** A console consumer that reads `topic` until it is told to stop. */
  reader(group: string, protocol: string) {
    const command = kafkaTool(
      "console-consumer",
      ...["--bootstrap-server", this.bootstrap, "--topic", "orders", "--group", group],
      ...["--from-beginning", "--command-property", `group.protocol=${protocol}`],
    );
    return spawnKafka(command, { heapMegabytes: JVM_MEGABYTES });
  }

  /** What `weir group describe` says of the groups of both protocols. */
  async described(): Promise<DescribedGroup[]> {
    const text = await this.weir(`group describe ${GROUP_PROTOCOLS.join(" ")} --json`);
    return text.trimEnd().split("\n").map((line) => JSON.parse(line));
  }

  /** Expects that both tools say the same of each partition. Returns: what it is. */
  async alike(): Promise<DescribedGroup[]> {
    const flags = GROUP_PROTOCOLS.flatMap((group) => ["--group", group]);
    const told = partitionsByGroup(await this.kafka("--describe", ...flags));
    const described = await this.described();
    for (const { group, partitions } of described) {
      // What Kafka's tool does not say.
      const rows = partitions.map(({ lagSeconds: _, instanceId: __, ...row }) => row);
      expect(rows).toEqual(told.get(group)!);
    }
    return described;
  }
}

/** The rows that `consumer-groups --describe` prints. */
function partitionsByGroup(text: string): Map<string, GroupPartition[]> {
  const orNull = (cell: string) => cell === "-" ? null : cell;
  const rows = text.split("\n").map((line) => line.trim().split(/ +/))
    .filter((cells) => /^\d+$/.test(cells[2] ?? ""))
    .map(([group, topic, partition, current, end, lag, memberId, host, clientId]) => ({
      group: group!,
      row: {
        topic: topic!,
        partition: Number(partition),
        committedOffset: Number(current),
        endOffset: Number(end),
        lag: Number(lag),
        memberId: orNull(memberId!),
        clientId: orNull(clientId!),
        host: orNull(host!),
      },
    }));
  return new Map(
    [...Map.groupBy(rows, ({ group }) => group)].map(([group, of]) => [
      group,
      of.map(({ row }) => row).sort((a, b) => a.partition - b.partition),
    ]),
  );
}

/** Members, lag and resets of groups of both protocols, by Kafka's tool and by ours. */
async function expectSameGroups(tools: BothTools): Promise<void> {
  const record = (partition: number) => `${JSON.stringify({ value: "v", partition })}\n`;
  await tools.weir("topic create orders -p 3");
  await tools.weir("produce orders --format ndjson", record(0) + record(0) + record(2));
  const readers = GROUP_PROTOCOLS.map((protocol) => tools.reader(protocol, protocol));
  try {
    await eventually("both groups have read everything", async () => {
      const described = await tools.described().catch(() => []);
      const done = described.filter(({ state, partitions }) =>
        state === "Stable" && partitions.map(({ lag }) => lag).join() === "0,0,0"
      );
      return done.length === 2 ? true : undefined;
    }, 60_000);
    for (const { group, type, protocol, members } of await tools.alike()) {
      expect(type).toBe(group);
      expect(protocol).toBe(group === "classic" ? "range" : "uniform");
      expect(members).toMatchObject([{ clientId: "console-consumer", subscription: ["orders"] }]);
    }
    const stable = await tools.weir("group list --type consumer --state Stable --json");
    expect(JSON.parse(stable)).toMatchObject({ group: "consumer" });
  } finally {
    for (const reader of readers) reader.kill("SIGTERM");
  }
  for (const reader of readers) await reader.exited;
  const producedMs = Date.now();
  await tools.weir("produce orders --format ndjson", record(0) + record(1) + record(1));
  for (const { partitions } of await tools.alike()) {
    expect(partitions.map(({ lag }) => lag)).toEqual([1, 2, 0]);
    for (const { lag, lagSeconds } of partitions) {
      if (lag === 0) expect(lagSeconds).toBeNull();
      else expect(lagSeconds).toBeWithin(0, (Date.now() - producedMs) / 1000);
    }
  }
  for (const group of GROUP_PROTOCOLS) await expectSameFiles(tools, group);
}

/** Each tool reads what the other has written, and moves the group there. */
async function expectSameFiles(tools: BothTools, group: string): Promise<void> {
  const path = join(scratchDirectory("offsets"), "offsets.csv");
  const now = `group reset-offsets ${group} --all-topics --shift 0 --export`;
  const ours = await tools.weir(now);
  expect(ours).toBe("orders,0,2\norders,1,0\norders,2,1\n");
  const own = ["--reset-offsets", "--group", group];
  const theirs = await tools.kafka(...own, "--all-topics", "--to-earliest", "--export");
  writeFileSync(path, theirs);
  const rows = await tools.weir(
    `group reset-offsets ${group} --from-file ${path} --execute --json`,
  );
  expect(rows.trimEnd().split("\n").map((row) => JSON.parse(row))).toEqual([2, 0, 1].map(
    (oldOffset, partition) => ({ topic: "orders", partition, oldOffset, newOffset: 0 }),
  ));
  expect(await tools.weir(now)).toBe("orders,0,0\norders,1,0\norders,2,0\n");
  writeFileSync(path, ours);
  await tools.kafka(...own, "--from-file", path, "--execute");
  expect(await tools.weir(now)).toBe(ours);
}

/** The value of a series; 0 while there is none. */
async function metric(httpPort: number, series: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
  const line = text.split("\n").find((it) => it.startsWith(`${series} `));
  return Number(line?.slice(series.length) ?? 0);
}

testWith("Apache Kafka (peers)", "group: says what consumer-groups says, of weir", async () => {
  const settings = { "group.initial.rebalance.delay.ms": "0" };
  const { bootstrap, httpPort, stop } = await startWeir({ settings });
  const tools = new BothTools(bootstrap);
  await expectSameGroups(tools);
  // Of each partition that lags one record is fetched, and nothing of the others.
  const fetches = () => metric(httpPort, 'weir_requests_total{api="Fetch"}');
  const before = await fetches();
  const described = await tools.described();
  expect(await fetches() - before).toBe(4);
  for (const { type, partitions } of described) {
    for (const { partition, lag } of partitions) {
      const labels = `{group="${type}",topic="orders",partition="${partition}"}`;
      expect(await metric(httpPort, `weir_group_lag${labels}`)).toBe(lag);
    }
    expect(await metric(httpPort, `weir_groups{type="${type}",state="Empty"}`)).toBe(1);
    for (const cause of ["member_joined", "member_left"]) {
      const series = `weir_group_rebalances_total{type="${type}",cause="${cause}"}`;
      // A classic group whose last member leaves has another join phase, which nobody comes to.
      expect(await metric(httpPort, series)).toBe(1);
    }
  }
  expect(await stop()).toBe(0);
}, 300_000);

testWith("Apache Kafka (peers)", "group: says what consumer-groups says, of Kafka", async () => {
  const directory = join(scratchDirectory("kafka"), "peer");
  const kafka = await startKafka({ directory, port: await freePeerPort() });
  try {
    await expectSameGroups(new BothTools(kafka.bootstrap));
  } finally {
    await kafka.kill();
  }
}, 300_000);
