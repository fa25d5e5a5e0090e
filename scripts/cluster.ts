/**
 * Three nodes on this machine, each a process of its own, to try things on.
 *
 *     bun scripts/cluster.ts up                  starts those that do not run, and waits until they serve
 *     bun scripts/cluster.ts status              what runs where
 *     bun scripts/cluster.ts kill 2              kill -9; "up" starts it again
 *     bun scripts/cluster.ts pause 2             SIGSTOP, and "resume 2"
 *     bun scripts/cluster.ts wipe 2              kill -9, its data is gone, and it rejoins
 *     bun scripts/cluster.ts down                stops all in good order; the data stays
 *
 *     --dir DIRECTORY      where the data lies; ./data-cluster when left out
 *     --binary FILE        a compiled weir in place of main.ts
 *     --nodes N            how many, at the first "up"
 *     --port P             the first port, at the first "up"; 19092 when left out
 *
 *     data-cluster/
 *       cluster.json       how many nodes, and their ports
 *       node-2/
 *         weir.properties  kept as it is once it is there: change it, and start the node again
 *         data/  log  pid
 *
 * It touches no process but those that it started: the process with the noted number must have been started at the
 * noted time, with this node's settings file.
 */

import { spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";

const USAGE =
  "usage: bun scripts/cluster.ts up|down|status|kill N|pause N|resume N|wipe N [--dir D]";
const HOST = "127.0.0.1";
const READY_MS = 60_000;
const STOP_MS = 30_000;
const LOOK_MS = 100;
const MAIN = resolve(import.meta.dir, "../main.ts");

interface Cluster {
  readonly nodes: number;
  readonly port: number;
}

interface Node {
  readonly id: number;
  readonly directory: string;
  readonly settings: string;
  readonly kafka: number;
  readonly controller: number;
  readonly http: number;
}

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dir: { type: "string", default: "data-cluster" },
    binary: { type: "string" },
    nodes: { type: "string", default: "3" },
    port: { type: "string", default: "19092" },
  },
});
const root = resolve(flags.dir);

/** What was decided at the first "up". */
function readCluster(): Cluster | null {
  const file = join(root, "cluster.json");
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) as Cluster : null;
}

function makeCluster(): Cluster {
  const cluster = { nodes: Number(flags.nodes), port: Number(flags.port) };
  if (!(cluster.nodes >= 1 && cluster.nodes <= 9)) fail("--nodes is 1 to 9");
  if (!(cluster.port >= 1024 && cluster.port <= 60_000)) fail("--port is 1024 to 60000");
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, "cluster.json"), `${JSON.stringify(cluster)}\n`);
  return cluster;
}

function nodeOf({ port }: Cluster, id: number): Node {
  const directory = join(root, `node-${id}`);
  return {
    id,
    directory,
    settings: join(directory, "weir.properties"),
    kafka: port + id - 1,
    controller: port + 10 + id - 1,
    http: port + 20 + id - 1,
  };
}

function nodesOf(cluster: Cluster): Node[] {
  return Array.from({ length: cluster.nodes }, (_, i) => nodeOf(cluster, i + 1));
}

/** Settings for a node that has none yet. */
function writeSettings(node: Node, nodes: readonly Node[]): void {
  if (existsSync(node.settings)) return;
  mkdirSync(node.directory, { recursive: true });
  const replicas = Math.min(3, nodes.length);
  const lines = [
    `node.id=${node.id}`,
    "process.roles=broker,controller",
    `listeners=PLAINTEXT://${HOST}:${node.kafka},CONTROLLER://${HOST}:${node.controller}`,
    "controller.listener.names=CONTROLLER",
    "controller.quorum.voters=" +
    nodes.map(({ id, controller }) => `${id}@${HOST}:${controller}`).join(","),
    `http.listeners=${HOST}:${node.http}`,
    `broker.rack=rack-${node.id}`,
    `default.replication.factor=${replicas}`,
    `min.insync.replicas=${Math.min(2, replicas)}`,
    `offsets.topic.replication.factor=${replicas}`,
    `log.dirs=${join(node.directory, "data")}`,
  ];
  writeFileSync(node.settings, `${lines.join("\n")}\n`);
}

/** When a process was started, in ticks since the machine was; null when there is none. */
function startTicks(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A process that has ended and was not waited for is no process.
    return fields[0] === "Z" ? null : fields[19] ?? null;
  } catch {
    return null;
  }
}

/** The process of a node, if it is the one that was started here. */
function pidOf(node: Node): number | null {
  const file = join(node.directory, "pid");
  if (!existsSync(file)) return null;
  const [pid, ticks] = readFileSync(file, "utf8").trim().split(" ");
  if (pid === undefined || ticks === undefined || startTicks(Number(pid)) !== ticks) return null;
  const commandLine = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  return commandLine.includes(node.settings) ? Number(pid) : null;
}

