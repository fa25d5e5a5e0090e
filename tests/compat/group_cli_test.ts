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

/** What `weir group describe --json` says. */
interface DescribedGroup {
  readonly type: string;
  readonly state: string;
  readonly protocol: string;
  readonly members: readonly unknown[];
  readonly partitions: readonly (GroupPartition & { readonly lagSeconds: number | null })[];
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
    const command = kafkaTool("consumer-groups", "--bootstrap-server", this.bootstrap, ...flags);
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

  async described(group: string): Promise<DescribedGroup> {
    return JSON.parse(await this.weir(`group describe ${group} --json`));
  }

  /** Expects that both tools say the same of these groups' partitions. */
  async expectAlike(groups: readonly string[]): Promise<void> {
    const flags = groups.flatMap((group) => ["--group", group]);
    const told = partitionsByGroup(await this.kafka("--describe", ...flags));
    for (const group of groups) {
      const { partitions } = await this.described(group);
      expect(partitions.map(({ lagSeconds: _, ...row }) => row)).toEqual(told.get(group)!);
    }
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
    for (const group of GROUP_PROTOCOLS) {
      await eventually(`${group} has read everything`, async () => {
        const described = await tools.described(group).catch(() => null);
        const lags = described?.partitions.map(({ lag }) => lag);
        return described?.state === "Stable" && lags?.join() === "0,0,0" ? true : undefined;
      }, 60_000);
      const { type, protocol, members } = await tools.described(group);
      expect(type).toBe(group);
      expect(protocol).toBe(group === "classic" ? "range" : "uniform");
      expect(members).toMatchObject([{ clientId: "console-consumer", subscription: ["orders"] }]);
      expect(await tools.weir(`group list --type ${group} --state Stable`)).toContain(group);
    }
    await tools.expectAlike(GROUP_PROTOCOLS);
  } finally {
    for (const reader of readers) reader.kill("SIGTERM");
  }
  for (const reader of readers) await reader.exited;
  await tools.weir("produce orders --format ndjson", record(0) + record(1) + record(1));
  await tools.expectAlike(GROUP_PROTOCOLS);
  for (const group of GROUP_PROTOCOLS) {
    const { partitions } = await tools.described(group);
    expect(partitions.map(({ lag }) => lag)).toEqual([1, 2, 0]);
    for (const { lag, lagSeconds } of partitions) {
      if (lag === 0) expect(lagSeconds).toBeNull();
      else expect(lagSeconds).toBeWithin(0, 120);
    }
    await expectSameFiles(tools, group);
  }
}

/** Each tool reads what the other has written, and moves the group there. */
async function expectSameFiles(tools: BothTools, group: string): Promise<void> {
  const path = join(scratchDirectory("offsets"), "offsets.csv");
  const committed = async () =>
    (await tools.described(group)).partitions.map(({ committedOffset }) => committedOffset);
  const before = await committed();
  const plan = `group reset-offsets ${group} --all-topics --shift 0 --export`;
  const ours = await tools.weir(plan);
  const own = ["--reset-offsets", "--group", group];
  const theirs = await tools.kafka(...own, "--all-topics", "--to-earliest", "--export");
  const inOrder = (text: string) => text.split("\n").filter((line) => line !== "").toSorted();
  expect(inOrder(theirs)).toEqual(["orders,0,0", "orders,1,0", "orders,2,0"]);
  writeFileSync(path, theirs);
  await tools.weir(`group reset-offsets ${group} --from-file ${path}`);
  expect(await committed()).toEqual(before);
  await tools.weir(`group reset-offsets ${group} --from-file ${path} --execute`);
  expect(await committed()).toEqual([0, 0, 0]);
  writeFileSync(path, ours);
  await tools.kafka(...own, "--from-file", path, "--execute");
  expect(await committed()).toEqual(before);
  expect(await tools.weir(plan)).toBe(ours);
}

/** How often clients have fetched. */
async function fetchCount(httpPort: number): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
  return Number(/^weir_requests_total\{api="Fetch"\} (\d+)$/m.exec(text)?.[1] ?? 0);
}

testWith("Apache Kafka (peers)", "group: says what consumer-groups says, of weir", async () => {
  const settings = { "group.initial.rebalance.delay.ms": "0" };
  const broker = await startWeir({ settings });
  const tools = new BothTools(broker.bootstrap);
  await expectSameGroups(tools);
  // One record is fetched of each partition that lags, and nothing of the others.
  const before = await fetchCount(broker.httpPort);
  await tools.described("classic");
  expect(await fetchCount(broker.httpPort) - before).toBe(2);
  expect(await broker.stop()).toBe(0);
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
