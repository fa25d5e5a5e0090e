/**
 * Prometheus' text format, as far as we write it by hand.
 *
 * Source: the Prometheus text exposition format 0.0.4.
 */

import type { Histogram } from "./histogram.ts";

/** Label names and values, in order. */
export type Labels = readonly (readonly [name: string, value: string])[];

/** What `# TYPE` may say here. */
export type FamilyType = "counter" | "gauge" | "histogram";

/** The two lines before the samples of a family. */
export function formatFamily(name: string, type: FamilyType, help: string): string {
  return `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
}

/** One sample with its line feed. */
export function formatSample(name: string, labels: string, value: number): string {
  return labels === "" ? `${name} ${value}\n` : `${name}{${labels}} ${value}\n`;
}

/** What stands between the braces. */
export function formatLabels(labels: Labels): string {
  return labels.map(([name, value]) => `${name}="${escapeLabel(value)}"`).join(",");
}

/** All samples of a histogram under `name` with these labels. */
export function formatHistogram(name: string, labels: string, histogram: Histogram): string {
  const before = labels === "" ? "" : `${labels},`;
  const { count } = histogram;
  const counts = histogram.cumulativeCounts();
  const buckets = histogram.bounds.map((bound, index) =>
    formatSample(`${name}_bucket`, `${before}le="${bound}"`, counts[index] ?? 0)
  );
  return buckets.join("") +
    formatSample(`${name}_bucket`, `${before}le="+Inf"`, count) +
    formatSample(`${name}_sum`, labels, histogram.sum) +
    formatSample(`${name}_count`, labels, count);
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(text: string): string {
  return /[\\"\n]/.test(text)
    ? text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")
    : text;
}

/** Texts that are encoded together. */
const TEXTS_PER_CHUNK = 256;

/** A page that grows, and is encoded as it does: megabytes in one piece would hold the event loop. */
export class Page {
  readonly #encoder = new TextEncoder();
  #texts: string[] = [];
  readonly #chunks: Uint8Array[] = [];

  add(text: string): void {
    this.#texts.push(text);
    if (this.#texts.length >= TEXTS_PER_CHUNK) this.#encode();
  }

  /** Adds all of another page behind this one. */
  append(page: Page): void {
    this.#encode();
    for (const chunk of page.chunks()) this.#chunks.push(chunk);
  }

  /** All of it, in order. The pieces are the page's own. */
  chunks(): readonly Uint8Array[] {
    this.#encode();
    return this.#chunks;
  }

  #encode(): void {
    this.#chunks.push(this.#encoder.encode(this.#texts.join("")));
    this.#texts = [];
  }
}
