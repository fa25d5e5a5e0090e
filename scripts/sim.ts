/**
 * Simulated lives, any number of them: real code on a simulated disk, on virtual time, from one seed each.
 *
 *     bun scripts/sim.ts storage                     500 fresh seeds
 *     bun scripts/sim.ts storage --seeds 10000       as many
 *     bun scripts/sim.ts storage --minutes 30        for so long
 *     bun scripts/sim.ts storage --seed 123          this one again, with a trace of its end when it fails
 *     bun scripts/sim.ts storage --steps 1000        longer lives
 *     bun scripts/sim.ts cluster                     the same for whole clusters; a step is a second of faults
 *     bun scripts/sim.ts cluster --nodes 1           of so many nodes (three to five, as in the tests)
 *     bun scripts/sim.ts cluster --replication-factor 1    with so many replicas
 *     bun scripts/sim.ts cluster --faults "kill,pause"     with these faults alone
 *     bun scripts/sim.ts bank                        a cluster with a bank that books transfers in transactions
 *     bun scripts/sim.ts raft                        the quorum instead of the store
 *
 * Each seed that fails is one line with the command that repeats it on the same commit. Interrupted, it ends
 * after the life under way, and says what it has seen until then. Exit code: 0 when no seed failed.
 */

import { parseArgs } from "node:util";
import { type ClusterSize, ClusterWorld, mixedSize } from "../tests/sim/cluster_world.ts";
import { RaftWorld } from "../tests/sim/raft_world.ts";
import { freshSeeds, runSeed } from "../tests/sim/seeds.ts";
import { StorageWorld } from "../tests/sim/storage_world.ts";

const DEFAULT_SEEDS = 500;
const SEEDS_AT_ONCE = 100;
const REPORT_EVERY_MS = 5_000;
const TRACED_LINES = 200;
const FLAGS: Readonly<Record<string, string>> = { replicationFactor: "replication-factor" };
const MS_PER_HOUR = 3_600_000;

/** What of a life can be asked for. */
interface Shape extends Partial<ClusterSize> {
  readonly faults?: readonly string[];
}

/** Which life it is. */
interface Life extends Shape {
  readonly seed: number;
  readonly steps: number;
}

/** One kind of life. */
interface Simulation {
  /** How long a life is when nobody says. */
  readonly steps: number;
  /** How large a life is when nobody says; each is the same size where it is left out. */
  sizeOf?(index: number): ClusterSize;
  run(options: Life & { trace?: (line: string) => void }): Promise<object>;
}

const SIMULATIONS: Readonly<Record<string, Simulation>> = {
  raft: { steps: 120, run: (options) => RaftWorld.run(options) },
  storage: { steps: 120, run: (options) => StorageWorld.run(options) },
  cluster: {
    steps: 10,
    sizeOf: mixedSize,
    run: (options) => ClusterWorld.run({ nodes: 3, ...options }),
  },
  bank: { steps: 10, run: (options) => ClusterWorld.run({ nodes: 3, hasBank: true, ...options }) },
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
      faults: { type: "string" },
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
    shape: {
      ...(values.nodes !== undefined && { nodes: number(values.nodes, 0) }),
      ...(values["replication-factor"] !== undefined &&
        { replicationFactor: number(values["replication-factor"], 0) }),
      ...(values.faults !== undefined && { faults: values.faults.split(",") }),
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

/** What repeats a life. */
function commandOf(name: string, { seed, steps, ...shape }: Life): string {
  const flags = Object.entries(shape).map(([key, value]) =>
    ` --${FLAGS[key] ?? key} ${Array.isArray(value) ? JSON.stringify(value.join()) : value}`
  );
  return `bun scripts/sim.ts ${name} --seed ${seed} --steps ${steps}${flags.join("")}`;
}

/** Ends a run early: a signal, or the time that it was given. */
class Stop {
  #isAsked = false;
  readonly #untilMs: number;

  constructor(untilMs: number) {
    this.#untilMs = untilMs;
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => (this.#isAsked = true));
    }
  }

  get isDue(): boolean {
    return this.#isAsked || performance.now() >= this.#untilMs;
  }
}

async function main(): Promise<number> {
  const { name, simulation, seed: only, steps, shape, seedCount, untilMs } = readOptions();
  if (only !== null) return await repeat(simulation, { seed: only, steps, ...shape });
  const at = commit();
  const stop = new Stop(untilMs);
  const sum = new Map<string, number>();
  let [done, failed] = [0, 0];
  let reportedMs = performance.now();
  while (done < seedCount && !stop.isDue) {
    for (const seed of freshSeeds(Math.min(SEEDS_AT_ONCE, seedCount - done))) {
      const isMixed = shape.nodes === undefined && shape.replicationFactor === undefined;
      const life = { seed, steps, ...(isMixed && simulation.sizeOf?.(done)), ...shape };
      const found = await runSeed(seed, async () => {
        for (const [key, count] of Object.entries(await simulation.run(life))) {
          sum.set(key, (sum.get(key) ?? 0) + Number(count));
        }
      });
      done++;
      if (found !== null) {
        failed++;
        const [what] = found.failure.message.split("\n");
        console.log(`FAILED ${commandOf(name, life)}   # commit ${at}: ${what}`);
      }
      if (performance.now() - reportedMs > REPORT_EVERY_MS) {
        reportedMs = performance.now();
        console.log(`${done} seeds, ${failed} failed`);
      }
      if (stop.isDue) break;
    }
  }
  console.log(JSON.stringify(Object.fromEntries(sum)));
  const hours = (sum.get("virtualMs") ?? 0) / MS_PER_HOUR;
  const virtual = hours > 0 ? ` in ${hours.toFixed(1)} virtual hours` : "";
  console.log(`${done} seeds of ${steps} steps${virtual}, ${failed} failed, commit ${at}`);
  return failed === 0 ? 0 : 1;
}

process.exit(await main());
