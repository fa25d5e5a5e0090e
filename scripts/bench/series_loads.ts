/** The series of loads: partitions, connections, consumers of one partition, batches. */

import { createTopic, deleteTopics } from "../../broker/client/topics.ts";
import { eventually } from "../../tests/compat/harness.ts";
import type { Sample } from "./figures.ts";
import { type BenchNode, raised } from "./node.ts";
import { batches, benchFigures, DELETE_AT_ONCE, type RunningBench, tailFigures } from "./round.ts";
import { type PointRun, type Series, used } from "./series_run.ts";
import { ServeWatch, writeSpread } from "./spread.ts";

const TOPIC = "bench-series";
const WRITTEN_PARTITIONS = 6;
const OPEN_TIMEOUT_MS = 120_000;
/** What a broker does after a topic was made or written, such as a flush, is not idleness. */
const CALM_TIMEOUT_SECONDS = 60;
/** So many seconds that differ by no more are like each other. Units: percent of a core. */
const CALM_PERCENT = 3;
const CALM_SECONDS = 4;
/** Nothing was opened or closed for so long: nobody is about to. */
const SETTLED_MS = 200;
/** Longer than any load takes; the connections are told when it is over. */
const HOLD_MINUTES = 30;

const megabytesPerSecond = { name: "megabytesPerSecond", title: "throughput", unit: "MB/s" };
const processorTime = { name: "cpuSecondsPerGigabyte", title: "processor time", unit: "s/GB" };
const memory = { name: "peakResidentMegabytes", title: "most resident", unit: "MB" };
const hold = { name: "longestHoldMs", title: "longest hold", unit: "ms" };

/** One topic of so many partitions: of which a few are written, and all in turns. */
export const partitionsSeries: Series = {
  name: "partitions",
  title: "partitions",
  xs: [1, 10, 100, 1000, 10_000],
  peerLimit: { x: 1000, reason: "it takes minutes and several GB" },
  openFilesEach: 1,
  figures: [
    { name: "createSeconds", title: "topic made in", unit: "s" },
    { ...megabytesPerSecond, title: `${WRITTEN_PARTITIONS} written` },
    { name: "spreadMegabytesPerSecond", title: "all written", unit: "MB/s" },
    processorTime,
    { name: "idlePercent", title: "idle", unit: "% of a core" },
    memory,
    hold,
  ],
  async prepare(run) {
    const startedMs = performance.now();
    await makeTopic(run, TOPIC, run.x);
    return { createSeconds: (performance.now() - startedMs) / 1000 };
  },
  async measure(run) {
    const { node: { bootstrap }, x: partitionCount, isQuick } = run;
    const megabytes = isQuick ? 4 : 200;
    const written = String(Math.min(partitionCount, WRITTEN_PARTITIONS));
    const amount = ["--topic", TOPIC, "--partitions", written, "--megabytes", String(megabytes)];
    const flags = ["produce", ...amount, ...batches(100, 1024, 5, "1")];
    const few = await used(run, megabytes, () => load(run, flags).ended);
    const all = await used(run, megabytes / 2, () => {
      return writeSpread({ bootstrap, topic: TOPIC, partitionCount, megabytes: megabytes / 2 });
    });
    return {
      ...all,
      cpuSecondsPerGigabyte: few["cpuSecondsPerGigabyte"]!,
      megabytesPerSecond: few["megabytesPerSecond"]!,
      spreadMegabytesPerSecond: all["megabytesPerSecond"]!,
      idlePercent: await idlePercent(run),
      ...("longestHoldMs" in all
        ? { longestHoldMs: Math.max(few["longestHoldMs"]!, all["longestHoldMs"]!) }
        : {}),
    };
  },
};

