/** Charts of what this node did in the last hours, and where they get their numbers from. */

import type { Hono } from "hono";
import { z } from "zod";
import type { MetricHistory } from "../../telemetry/history.ts";
import { problem } from "../problem.ts";
import type { PageRoutes } from "./routes.ts";
import { PageHead } from "./elements.tsx";

/** As many as a screen has room for. */
const MAX_POINTS = 720;
/** As long as the ring is. */
const MAX_MINUTES = 360;

const RANGES = [
  { minutes: 15, name: "15 minutes" },
  { minutes: 60, name: "1 hour" },
  { minutes: 360, name: "6 hours" },
] as const;

const CHARTS = [
  { chart: "flow", title: "Written and read" },
  { chart: "messages", title: "Messages written" },
  { chart: "produce", title: "Time to answer Produce" },
  { chart: "requests", title: "Requests" },
  { chart: "cpu", title: "Processor" },
  { chart: "memory", title: "Resident memory" },
  { chart: "loop", title: "Event loop delay" },
] as const;

const historyQuery = z.object({
  minutes: z.coerce.number().min(1).max(MAX_MINUTES).default(60),
});

/** Where the charts of a node's own metrics get their numbers. */
export const HISTORY_PATH = "/console/api/history";

/** Adds the page. */
export function metricsPage(routes: PageRoutes): void {
  routes.page("/console/metrics", () => ({
    title: "Metrics",
    way: "Metrics",
    scripts: ["charts.js"],
    parts: [],
    body: () => (
      <>
        <PageHead
          title="Metrics of this node"
          about={
            <>
              A sample every ten seconds, kept for six hours in this process. For longer, let
              Prometheus read <a href="/metrics">/metrics</a>.
            </>
          }
        >
          <div class="field">
            <label for="minutes">The last</label>
            <select id="minutes" data-minutes autocomplete="off">
              {RANGES.map(({ minutes, name }) => (
                <option value={minutes} selected={minutes === 60}>{name}</option>
              ))}
            </select>
          </div>
        </PageHead>
        <div class="charts" data-chart-source={HISTORY_PATH}>
          {CHARTS.map(({ chart, title }) => <ChartFigure chart={chart} title={title} />)}
        </div>
      </>
    ),
  }));
}

/** A chart, which `browser/charts.ts` draws. */
export function ChartFigure({ chart, title }: { readonly chart: string; readonly title: string }) {
  return (
    <figure class="chart" data-chart={chart}>
      <figcaption>
        <h2>{title}</h2>
        <span class="read"></span>
      </figcaption>
      <div class="plot" role="img" aria-label={`Chart: ${title}`}></div>
    </figure>
  );
}

/** Adds the numbers. */
export function historyRoute(app: Hono, history: MetricHistory): void {
  app.get(HISTORY_PATH, (context) => {
    const query = historyQuery.safeParse(context.req.query());
    if (!query.success) {
      return problem(context, 400, `Cannot show samples: minutes must be 1 to ${MAX_MINUTES}`);
    }
    return context.json(history.columns({ minutes: query.data.minutes, maxCount: MAX_POINTS }));
  });
}
