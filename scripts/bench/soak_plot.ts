/** A soak as a picture: what was resident over time with the line of its growth, and the longest holds of the loop. */

import { COLORS, type PlotTexts, text } from "./plot.ts";
import { formatFigure } from "./figures.ts";
import { scaleOf } from "./series_plot.ts";
import type { Growth, TimedValue } from "./slope.ts";

const WIDTH = 1000;
const HEAD_HEIGHT = 64;
const PANEL = { height: 210, left: 70, right: 16, top: 30, bottom: 30 } as const;
const MINUTE_MARKS = 6;

/** What is drawn over time. */
export interface SoakPanel {
  readonly title: string;
  readonly values: readonly TimedValue[];
  /** The line of its growth; null for none. */
  readonly growth: Growth | null;
}

/** An SVG document. */
export function soakSvg(panels: readonly SoakPanel[], { title, subtitle }: PlotTexts): string {
  const height = HEAD_HEIGHT + panels.length * PANEL.height;
  const drawn = panels.map((panel, index) =>
    `<g transform="translate(0 ${HEAD_HEIGHT + index * PANEL.height})">${drawPanel(panel)}</g>`
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" ` +
    `font-family="system-ui, sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    text("16", 26, title, "start", "600"),
    text("16", 46, subtitle, "start"),
    ...drawn,
    "</svg>\n",
  ].join("\n");
}

function drawPanel({ title, values, growth }: SoakPanel): string {
  const shown = values.filter(({ value }) => Number.isFinite(value));
  const scale = scaleOf(shown.map(({ value }) => value));
  const end = Math.max(1, ...shown.map(({ seconds }) => seconds));
  const { height, left, right, top, bottom } = PANEL;
  const x = (seconds: number) => (left + seconds / end * (WIDTH - left - right)).toFixed(1);
  const y = (value: number) => {
    const part = Math.min(1, Math.max(0, scale.at(value)));
    return height - bottom - part * (height - top - bottom);
  };
  const grid = scale.marks.map((value) =>
    `<line x1="${left}" y1="${y(value).toFixed(1)}" x2="${WIDTH - right}" ` +
    `y2="${y(value).toFixed(1)}" stroke="${COLORS.line}"/>` +
    text(String(left - 6), y(value) + 4, formatFigure(value), "end")
  );
  const minutes = Array.from({ length: MINUTE_MARKS + 1 }, (_, index) => {
    const seconds = index * end / MINUTE_MARKS;
    return text(x(seconds), height - 10, `${formatFigure(seconds / 60)} min`, "middle");
  });
  const dots = shown.map(({ seconds, value }) =>
    `<circle cx="${x(seconds)}" cy="${y(value).toFixed(1)}" r="2" fill="${COLORS.plain}"/>`
  );
  return [
    text("16", 16, title, "start"),
    ...grid,
    ...minutes,
    ...dots,
    growth === null ? "" : drawTrend(growth, end, { x, y }),
  ].join("");
}

function drawTrend(
  { perHour, atStart, fromSeconds, isFlat }: Growth,
  end: number,
  { x, y }: { readonly x: (seconds: number) => string; readonly y: (value: number) => number },
): string {
  const at = (seconds: number) => y(atStart + perHour * seconds / 3600).toFixed(1);
  const color = isFlat === null ? COLORS.text : isFlat ? COLORS.good : COLORS.bad;
  return `<line class="trend" x1="${x(fromSeconds)}" y1="${at(fromSeconds)}" x2="${x(end)}" ` +
    `y2="${at(end)}" stroke="${color}" stroke-width="2"/>`;
}
