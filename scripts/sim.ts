/**
 * Simulated lives, any number of them: real code on a simulated disk, on virtual time, from one seed each.
 *
 *     bun scripts/sim.ts storage                     500 fresh seeds
 *     bun scripts/sim.ts storage --seeds 10000       as many
 *     bun scripts/sim.ts storage --minutes 30        for so long
 *     bun scripts/sim.ts storage --seed 123          this one again, with a trace of its end when it fails
 *     bun scripts/sim.ts storage --steps 1000        longer lives
 *     bun scripts/sim.ts cluster                     the same for whole clusters; a step is a second of faults
 *     bun scripts/sim.ts cluster --nodes 1           of so many nodes (three)
 *     bun scripts/sim.ts cluster --replication-factor 1    with so many replicas
 *     bun scripts/sim.ts raft                        the quorum instead of the store
 *
 * Each seed that fails is one line with the command that repeats it on the same commit. Exit code: 0 when
 * none did.
 */

import { parseArgs } from "node:util";
import { ClusterWorld } from "../tests/sim/cluster_world.ts";
import { RaftWorld } from "../tests/sim/raft_world.ts";
import { freshSeeds, runSeed } from "../tests/sim/seeds.ts";
import { StorageWorld } from "../tests/sim/storage_world.ts";

const DEFAULT_SEEDS = 500;
const SEEDS_AT_ONCE = 100;
const REPORT_EVERY_MS = 5_000;
const TRACED_LINES = 200;
const FLAGS: Readonly<Record<string, string>> = { replicationFactor: "replication-factor" };

/** Which life it is. */
interface Life {
  readonly seed: number;
  readonly steps: number;
  readonly nodes?: number;
  readonly replicationFactor?: number;
}

/** One kind of life. */
interface Simulation {
  /** How long a life is when nobody says. */
  readonly steps: number;
  run(options: Life & { trace?: (line: string) => void }): Promise<object>;
}

const SIMULATIONS: Readonly<Record<string, Simulation>> = {
  raft: { steps: 120, run: (options) => RaftWorld.run(options) },
  storage: { steps: 120, run: (options) => StorageWorld.run(options) },
  cluster: { steps: 10, run: (options) => ClusterWorld.run({ nodes: 3, ...options }) },
};

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}

function commit(): string {
  const { stdout, success } = Bun.spawnSync(["git", "rev-parse", "--short", "HEAD"], {
    cwd: import.meta.dir,
    stderr: "ignore",
  });
  return success ? stdout.toString().trim() : "unknown";
}

/** Reads the command line. */
function readOptions() {
  const { positionals, values } = parseArgs({
    args: process.argv.slice(2),
    allowPositionals: true,
    options: {
      seeds: { type: "string" },
      seed: { type: "string" },
      minutes: { type: "string" },
      steps: { type: "string" },
      nodes: { type: "string" },
      "replication-factor": { type: "string" },
    },
  });
  const [name = ""] = positionals;
  const simulation = SIMULATIONS[name];
  if (simulation === undefined) {
    fail(`Cannot simulate "${name}": there is ${Object.keys(SIMULATIONS).join(", ")}`);
  }
  const number = (text: string | undefined, otherwise: number): number => {
    if (text === undefined) return otherwise;
    const value = Number(text);
    return Number.isFinite(value) && value >= 0 ? value : fail(`"${text}" is not a number`);
  };
  const hasEnd = values.seeds !== undefined || values.minutes === undefined;
  return {
    name,
    simulation,
    seed: values.seed === undefined ? null : number(values.seed, 0),
    steps: number(values.steps, simulation.steps),
    size: {
      ...(values.nodes !== undefined && { nodes: number(values.nodes, 0) }),
      ...(values["replication-factor"] !== undefined &&
        { replicationFactor: number(values["replication-factor"], 0) }),
    },
    seedCount: hasEnd ? number(values.seeds, DEFAULT_SEEDS) : Infinity,
    untilMs: values.minutes === undefined
      ? Infinity
      : performance.now() + number(values.minutes, 0) * 60_000,
  };
}

/** One seed again, with what led to its end. */
async function repeat(
  simulation: Simulation,
  life: Life,
): Promise<number> {
  const { seed } = life;
  const lines: string[] = [];
  const found = await runSeed(seed, async () => {
    const counts = await simulation.run({ ...life, trace: (line) => lines.push(line) });
    console.log(`Seed ${seed} holds: ${JSON.stringify(counts)}`);
  });
  if (found === null) return 0;
  console.log(lines.slice(-TRACED_LINES).join("\n"));
  console.log(found.failure.stack);
  return 1;
}

async function main(): Promise<number> {
  const { name, simulation, seed: only, steps, size, seedCount, untilMs } = readOptions();
  if (only !== null) return await repeat(simulation, { seed: only, steps, ...size });
  const at = commit();
  const sum = new Map<string, number>();
  let [done, failed] = [0, 0];
  let reportedMs = performance.now();
  while (done < seedCount && performance.now() < untilMs) {
    for (const seed of freshSeeds(Math.min(SEEDS_AT_ONCE, seedCount - done))) {
      const found = await runSeed(seed, async () => {
        for (const [key, count] of Object.entries(await simulation.run({ seed, steps, ...size }))) {
          sum.set(key, (sum.get(key) ?? 0) + Number(count));
        }
      });
      done++;
      if (found !== null) {
        failed++;
        const [what] = found.failure.message.split("\n");
        const again = `bun scripts/sim.ts ${name} --seed ${seed} --steps ${steps}` +
          Object.entries(size).map(([key, value]) => ` --${FLAGS[key] ?? key} ${value}`).join("");
        console.log(`FAILED ${again}   # commit ${at}: ${what}`);
      }
      if (performance.now() - reportedMs > REPORT_EVERY_MS) {
        reportedMs = performance.now();
        console.log(`${done} seeds, ${failed} failed`);
      }
      if (performance.now() >= untilMs) break;
    }
  }
  console.log(JSON.stringify(Object.fromEntries(sum)));
  console.log(`${done} seeds of ${steps} steps, ${failed} failed, commit ${at}`);
  return failed === 0 ? 0 : 1;
}

process.exit(await main());
