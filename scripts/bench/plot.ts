/**
 * The rows of a benchmark as a picture: for each figure how many times better weir was than the peer.
 *
 *     title      ·····|·····├──●──┤  ▏     1.97 ×
 *                    1 ×              the bar
 *
 * To the right is better, whether more or less of a figure is; the scale doubles at equal steps. The line is the spread of
 * our rounds over the peer's median. Without a peer it is the spread over our own median.
 */

import { type Bar, formatFigure, type Row, type Spread } from "./figures.ts";

const ROW_HEIGHT = 30;
const HEAD_HEIGHT = 64;
const FOOT_HEIGHT = 34;
const TITLES_WIDTH = 330;
const PLOT_WIDTH = 440;
const WIDTH = TITLES_WIDTH + PLOT_WIDTH + 230;
/** The smallest and largest power of two that are shown where all lies near 1. */
const MIN_POWERS = [-1, 2] as const;
/** Of all pictures. */
export const COLORS = {
  good: "#1a7f37",
  bad: "#c0362c",
  plain: "#57606a",
  line: "#d0d7de",
  text: "#1f2328",
};

/** How many times better than the reference: of our median, and of the worst and best round. */
export interface Place {
  readonly worst: number;
  readonly median: number;
  readonly best: number;
  /** Where the bar lies; null without one, and where it is a ratio and there is nothing to compare with. */
  readonly bar: number | null;
}

/** Where a row is drawn. */
export function placeOf({ weir, peer, bar, isMoreBetter }: Row): Place {
  const reference = (peer ?? weir).median;
  const times = (value: number) => isMoreBetter ? value / reference : reference / value;
  const limit = limitOf(bar, peer);
  return {
    worst: times(isMoreBetter ? weir.min : weir.max),
    median: times(weir.median),
    best: times(isMoreBetter ? weir.max : weir.min),
    bar: limit === null ? null : times(limit),
  };
}

/** The figure that a bar asks for; null where there is none. */
function limitOf(bar: Bar | null, peer: Spread | null): number | null {
  if (bar === null || bar.of === "value") return bar?.limit ?? null;
  return peer === null ? null : bar.limit * peer.median;
}

/** What stands above and below the rows. */
export interface PlotTexts {
  readonly title: string;
  readonly subtitle: string;
  readonly peerName: string | null;
}

/** An SVG document. */
export function plotSvg(rows: readonly Row[], { title, subtitle, peerName }: PlotTexts): string {
  const places = rows.map(placeOf);
  const all = places.flatMap((
    { worst, best, bar },
  ) => [worst, best, ...(bar === null ? [] : [bar])])
    .filter((value) => value > 0 && Number.isFinite(value));
  const low = Math.min(MIN_POWERS[0], ...all.map((value) => Math.floor(Math.log2(value))));
  const high = Math.max(MIN_POWERS[1], ...all.map((value) => Math.ceil(Math.log2(value))));
  const x = (value: number) => {
    const power = Math.min(Math.max(Math.log2(value), low), high);
    return (TITLES_WIDTH + (power - low) / (high - low) * PLOT_WIDTH).toFixed(1);
  };
  const height = HEAD_HEIGHT + rows.length * ROW_HEIGHT + FOOT_HEIGHT;
  const bottom = height - FOOT_HEIGHT;
  const powers = Array.from({ length: high - low + 1 }, (_, step) => 2 ** (low + step));
  const grid = powers.map((value) =>
    `<line x1="${x(value)}" y1="${HEAD_HEIGHT}" x2="${x(value)}" y2="${bottom}" ` +
    `stroke="${value === 1 ? COLORS.plain : COLORS.line}"/>` +
    text(x(value), bottom + 16, `${value < 1 ? `1/${1 / value}` : value} ×`, "middle")
  );
  const reference = peerName === null ? "our own median" : peerName;
  const body = rows.map((row, index) => drawRow(row, places[index]!, { x, index }));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" ` +
    `font-family="system-ui, sans-serif" font-size="13">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    text("16", 26, title, "start", "600"),
    text("16", 46, `${subtitle}; to the right is better than ${reference}, ▏is the bar`, "start"),
    ...grid,
    ...body,
    "</svg>\n",
  ].join("\n");
}

function drawRow(
  row: Row,
  { worst, median, best, bar }: Place,
  { x, index }: { readonly x: (value: number) => string; readonly index: number },
): string {
  const y = HEAD_HEIGHT + index * ROW_HEIGHT + ROW_HEIGHT / 2;
  const color = row.holds === null ? COLORS.plain : row.holds ? COLORS.good : COLORS.bad;
  const figures = [row.weir, ...(row.peer === null ? [] : [row.peer])]
    .map((spread) => formatFigure(spread.median)).join(" : ");
  return [
    text("16", y + 4, row.title, "start"),
    `<line x1="${x(worst)}" y1="${y}" x2="${
      x(best)
    }" y2="${y}" stroke="${color}" stroke-width="2"/>`,
    `<circle cx="${x(median)}" cy="${y}" r="5" fill="${color}"/>`,
    bar === null
      ? ""
      : `<line class="bar" x1="${x(bar)}" y1="${y - 9}" x2="${x(bar)}" y2="${y + 9}" ` +
        `stroke="${COLORS.text}" stroke-width="2"/>`,
    text(String(TITLES_WIDTH + PLOT_WIDTH + 14), y + 4, `${figures} ${row.unit}`, "start"),
  ].join("");
}

/** A text of a picture, which stands at `x`, `y`. */
export function text(
  x: string,
  y: number,
  words: string,
  anchor: "start" | "middle" | "end",
  weight = "400",
): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" font-weight="${weight}" ` +
    `fill="${COLORS.text}">${escaped(words)}</text>`;
}

function escaped(words: string): string {
  return words.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