function start(node: Node): void {
  const log = openSync(join(node.directory, "log"), "a");
  const [command, ...args] = flags.binary === undefined
    ? [process.execPath, MAIN]
    : [resolve(flags.binary)];
  const child = spawn(command!, [...args, "serve", "--config", node.settings], {
    detached: true,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  child.unref();
  if (child.pid === undefined) fail(`Cannot start node ${node.id}`);
  writeFileSync(join(node.directory, "pid"), `${child.pid} ${startTicks(child.pid)}\n`);
}

async function isReady(node: Node): Promise<boolean> {
  try {
    const answer = await fetch(`http://${HOST}:${node.http}/readyz`, {
      signal: AbortSignal.timeout(1_000),
    });
    return answer.ok;
  } catch {
    return false;
  }
}

async function waitUntil(
  isDone: () => boolean | Promise<boolean>,
  forMs: number,
): Promise<boolean> {
  const deadlineMs = performance.now() + forMs;
  while (performance.now() < deadlineMs) {
    if (await isDone()) return true;
    await Bun.sleep(LOOK_MS);
  }
  return false;
}

async function serves(nodes: readonly Node[]): Promise<void> {
  for (const node of nodes) {
    let hasEnded = false;
    const isUp = await waitUntil(async () => {
      hasEnded = pidOf(node) === null;
      return hasEnded || await isReady(node);
    }, READY_MS);
    if (isUp && !hasEnded) continue;
    const found = hasEnded ? "has ended" : `does not serve after ${READY_MS / 1000} s`;
    fail(`node ${node.id} ${found}; see ${join(node.directory, "log")}`);
  }
}

async function up(): Promise<void> {
  const cluster = readCluster() ?? makeCluster();
  const nodes = nodesOf(cluster);
  const startMs = performance.now();
  for (const node of nodes) {
    writeSettings(node, nodes);
    if (pidOf(node) === null) start(node);
  }
  await serves(nodes);
  const servers = nodes.map(({ kafka }) => `${HOST}:${kafka}`).join(",");
  console.log(`${nodes.length} nodes serve after ${Math.round(performance.now() - startMs)} ms`);
  console.log(`  --bootstrap-server ${servers}`);
}

async function end(node: Node, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  const pid = pidOf(node);
  if (pid === null) return;
  process.kill(pid, signal);
  // One that was stopped takes no other signal.
  if (signal === "SIGTERM") process.kill(pid, "SIGCONT");
  if (await waitUntil(() => pidOf(node) === null, STOP_MS)) return;
  fail(`node ${node.id} (process ${pid}) does not end`);
}

async function down(nodes: readonly Node[]): Promise<void> {
  await Promise.all(nodes.map((node) => end(node, "SIGTERM")));
}

async function status(nodes: readonly Node[]): Promise<void> {
  for (const node of nodes) {
    const pid = pidOf(node);
    const state = pid === null ? "down" : await isReady(node) ? "serves" : "does not serve";
    console.log(
      `node ${node.id}  ${state.padEnd(14)}  process ${String(pid ?? "-").padEnd(8)}` +
        `  Kafka ${HOST}:${node.kafka}  controller ${HOST}:${node.controller}  http://${HOST}:${node.http}`,
    );
  }
}

async function wipe(node: Node): Promise<void> {
  await end(node, "SIGKILL");
  rmSync(join(node.directory, "data"), { recursive: true, force: true });
  start(node);
  await serves([node]);
}

async function onOne(command: string, node: Node): Promise<void> {
  if (command === "wipe") return await wipe(node);
  if (pidOf(node) === null) fail(`node ${node.id} does not run, or was not started from here`);
  if (command === "kill") return await end(node, "SIGKILL");
  process.kill(pidOf(node)!, command === "pause" ? "SIGSTOP" : "SIGCONT");
}

async function main(): Promise<void> {
  const [command, number] = positionals;
  if (command === "up") return await up();
  const cluster = readCluster() ?? fail(`Nothing is in ${root}: "up" makes a cluster there`);
  const nodes = nodesOf(cluster);
  if (command === "down") return await down(nodes);
  if (command === "status") return await status(nodes);
  if (command === undefined || !["kill", "pause", "resume", "wipe"].includes(command)) fail(USAGE);
  const node = nodes.find(({ id }) => id === Number(number));
  if (node === undefined) fail(`Which node? ${nodes.map(({ id }) => id).join(", ")}`);
  await onOne(command, node);
}

await main();