/** Connections that are open and silent, beside a load that knows nothing of them. */
export const connectionsSeries: Series = {
  name: "connections",
  title: "connections",
  xs: [1, 10, 100, 1000, 10_000],
  openFilesEach: 1,
  figures: [
    { name: "connectionsPerSecond", title: "opened", unit: "/s" },
    { name: "allAnsweredMs", title: "all answered in", unit: "ms" },
    { ...megabytesPerSecond, title: "produce beside" },
    processorTime,
    { name: "p50Ms", title: "one in flight, p50", unit: "ms" },
    { name: "p99Ms", title: "p99", unit: "ms" },
    { name: "idlePercent", title: "idle", unit: "% of a core" },
    { name: "residentMegabytes", title: "resident", unit: "MB" },
    hold,
  ],
  async prepare(run) {
    await makeTopic(run, TOPIC, WRITTEN_PARTITIONS);
    return {};
  },
  measure: measureConnections,
};

/** Consumers that wait at the end of one partition for all that is written there. */
export const consumersSeries: Series = {
  name: "consumers",
  title: "consumers of a partition",
  xs: [1, 10, 100, 1000],
  openFilesEach: 1,
  figures: [{ ...megabytesPerSecond, title: "delivered" }, processorTime, memory, hold],
  async measure(run) {
    const { x: consumers, isQuick } = run;
    const megabytes = Math.max(8, Math.min(400, 4000 / consumers)) / (isQuick ? 8 : 1);
    // What the first answer brought is not counted, and a load this small must not be over before.
    const read = Math.max(1, Math.floor(megabytes * 0.75)) * consumers;
    return await withTopic(run, 1, async (topic) => {
      return await used(run, read, () => {
        const writtenMegabytes = Math.ceil(megabytes) + 2;
        const tail = { topic, consumers, readMegabytes: read, writtenMegabytes };
        return tailFigures((flags) => load(run, flags), tail);
      });
    });
  },
};

const MEGABYTES_OF_BATCHES: ReadonlyMap<number, number> = new Map([
  [1, 10],
  [10, 100],
  [100, 200],
  [1000, 400],
  [9500, 400],
]);

/** Records of 100 B in a batch; 9,500 of them come to the 1 MiB that a topic takes unless told otherwise. */
export const batchesSeries: Series = {
  name: "batches",
  title: "records of 100 B a batch",
  xs: [...MEGABYTES_OF_BATCHES.keys()],
  openFilesEach: 0,
  figures: [
    megabytesPerSecond,
    { name: "recordsPerSecond", title: "records", unit: "/s" },
    { name: "p99Ms", title: "p99", unit: "ms" },
    processorTime,
    memory,
    hold,
  ],
  async measure(run) {
    const { x: records, isQuick } = run;
    const whole = MEGABYTES_OF_BATCHES.get(records)!;
    const megabytes = Math.max(1, Math.round(whole / (isQuick ? 50 : 1)));
    return await withTopic(run, WRITTEN_PARTITIONS, async (topic) => {
      const amount = ["--topic", topic, "--megabytes", String(megabytes)];
      const flags = ["produce", ...amount, ...batches(records, 100, 5, "1")];
      return await used(run, megabytes, () => load(run, flags).ended);
    });
  },
};

/** Starts `weir bench` against the broker of the point, with these words behind `bench`. */
function load({ command, node }: PointRun, flags: readonly string[]): RunningBench {
  return benchFigures({ command: raised(command), broker: node }, flags);
}

/** Makes a topic. Returns: when each of its partitions is served; a leader is named before it knows. */
export async function makeTopic(
  { node }: Pick<PointRun, "node">,
  name: string,
  partitions: number,
  settings: readonly (readonly [name: string, value: string])[] = [],
): Promise<void> {
  const configs = [DELETE_AT_ONCE, ...settings];
  await createTopic(node.client, { name, partitions, configs, validateOnly: false });
  await whenServed(node, name, partitions);
}

