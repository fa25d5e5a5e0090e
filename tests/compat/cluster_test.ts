/**
 * Three real processes are killed, stopped, paused, restarted one after another and cut off under load, and the
 * history is checked: what an idempotent librdkafka producer and a consumer group were told and saw.
 *
 * Nothing acknowledged is lost, doubled or moved, no offset has two values, no commit goes back; and no partition
 * goes without an acknowledgement for longer than the limits below, whichever node it was that failed.
 *
 * `WEIR_CRASH_ROUNDS` says how many faults there are: 2, and 60 for ten minutes of them; the limits of time hold
 * only then, on a machine that does nothing else. `WEIR_SEED` repeats the choices, though not the timing.
 */

import { afterEach, expect } from "bun:test";
import { join } from "node:path";
import process from "node:process";
import { SimRandom } from "../sim/sim_random.ts";
import { checkHistory, type HistoryEvent } from "../sim/history.ts";
import { RealCluster } from "./cluster.ts";
import { runCommand } from "./command_line.ts";
import {
  expectCommitsOnlyGrow,
  expectForwardReading,
  expectNumbersAtOffsets,
  expectRowOfAll,
  type Report,
} from "./crash_history.ts";
import { testWith } from "./harness.ts";
import { linesOf } from "./lines_of.ts";

const ASKED_ROUNDS = process.env["WEIR_CRASH_ROUNDS"];
const ROUNDS = Number(ASKED_ROUNDS ?? 2);
const SEED = Number(process.env["WEIR_SEED"] ?? Date.now() % 2 ** 31);
const PARTITIONS = 3;
const TOPIC = "cluster-load";
const GROUP = "cluster-group";
const NODES = 3;
/** Between two faults: everything is in sync again. */
const REST_MS = 6_000;
/** The longest silence after a fault: of a node that is killed or paused, and of one that vanishes. */
const MAX_SILENCE_S = { killed: 5, vanished: 8 } as const;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** One kind of fault. Resolves when the node is back. */
interface Fault {
  readonly limit: keyof typeof MAX_SILENCE_S;
  happen(cluster: RealCluster, nodeId: number, random: SimRandom): Promise<void>;
}

const FAULTS: Readonly<Record<string, Fault>> = {
  "kill -9": {
    limit: "killed",
    async happen(cluster, nodeId, random) {
      await cluster.kill(nodeId);
      await Bun.sleep(random.between(0, 8_000));
      await cluster.startNode(nodeId);
    },
  },
  pause: {
    limit: "killed",
    async happen(cluster, nodeId, random) {
      cluster.signal(nodeId, "SIGSTOP");
      await Bun.sleep(random.between(1_000, 15_000));
      cluster.signal(nodeId, "SIGCONT");
    },
  },
  "rolling restart": {
    limit: "killed",
    async happen(cluster) {
      for (const nodeId of cluster.nodeIds) {
        expect(await cluster.stop(nodeId)).toBe(0);
        await cluster.startNode(nodeId);
        await Bun.sleep(REST_MS);
      }
    },
  },
  vanish: {
    limit: "vanished",
    async happen(cluster, nodeId, random) {
      cluster.isolate(nodeId);
      await Bun.sleep(random.between(1_000, 20_000));
      cluster.ways.heal();
    },
  },
  "deaf in one direction": {
    limit: "vanished",
    async happen(cluster, nodeId, random) {
      const others = cluster.nodeIds.filter((other) => other !== nodeId);
      for (const other of others) {
        if (random.chance(0.5)) cluster.ways.cut(String(nodeId), String(other));
        else cluster.ways.cut(String(other), String(nodeId));
      }
      await Bun.sleep(random.between(1_000, 15_000));
      cluster.ways.heal();
    },
  },
};

/** One fault as it happened. Units: s since 1970. */
interface Happened {
  readonly what: string;
  readonly limit: keyof typeof MAX_SILENCE_S;
  readonly start: number;
  readonly end: number;
}

const nowS = () => Date.now() / 1_000;

