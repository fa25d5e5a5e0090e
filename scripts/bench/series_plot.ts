/**
 * Series as a picture of many small ones: a panel a figure, with what grows along a scale on which each step is ten times
 * as much.
 *
 *     partitions
 *     6 written, MB/s      idle, % of a core     …
 *     400 ┤ ●──●──●──●     2 ┤          ●
 *       0 ┤ ○──○──○──○     0 ┤ ●──●──●──
 *         1  10 100  1k      1  10 100  1k
 *
 * Lines go through the medians of the rounds, ours (green) and the peer's (grey), and a stroke goes from the least to the
 * most of them. A figure whose greatest value is more than 20 times its least has a scale like that of what grows.
 */

import { formatFigure, type Spread } from "./figures.ts";
import { COLORS, type PlotTexts, text } from "./plot.ts";
import type { MeasuredSeries, Point, PointFigure } from "./points.ts";

const COLUMNS = 4;
const HEAD_HEIGHT = 64;
const SERIES_HEIGHT = 30;
const PANEL = { width: 250, height: 150, left: 56, right: 14, top: 26, bottom: 24 } as const;
const WIDTH = 32 + COLUMNS * PANEL.width;
/** Beyond that the values themselves are drawn by their powers. */
const LINEAR_TIMES = 20;

/** A scale of values: where they lie between 0 and 1, and which are marked. */
export interface Scale {
  at(value: number): number;
  readonly marks: readonly number[];
}

/** The next round number: 1, 2 or 5 times a power of ten. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value * (1 - 1e-9))!;
}

/** A scale for values, of which those that are no numbers do not count: from 0, or by powers of ten. */
export function scaleOf(values: readonly number[]): Scale {
  const finite = values.filter((value) => Number.isFinite(value));
  const most = Math.max(0, ...finite);
  const least = Math.min(...finite);
  if (most > 0 && least > 0 && most / least > LINEAR_TIMES) {
    const low = Math.floor(Math.log10(least));
    const high = Math.ceil(Math.log10(most));
    const step = Math.ceil((high - low) / 4);
    const count = Math.floor((high - low) / step) + 1;
    return {
      at: (value) => (Math.log10(value) - low) / (high - low),
      marks: Array.from({ length: count }, (_, index) => 10 ** (low + index * step)),
    };
  }
  const top = most > 0 ? roundUp(most) : 1;
  return { at: (value) => value / top, marks: [0, top / 2, top] };
}

/** A short form of what grows: `1`, `100`, `9.6k`. */
export function shortCount(count: number): string {
  return count >= 1000 ? `${count / 1000}k` : String(count);
}

/** An SVG document. */
export function seriesSvg(
  series: readonly MeasuredSeries[],
  { title, subtitle, peerName }: PlotTexts,
): string {
  let top = HEAD_HEIGHT;
  const parts: string[] = [];
  for (const one of series) {
    parts.push(text("16", top + 18, one.title, "start", "600"));
    top += SERIES_HEIGHT;
    for (const [index, figure] of one.figures.entries()) {
      const left = 16 + (index % COLUMNS) * PANEL.width;
      const y = top + Math.floor(index / COLUMNS) * PANEL.height;
      parts.push(
        `<g transform="translate(${left} ${y})">${drawPanel(figure, one.points)}</g>`,
      );
    }
    top += Math.ceil(one.figures.length / COLUMNS) * PANEL.height;
  }
  const height = top + 16;
  const names = peerName === null ? "" : `; green is weir, grey is ${peerName}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" ` +
    `font-family="system-ui, sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    text("16", 26, title, "start", "600"),
    text("16", 46, `${subtitle}${names}`, "start"),
    ...parts,
    "</svg>\n",
  ].join("\n");
}

/** Where a panel draws: pixels of values and of what grows. */
interface Axes {
  x(value: number): number;
  y(value: number): number;
}

function drawPanel({ name, title, unit }: PointFigure, points: readonly Point[]): string {
  const spreads = (side: "weir" | "peer") =>
    points.flatMap(({ x, [side]: figures }) => {
      const spread = figures?.[name];
      return spread === undefined || !Number.isFinite(spread.median) ? [] : [{ x, spread }];
    });
  const [weir, peer] = [spreads("weir"), spreads("peer")];
  const scale = scaleOf([...weir, ...peer].flatMap(({ spread }) => [spread.min, spread.max]));
  const powers = points.map(({ x }) => Math.log10(x));
  const [low, high] = [Math.min(...powers), Math.max(...powers)];
  const { width, height, left, right, top, bottom } = PANEL;
  const axes: Axes = {
    // A single point stands in the middle.
    x: (value) => {
      const part = high === low ? 0.5 : (Math.log10(value) - low) / (high - low);
      return left + 8 + part * (width - left - right - 16);
    },
    y: (value) => {
      const part = Math.min(1, Math.max(0, scale.at(value)));
      return height - bottom - part * (height - top - bottom);
    },
  };
  const grid = scale.marks.map((value) => {
    const y = axes.y(value).toFixed(1);
    return `<line x1="${left}" y1="${y}" x2="${
      width - right
    }" y2="${y}" stroke="${COLORS.line}"/>` +
      text(String(left - 6), axes.y(value) + 4, formatFigure(value), "end");
  });
  const counts = points.map(({ x }) =>
    text(axes.x(x).toFixed(1), height - 8, shortCount(x), "middle")
  );
  return [
    text("0", 14, `${title}, ${unit}`, "start"),
    ...grid,
    ...counts,
    drawLine(peer, COLORS.plain, axes),
    drawLine(weir, COLORS.good, axes),
  ].join("");
}

function drawLine(
  points: readonly { readonly x: number; readonly spread: Spread }[],
  color: string,
  { x, y }: Axes,
): string {
  const path = points.map((point) =>
    `${x(point.x).toFixed(1)},${y(point.spread.median).toFixed(1)}`
  );
  const marks = points.map(({ x: count, spread: { min, median, max } }) => {
    const at = x(count).toFixed(1);
    return `<line x1="${at}" y1="${y(min).toFixed(1)}" x2="${at}" y2="${y(max).toFixed(1)}" ` +
      `stroke="${color}"/><circle cx="${at}" cy="${y(median).toFixed(1)}" r="3" fill="${color}"/>`;
  });
  return `<polyline points="${path.join(" ")}" fill="none" stroke="${color}" stroke-width="1.5"/>` +
    marks.join("");
}
