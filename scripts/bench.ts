/**
 * How fast weir is beside Apache Kafka, on one machine, in one run.
 *
 *     bun scripts/bench.ts --peer kafka                    every figure, five alternating rounds after four that warm up
 *     bun scripts/bench.ts --nodes 3 --peer kafka          clusters of three nodes, with loads of their own
 *     bun scripts/bench.ts                                 weir alone
 *     bun scripts/bench.ts --only produce,latency          some of the loads (`--help` lists them)
 *     bun scripts/bench.ts --rounds 3 --quick              fewer rounds; a fiftieth of the amounts
 *     bun scripts/bench.ts --on tmpfs                      data in memory, in place of this disk
 *     bun scripts/bench.ts --command "bun main.ts"         another weir than dist/weir
 *     bun scripts/bench.ts --out DIRECTORY                 in place of docs/benchmarks
 *     bun scripts/bench.ts series --peer kafka             what work costs as it grows (`bench/series.ts`)
 *     bun scripts/bench.ts soak                            whether memory stays flat for half an hour (`bench/soak.ts`)
 *
 * Each node is a process with its default settings, started once, and so is each load: `weir bench` of the same weir
 * drives both, in turns. Prints a table of medians, spreads and ratios, and whether each bar of the design holds; writes
 * the same with all samples, machine, versions and commit as JSON, and as a picture. Figures count as ratios of one run
 * on a machine that does nothing else. Exit code: 0 when everything was measured, whichever bars hold.
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { formatRows } from "./bench/figures.ts";
import { commandOf, COMMON_FLAGS, endOnSignals } from "./bench/options.ts";
import { type Medium, peerNameOf, writeReport } from "./bench/report.ts";
import { seriesMain } from "./bench/series.ts";
import { singleNode } from "./bench/single_node.ts";
import { soakMain } from "./bench/soak.ts";
import { runBench, type Suite } from "./bench/suite.ts";
import { threeNodes } from "./bench/three_nodes.ts";

const DEFAULT_ROUNDS = 5;
/** By the number of nodes. */
const SUITES: ReadonlyMap<string, Suite> = new Map([["1", singleNode], ["3", threeNodes]]);

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      ...COMMON_FLAGS,
      nodes: { type: "string", default: "1" },
      peer: { type: "string" },
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
      only: { type: "string" },
    },
  });
  const { peer, on, quick: isQuick, only, out } = values;
  const suite = SUITES.get(values.nodes);
  const rounds = Number(values.rounds ?? (isQuick ? 1 : DEFAULT_ROUNDS));
  const isWrong = (peer !== undefined && peer !== "kafka") || (on !== "disk" && on !== "tmpfs") ||
    !Number.isInteger(rounds) || rounds < 1 || suite === undefined;
  if (values.help || isWrong) {
    console.error(
      "bun scripts/bench.ts [--nodes 1|3] [--peer kafka] [--rounds 5] [--quick] [--on tmpfs|disk]\n" +
        "                     [--only NAME,…] [--command dist/weir] [--out docs/benchmarks]\n" +
        `loads: ${namesOf(singleNode.loads)}\n` +
        `loads with --nodes 3: ${namesOf(threeNodes.loads)}`,
    );
    return isWrong ? 2 : 0;
  }
  const command = commandOf(values.command);
  if (command === null) return 1;
  const unknown = (only?.split(",") ?? []).filter((name) => {
    return suite.loads.every((load) => load.name !== name);
  });
  if (unknown.length > 0) {
    console.error(`Cannot measure ${unknown.join(", ")}: the loads are ${namesOf(suite.loads)}`);
    return 1;
  }
  endOnSignals();
  const report = await runBench(suite, {
    command,
    hasPeer: peer !== undefined,
    rounds,
    isQuick,
    medium: on as Medium,
    only: only?.split(",") ?? null,
  });
  console.log(formatRows(report.rows, peerNameOf(report)));
  for (const path of writeReport(report, { suite, out })) console.log(`written: ${path}`);
  return 0;
}

function namesOf(loads: Suite["loads"]): string {
  return loads.map(({ name }) => name).join(", ");
}

/** What is measured besides suites, by the first word. */
const OTHERS: ReadonlyMap<string, typeof main> = new Map([
  ["series", seriesMain],
  ["soak", soakMain],
]);

if (import.meta.main) {
  const [word = "", ...rest] = process.argv.slice(2);
  const other = OTHERS.get(word);
  process.exit(await (other === undefined ? main(process.argv.slice(2)) : other(rest)));
}
