/**
 * A node of three that comes back with flipped bits in a closed segment. After a kill its recovery finds them; after a
 * clean stop nobody looks, it leads again, and a consumer comes upon them, who reads everything all the same. The node
 * gives the replica up, fetches it anew and is in sync again; nothing that is damaged is left.
 */

import { afterEach, expect } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { batches } from "../../protocol/record_batch.ts";
import { clusterWord } from "./availability_probe.ts";
import { RealCluster } from "./cluster.ts";
import {
  eventually,
  partitionDirectories,
  repositoryRoot,
  runOk,
  runProgram,
  testWith,
} from "./harness.ts";

const TOPIC = "repaired";
const RECORDS = 400;
const VALUE = "x".repeat(10_000);
const SETTINGS = {
  "log.segment.bytes": "1048576",
  // Who was killed soon leads again what it should.
  "leader.imbalance.check.interval.seconds": "2",
};

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const weir = (...words: string[]) => [process.execPath, join(repositoryRoot, "main.ts"), ...words];

async function leaderOf(
  cluster: RealCluster,
): Promise<{ leaderId: number; replicaNodes: number[] }> {
  return await eventually("the topic has a leader", async () => {
    const { topics } = await clusterWord(cluster.addresses[0]!, [TOPIC]);
    return topics[0]?.partitions.find(({ leaderId }) => leaderId >= 0);
  });
}

/** Flips a bit of a batch in the middle of the second segment of a partition that is not in use. */
function damage(dataDirectory: string): void {
  const [directory] = partitionDirectories(dataDirectory, TOPIC);
  const segments = readdirSync(directory!).filter((name) => name.endsWith(".log")).toSorted();
  expect(segments.length).toBeGreaterThan(2);
  const path = join(directory!, segments[1]!);
  const bytes = readFileSync(path);
  const starts = [...batches(bytes)];
  bytes[starts[Math.floor(starts.length / 2)]! + 100]! ^= 8;
  writeFileSync(path, bytes);
}

/** Three nodes with a partition of some segments. Returns: which node is to lead it, too. */
async function filledCluster(): Promise<{ cluster: RealCluster; preferred: number }> {
  const cluster = await RealCluster.start({ nodes: 3, settings: SETTINGS, isProxied: false });
  ends.push(() => cluster.close());
  await runOk(weir("-b", cluster.bootstrap, "topic", "create", TOPIC, "-p", "1", "-r", "3"));
  const words = ["-b", cluster.bootstrap, "produce", TOPIC, "--batch-bytes", "100000"];
  const lines = Array.from({ length: RECORDS }, (_, number) => `${number}-${VALUE}\n`);
  await runOk(weir(...words), { input: lines.join("") });
  await cluster.whenInSync();
  return { cluster, preferred: (await leaderOf(cluster)).replicaNodes[0]! };
}

async function expectAllIsRead({ bootstrap }: RealCluster): Promise<void> {
  const words = ["-b", bootstrap, "-q", "-C", "-t", TOPIC, "-o", "0", "-e"];
  const read = await runOk(["timeout", "20", "kcat", ...words]);
  expect(read.trim().split("\n").map((line) => Number(line.split("-")[0])))
    .toEqual(Array.from({ length: RECORDS }, (_, number) => number));
}

async function expectRepaired(cluster: RealCluster, nodeId: number): Promise<void> {
  for (const line of ["Damaged replica is given up", "Damaged log is removed"]) {
    await eventually(line, () => cluster.output(nodeId).includes(line) || undefined, 20_000);
  }
  await cluster.whenInSync();
  expect(await cluster.stop(nodeId)).toBe(0);
  const directory = cluster.directory(nodeId);
  expect(await runProgram(weir("log", "verify", directory))).toMatchObject({ code: 0 });
  expect(readdirSync(directory).filter((name) => name.endsWith("-stray"))).toEqual([]);
}

testWith("kcat", "a killed node with flipped bits is in sync again, and whole", async () => {
  const { cluster, preferred } = await filledCluster();
  await cluster.kill(preferred);
  damage(cluster.directory(preferred));
  await cluster.startNode(preferred);
  await cluster.whenInSync();
  await expectRepaired(cluster, preferred);
  await expectAllIsRead(cluster);
});

testWith("kcat", "a leader with flipped bits hands over, and its consumer reads all", async () => {
  const { cluster, preferred } = await filledCluster();
  expect(await cluster.stop(preferred)).toBe(0);
  damage(cluster.directory(preferred));
  await cluster.startNode(preferred);
  await cluster.whenInSync();
  const leads = async () => (await leaderOf(cluster)).leaderId === preferred || undefined;
  await eventually("the damaged one leads", leads, 20_000);
  expect(cluster.output(preferred)).not.toContain("Damaged");
  await expectAllIsRead(cluster);
  await expectRepaired(cluster, preferred);
});
