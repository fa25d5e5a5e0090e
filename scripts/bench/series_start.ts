/** The series of starts: how soon a broker answers, and serves all its partitions, after either end. */

import type { Sample } from "./figures.ts";
import { makeTopic, whenServed } from "./series_loads.ts";
import type { PointRun, Series } from "./series_run.ts";
import { writeSpread } from "./spread.ts";

const TOPIC = "bench-start";

/** Partitions that share what was written since the last clean stop; the page cache holds it. */
export const startSeries: Series = {
  name: "start",
  title: "partitions with data",
  xs: [1, 100, 1000],
  openFilesEach: 1,
  figures: [
    { name: "cleanAnswerMs", title: "clean stop, first answer", unit: "ms" },
    { name: "cleanServeMs", title: "clean stop, all served", unit: "ms" },
    { name: "killedAnswerMs", title: "kill -9, first answer", unit: "ms" },
    { name: "killedServeMs", title: "kill -9, all served", unit: "ms" },
    { name: "cpuSeconds", title: "kill -9, processor time", unit: "s" },
    { name: "peakResidentMegabytes", title: "kill -9, most resident", unit: "MB" },
  ],
  async prepare(run) {
    await makeTopic(run, TOPIC, run.x);
    return {};
  },
  async measure(run) {
    await write(run);
    await run.node.stop();
    const clean = await start(run);
    await write(run);
    await run.node.kill();
    const killed = await start(run);
    return {
      cleanAnswerMs: clean.answerMs,
      cleanServeMs: clean.serveMs,
      killedAnswerMs: killed.answerMs,
      killedServeMs: killed.serveMs,
      cpuSeconds: run.node.cpuSeconds(),
      peakResidentMegabytes: run.node.peakResidentBytes() / 1e6,
    };
  },
};

async function write({ node: { bootstrap }, x: partitionCount, isQuick }: PointRun) {
  const megabytes = isQuick ? 2 : 64;
  return await writeSpread({ bootstrap, topic: TOPIC, partitionCount, megabytes }) satisfies Sample;
}

async function start(
  { node, x: partitionCount }: PointRun,
): Promise<{ readonly answerMs: number; readonly serveMs: number }> {
  const startedMs = performance.now();
  const answerMs = await node.start();
  await whenServed(node, TOPIC, partitionCount);
  return { answerMs, serveMs: performance.now() - startedMs };
}