/** The same as one history. The reader that follows the topic from its start has seen the log. */
function historyOf(report: Report): HistoryEvent[] {
  const name = (partition: number) => `${TOPIC}-${partition}`;
  const events: HistoryEvent[] = [];
  for (const [partition, count] of report.sent[TOPIC]!.entries()) {
    for (let number = 0; number < count; number++) {
      events.push({
        kind: "send",
        producer: "librdkafka",
        guarantee: "exactly once",
        partition: name(partition),
        value: String(number),
      });
    }
  }
  for (const [partition, offset, number] of report.acknowledged[TOPIC]!) {
    // A duplicate's acknowledgement names no offset.
    const known = offset < 0 ? null : offset;
    events.push({ kind: "ack", partition: name(partition), value: String(number), offset: known });
  }
  for (const [partition, offset, number] of report.seen[TOPIC]!) {
    const value = String(number);
    events.push({ kind: "read", reader: "reader", partition: name(partition), offset, value });
    events.push({ kind: "log", partition: name(partition), offset, value });
  }
  return events;
}

/** Errors: where something was lost, doubled, moved or went back. */
function expectCleanHistory(report: Report): void {
  expect({ fatal: report.fatal, failed: report.failed }).toEqual({ fatal: [], failed: [] });
  expect(checkHistory(historyOf(report))).toEqual([]);
  const known = report.acknowledged[TOPIC]!.filter(([, offset]) => offset >= 0);
  for (const rows of [known, report.seen[TOPIC]!, report.group]) expectNumbersAtOffsets(rows);
  expectForwardReading(report.seen[TOPIC]!);
  expectRowOfAll(report.seen[TOPIC]!, report.sent[TOPIC]!);
  expectCommitsOnlyGrow(report.commits);
}

/** The longest silence that began in or around each fault. */
function silencesOf(report: Report, happened: readonly Happened[]) {
  return happened.map(({ what, limit, start, end }) => {
    const seconds = report.silences
      .filter(([, , since, length]) => since + length > start && since < end + 1)
      .map(([, , , length]) => length);
    return { what, limit, seconds: Math.max(0, ...seconds) };
  });
}

async function run(): Promise<void> {
  console.log(`WEIR_SEED=${SEED}`);
  const random = new SimRandom(SEED);
  const cluster = await RealCluster.start({ nodes: NODES });
  ends.push(() => cluster.close());
  const create = ["topic", "create", TOPIC, "--partitions", String(PARTITIONS)];
  await runCommand(["-b", cluster.bootstrap, ...create, "--replication-factor", String(NODES)]);
  const client = Bun.spawn(
    [
      "python3",
      join(import.meta.dir, "crash_client.py"),
      cluster.bootstrap,
      String(PARTITIONS),
      GROUP,
      TOPIC,
    ],
    { stdin: "pipe", stdout: "pipe", stderr: "inherit" },
  );
  ends.push(() => client.kill("SIGKILL"));
  const output = linesOf(client.stdout);
  expect(await output.next()).toEqual({ value: "ready", done: false });
  const happened: Happened[] = [];
  const kinds = Object.keys(FAULTS);
  for (let round = 0; round < ROUNDS; round++) {
    await Bun.sleep(REST_MS);
    const what = kinds[round % kinds.length]!;
    const nodeId = random.pick(cluster.nodeIds);
    const start = nowS();
    await FAULTS[what]!.happen(cluster, nodeId, random);
    happened.push({ what: `${what} of ${nodeId}`, limit: FAULTS[what]!.limit, start, end: nowS() });
  }
  await Bun.sleep(REST_MS);
  await client.stdin.write("\n");
  await client.stdin.end();
  const report: Report = JSON.parse((await output.next()).value ?? "{}");
  expectCleanHistory(report);
  const silences = silencesOf(report, happened);
  const total = report.acknowledged[TOPIC]!.length;
  console.log(
    `${total} records acknowledged; the longest silence of each fault: ` +
      silences.map(({ what, seconds }) => `${what} ${seconds.toFixed(1)} s`).join(", "),
  );
  for (const { what, limit, seconds } of ASKED_ROUNDS === undefined ? [] : silences) {
    expect({ what, isShort: seconds < MAX_SILENCE_S[limit], seconds })
      .toEqual({ what, isShort: true, seconds });
  }
  for (const nodeId of cluster.nodeIds) expect(await cluster.stop(nodeId)).toBe(0);
}

testWith(
  "python confluent-kafka",
  `a cluster of ${NODES} under ${ROUNDS} faults: nothing acknowledged is lost, doubled or moved`,
  run,
  120_000 + 60_000 * ROUNDS,
);