/** Resolves once all partitions of a topic are served. */
export async function whenServed(node: BenchNode, topic: string, partitionCount: number) {
  const watch = new ServeWatch({ bootstrap: node.bootstrap, topic, partitionCount });
  await node.whenSo(`all of ${topic} is served`, () => watch.look());
}

async function withTopic(
  run: PointRun,
  partitions: number,
  work: (topic: string) => Promise<Sample>,
): Promise<Sample> {
  const topic = `${TOPIC}-${run.number}`;
  await makeTopic(run, topic, partitions);
  try {
    return await work(topic);
  } finally {
    await deleteTopics(run.node.client, [topic]);
  }
}

/** Processor time while nothing is asked, once seconds are like each other. Units: percent of one core. */
async function idlePercent({ node, isQuick, number }: PointRun): Promise<number> {
  const percent = async (seconds: number) => {
    const before = node.cpuSeconds();
    await Bun.sleep(seconds * 1000);
    return 100 * (node.cpuSeconds() - before) / seconds;
  };
  if (isQuick || number === 0) return await percent(0.5);
  const last: number[] = [];
  for (let count = 0; count < CALM_TIMEOUT_SECONDS; count++) {
    last.push(await percent(1));
    if (last.length > CALM_SECONDS) last.shift();
    const isCalm = Math.max(...last) - Math.min(...last) <= CALM_PERCENT;
    if (last.length === CALM_SECONDS && isCalm) break;
  }
  return last.reduce((sum, one) => sum + one, 0) / last.length;
}

/** What is open and silent first, then once more what is opened and asked at once. */
async function measureConnections(run: PointRun): Promise<Sample> {
  const { node, x, isQuick } = run;
  const flags = ["--topic", TOPIC, "--seconds", isQuick ? "1" : "3"];
  const beside = await withConnections(run, async () => {
    const produced = await used(run, NaN, async () => {
      const figures = await load(run, ["produce", ...flags, ...batches(100, 1024, 5, "1")]).ended;
      return { ...figures, megabytes: figures["byteCount"]! / 1e6 };
    });
    const residentMegabytes = node.residentBytes() / 1e6;
    const one = ["--partitions", "1", "--records", "1", "--size", "100", "--acks", "1"];
    const { p50Ms, p99Ms } = await load(run, ["latency", ...flags, ...one]).ended;
    const idle = await idlePercent(run);
    return { ...produced, p50Ms: p50Ms!, p99Ms: p99Ms!, residentMegabytes, idlePercent: idle };
  });
  const opening = ["connections", "--connections", String(x)];
  const { connectionsPerSecond, allAnsweredMs } = await load(run, opening).ended;
  return {
    ...beside,
    connectionsPerSecond: connectionsPerSecond!,
    allAnsweredMs: allAnsweredMs!,
  };
}

/** Runs `work` beside the connections of the point, which are open all the while. */
async function withConnections(run: PointRun, work: () => Promise<Sample>): Promise<Sample> {
  const { node, x } = run;
  const before = await settledOpenFiles(run);
  const hold = ["--hold", `${HOLD_MINUTES}m`];
  const held = load(run, ["connections", "--connections", String(x), ...hold]);
  try {
    const open = eventually(`${x} connections are open`, () => {
      return node.openFileCount() >= before + x || undefined;
    }, OPEN_TIMEOUT_MS);
    // Where they cannot be opened, that is what is told.
    await Promise.race([open, held.ended]);
    const found = await work();
    held.stop();
    const { connectionCount } = await held.ended;
    if (connectionCount !== x) throw new Error(`only ${connectionCount} connections were open`);
    return found;
  } finally {
    held.stop();
  }
}

/** What the broker has open once connections of rounds before are closed. */
async function settledOpenFiles({ node }: PointRun): Promise<number> {
  let before = NaN;
  return await eventually("no connection is opened or closed", async () => {
    const now = node.openFileCount();
    if (now === before) return now;
    before = now;
    await Bun.sleep(SETTLED_MS);
    return undefined;
  });
}
