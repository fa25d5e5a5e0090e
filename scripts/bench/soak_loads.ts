/**
 * What a broker is under while it soaks: records at a fixed rate, readers at the tail and from the start, connections that
 * come and go, a group whose members commit and leave.
 */

import process from "node:process";
import { fetchGroupOffsets } from "../../broker/client/group_member.ts";
import type { Sample } from "./figures.ts";
import { type BenchNode, raised } from "./node.ts";
import { benchFigures } from "./round.ts";

/** Topics of a soak, with what keeps the disk bounded. */
export const SOAK_TOPICS = [
  { name: "soak", partitions: 6, retentionBytes: 64 * 1024 * 1024 },
  { name: "soak-group", partitions: 6, retentionBytes: 16 * 1024 * 1024 },
] as const;
const [MAIN, OF_GROUP] = SOAK_TOPICS;
const RECORDS = 100;
const RECORD_BYTES = 1024;
const TAIL_CONSUMERS = 2;
const GROUP = "soak";
const GROUP_REQUESTS_PER_SECOND = 20;
/** Several times what a rebalance takes. */
const MEMBER_LIFE_MS = 30_000;
const CONNECTIONS = 200;

/** What is put on a broker, and for how long. */
export interface SoakLoad {
  readonly node: BenchNode;
  readonly command: readonly string[];
  readonly seconds: number;
  readonly megabytesPerSecond: number;
}

/** What the loads came to. */
export interface SoakFigures {
  readonly written: Sample;
  readonly tail: Sample;
  /** Passes from the first record to the last. */
  readonly catchUps: number;
  /** Those that retention overtook, which is as it should be. */
  readonly overtakenCatchUps: number;
  /** Connections that were opened and closed. */
  readonly connections: number;
  /** Members that joined the group; each but the first made it rebalance, and so did their leaving. */
  readonly groupMembers: number;
  /** Records that the group has committed by the end. */
  readonly committedRecords: number;
}

/** Puts all loads on a broker until the time is over. Errors: rejects when one of them fails. */
export async function soakLoads(load: SoakLoad): Promise<SoakFigures> {
  const { seconds, megabytesPerSecond } = load;
  const rate = Math.max(1, Math.round(megabytesPerSecond * 1e6 / (RECORDS * RECORD_BYTES)));
  const bench = (...flags: string[]) =>
    benchFigures({ command: raised(load.command), broker: load.node }, flags);
  const time = ["--seconds", String(seconds)];
  const main = ["--topic", MAIN.name];
  // Whoever reads from the start finds something.
  await bench("produce", ...main, "--megabytes", "1").ended;
  const tail = bench("fetch", ...main, ...time, "--tail", "--consumers", String(TAIL_CONSUMERS));
  await tail.isWaiting;
  const until = performance.now() + seconds * 1000;
  const open = ["--rate", String(rate), "--records", String(RECORDS)];
  const writer = bench("latency", ...main, ...time, ...open, "--size", String(RECORD_BYTES));
  const trickle = ["--rate", String(GROUP_REQUESTS_PER_SECOND), "--records", "10", "--size", "100"];
  const ofGroup = ["--topic", OF_GROUP.name, ...time, ...trickle];
  const pauseMs = Math.min(10_000, seconds * 1000 / 20);
  const [written, read, , catchUp, connections, groupMembers] = await Promise.all([
    writer.ended,
    tail.ended,
    bench("latency", ...ofGroup).ended,
    repeat(until, pauseMs, () => catchUpOnce(bench("fetch", ...main).ended)),
    repeat(until, pauseMs / 2, async () => {
      const count = String(CONNECTIONS);
      await bench("connections", "--connections", count, "--hold", "1s").ended;
      return true;
    }),
    groupLives(load, until),
  ]);
  return {
    written,
    tail: read,
    catchUps: catchUp.filter(Boolean).length,
    overtakenCatchUps: catchUp.filter((isDone) => !isDone).length,
    connections: connections.length * CONNECTIONS,
    groupMembers,
    committedRecords: (await fetchGroupOffsets(load.node.client, GROUP, null))
      .reduce((sum, { offset }) => sum + Math.max(0, offset), 0),
  };
}

/** Does something again and again until then, with pauses. Returns: what came of it each time. */
async function repeat<T>(until: number, pauseMs: number, work: () => Promise<T>): Promise<T[]> {
  const found: T[] = [];
  while (performance.now() + pauseMs < until) {
    await Bun.sleep(pauseMs);
    found.push(await work());
  }
  return found;
}

/** Returns: false where what was to be read next was deleted meanwhile. */
async function catchUpOnce(ended: Promise<Sample>): Promise<boolean> {
  try {
    await ended;
    return true;
  } catch (error) {
    if ((error as Error).message.includes("OFFSET_OUT_OF_RANGE")) return false;
    throw error;
  }
}

/** One member stays, another comes and goes. Returns: how many have joined. */
async function groupLives(load: SoakLoad, until: number): Promise<number> {
  const first = member(load);
  let count = 1;
  while (performance.now() + MEMBER_LIFE_MS < until) {
    const other = member(load);
    count++;
    await Bun.sleep(MEMBER_LIFE_MS);
    await other.leave();
  }
  await Bun.sleep(Math.max(0, until - performance.now()));
  await first.leave();
  return count;
}

/** A consumer that commits what it has read. */
function member({ node, command }: SoakLoad): { leave(): Promise<void> } {
  const words = ["-b", node.bootstrap, "consume", OF_GROUP.name, "--group", GROUP, "--follow"];
  const child = Bun.spawn([...command, ...words], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  const said = new Response(child.stderr).text();
  return {
    async leave() {
      const hasEnded = child.exitCode !== null;
      child.kill("SIGTERM");
      await child.exited;
      process.off("exit", killAtExit);
      if (hasEnded) throw new Error(`A member of the group ended by itself: ${await said}`);
    },
  };
}
