/** Charts of what this node did in the last hours, drawn by uPlot in the colours of the page. */

import uPlot from "uplot";
import { element, need } from "./dom.ts";
import { CHARTS, type ChartSpec, scaleTexts } from "./chart_specs.ts";

const HEIGHT = 190;
const REFRESH_MS = 10_000;
/** A node that has just started has few samples: they do not hang at the edge of an empty hour. */
const LEAST_RANGE_SECONDS = 600;
/** A line through fewer samples is none. */
const SPARSE = 4;
const TIME_STEPS = [60, 120, 300, 600, 900, 1800, 3600, 7200];
/** Powers of two, which are whole numbers in KiB and MiB. */
const BYTE_STEPS = Array.from({ length: 50 }, (_, exponent) => 2 ** exponent);

/** Columns of samples, as the node sends them. Units: times in seconds; −1 for what was not measured. */
interface History {
  readonly sinceSeconds: number;
  readonly untilSeconds: number;
  readonly times: readonly number[];
  readonly series: Readonly<Record<string, readonly (number | null)[]>>;
}

/** The colour that a CSS variable stands for now. */
function colorOf(name: string): string {
  const probe = element("span", { class: `probe ${name}` });
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function translucent(color: string, alpha: number): string {
  return `color-mix(in srgb, ${color} ${alpha * 100}%, transparent)`;
}

class Chart {
  readonly #figure: HTMLElement;
  readonly #spec: ChartSpec;
  readonly #read: HTMLElement;
  readonly #plot: HTMLElement;
  #drawn: uPlot | null = null;
  #data: uPlot.AlignedData = [[]];
  #range: [number, number] = [0, 1];

  constructor(figure: HTMLElement) {
    this.#figure = figure;
    this.#spec = CHARTS[figure.dataset["chart"] ?? ""]!;
    this.#read = need(".read", figure);
    this.#plot = need(".plot", figure);
    new ResizeObserver(() => this.#resize()).observe(figure);
  }

  /** Shows what the node has sent. */
  update({ sinceSeconds, untilSeconds, times, series }: History): void {
    const first = times[0] ?? untilSeconds;
    this.#range = [
      Math.max(sinceSeconds, Math.min(first, untilSeconds - LEAST_RANGE_SECONDS)),
      untilSeconds,
    ];
    const columns = this.#spec.series.map(({ name, isBelow }) =>
      (series[name] ?? []).map((value) => value === null ? null : isBelow ? -value : value)
    );
    this.#data = [[...times], ...columns];
    if (this.#drawn === null) this.draw();
    else this.#drawn.setData(this.#data);
    this.#say(times.length - 1);
  }

  /** Draws it anew, in the colours of now. */
  draw(): void {
    this.#drawn?.destroy();
    this.#plot.replaceChildren();
    this.#drawn = new uPlot(this.#options(), this.#data, this.#plot);
  }

  #resize(): void {
    this.#drawn?.setSize({ width: this.#figure.clientWidth, height: HEIGHT });
  }

  #options(): uPlot.Options {
    const { series, unit } = this.#spec;
    const [quiet, line] = [colorOf("quiet"), colorOf("lineText")];
    const axis = { stroke: quiet, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const font = `12px system-ui, sans-serif`;
    return {
      width: this.#figure.clientWidth,
      height: HEIGHT,
      cursor: { y: false, points: { size: 7 } },
      legend: { show: false },
      scales: {
        x: { time: true, range: () => this.#range },
        y: { range: (_, low, high) => rangeOf(low, high) },
      },
      axes: [
        {
          ...axis,
          font,
          grid: { show: false },
          space: 70,
          size: 26,
          incrs: TIME_STEPS,
          values: timeTexts,
        },
        {
          ...axis,
          font,
          size: 68,
          space: 36,
          values: (_, values) => scaleTexts(values, unit),
          ...(unit.startsWith("bytes") && { incrs: BYTE_STEPS }),
        },
      ],
      series: [
        {},
        ...series.map(({ tone }) => {
          const stroke = colorOf(tone);
          return {
            stroke,
            width: 1.5,
            points: { show: isSparse },
            fill: translucent(stroke, 0.13),
          };
        }),
      ],
      hooks: { setCursor: [({ cursor }) => this.#say(cursor.idx ?? this.#data[0].length - 1)] },
    };
  }

  /** Says the numbers of one moment: that under the pointer, else the last. */
  #say(index: number): void {
    const { series, unit } = this.#spec;
    const time = this.#data[0][index];
    if (time === undefined) {
      this.#read.replaceChildren("no sample yet");
      return;
    }
    const keys = series.map(({ label, tone }, at) => {
      const value = this.#data[at + 1]?.[index];
      const text = value === null || value === undefined
        ? "–"
        : scaleTexts([Math.abs(value)], unit)[0]!;
      if (label === "") return element("span", {}, text);
      return element("span", { class: `key ${tone}` }, `${label} ${text}`);
    });
    const when = `at ${new Date(time * 1000).toTimeString().slice(0, 8)}`;
    this.#read.replaceChildren(...keys, element("span", {}, when));
  }
}

function isSparse(_: uPlot, _series: number, from: number, to: number): boolean {
  return to - from < SPARSE;
}

/** From zero, and never empty. */
function rangeOf(low: number, high: number): [number, number] {
  const [least, most] = [Math.min(low ?? 0, 0), Math.max(high ?? 0, 0)];
  return least === 0 && most === 0 ? [0, 1] : [least * 1.08, most * 1.08];
}

function timeTexts(_: uPlot, times: number[]): string[] {
  return times.map((time) => new Date(time * 1000).toTimeString().slice(0, 5));
}

const charts = [...document.querySelectorAll<HTMLElement>("[data-chart]")]
  .map((figure) => new Chart(figure));
const choice = document.querySelector<HTMLSelectElement>("[data-minutes]");

async function refresh(): Promise<void> {
  const minutes = choice?.value ?? need("[data-chart-minutes]").dataset["chartMinutes"] ?? "60";
  const source = need("[data-chart-source]").dataset["chartSource"] ?? "";
  try {
    const response = await fetch(`${source}${source.includes("?") ? "&" : "?"}minutes=${minutes}`);
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const history: History = await response.json();
    for (const chart of charts) chart.update(history);
  } catch {
    for (const read of document.querySelectorAll("[data-chart] .read")) {
      read.textContent = "this node does not answer now";
    }
  }
}

function redraw(): void {
  for (const chart of charts) chart.draw();
}

choice?.addEventListener("change", () => void refresh());
addEventListener("weir-theme", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
setInterval(() => {
  if (!document.hidden) void refresh();
}, REFRESH_MS);
void refresh();
