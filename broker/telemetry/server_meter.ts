/**
 * Counts what the server does: the implementation of `ServerMetrics`.
 *
 * It runs for every request and every read of a socket, so each API has one object with plain numbers,
 * found by its key in an array; text is made only when somebody scrapes.
 */

import { apiName } from "../../protocol/api_keys.ts";
import type { CloseKind, ServerMetrics } from "../server/metrics.ts";
import { formatFamily, formatHistogram, formatLabels, formatSample } from "./exposition.ts";
import { Histogram } from "./histogram.ts";

interface ApiMeter {
  readonly labels: string;
  readonly duration: Histogram;
  requests: number;
  requestBytes: number;
  answerBytes: number;
}

interface ListenerMeter {
  opened: number;
  closed: number;
}

/** Counters of all listeners and APIs of one broker. */
export class ServerMeter implements ServerMetrics {
  /** By API key; sparse. */
  readonly #apis: (ApiMeter | undefined)[] = [];
  readonly #listeners = new Map<string, ListenerMeter>();
  readonly #refused = new Map<CloseKind, number>();
  #bytesIn = 0;
  #bytesOut = 0;

  connectionOpened(listenerName: string): void {
    this.#listener(listenerName).opened++;
  }

  connectionClosed(listenerName: string): void {
    this.#listener(listenerName).closed++;
  }

  connectionRefused(kind: CloseKind): void {
    this.#refused.set(kind, (this.#refused.get(kind) ?? 0) + 1);
  }

  bytesIn(bytes: number): void {
    this.#bytesIn += bytes;
  }

  bytesOut(bytes: number): void {
    this.#bytesOut += bytes;
  }

  requestAnswered(
    apiKey: number,
    requestBytes: number,
    answerBytes: number,
    durationMs: number,
  ): void {
    const api = this.#apis[apiKey] ?? this.#newApi(apiKey);
    api.requests++;
    api.requestBytes += requestBytes;
    api.answerBytes += answerBytes;
    api.duration.observe(durationMs / 1000);
  }

  /** How many requests were answered so far. */
  get requestCount(): number {
    return this.#apis.reduce((sum, api) => sum + (api?.requests ?? 0), 0);
  }

  /** How long requests of an API took; null while there was none. */
  duration(apiKey: number): Histogram | null {
    return this.#apis[apiKey]?.duration ?? null;
  }

  /** All of it in Prometheus' text format. */
  format(): string {
    return this.#formatRequests() + this.#formatConnections();
  }

  #formatRequests(): string {
    const apis = this.#apis.filter((api) => api !== undefined);
    const counter = (name: string, help: string, read: (api: ApiMeter) => number) =>
      formatFamily(name, "counter", help) +
      apis.map((api) => formatSample(name, api.labels, read(api))).join("");
    const duration = "weir_request_duration_seconds";
    return counter("weir_requests_total", "Requests answered.", (api) => api.requests) +
      counter("weir_request_bytes_total", "Bytes of requests.", (api) => api.requestBytes) +
      counter("weir_answer_bytes_total", "Bytes of answers.", (api) => api.answerBytes) +
      formatFamily(
        duration,
        "histogram",
        "Time from a request's arrival at its handler to its answer.",
      ) +
      apis.map((api) => formatHistogram(duration, api.labels, api.duration)).join("");
  }

  #formatConnections(): string {
    const open = "weir_connections";
    const opened = "weir_connections_opened_total";
    const ended = "weir_connections_ended_by_broker_total";
    const listeners = [...this.#listeners].map(([name, meter]) => ({
      labels: formatLabels([["listener", name]]),
      meter,
    }));
    return formatFamily(open, "gauge", "Open connections.") +
      listeners.map(({ labels, meter }) => formatSample(open, labels, meter.opened - meter.closed))
        .join("") +
      formatFamily(opened, "counter", "Connections that were opened.") +
      listeners.map(({ labels, meter }) => formatSample(opened, labels, meter.opened)).join("") +
      formatFamily(ended, "counter", "Connections that the broker ended, by reason.") +
      [...this.#refused].map(([kind, count]) =>
        formatSample(ended, formatLabels([["reason", kind]]), count)
      ).join("") +
      formatFamily("weir_received_bytes_total", "counter", "Bytes read from connections.") +
      formatSample("weir_received_bytes_total", "", this.#bytesIn) +
      formatFamily("weir_sent_bytes_total", "counter", "Bytes written to connections.") +
      formatSample("weir_sent_bytes_total", "", this.#bytesOut);
  }

  #listener(name: string): ListenerMeter {
    let meter = this.#listeners.get(name);
    if (meter === undefined) {
      meter = { opened: 0, closed: 0 };
      this.#listeners.set(name, meter);
    }
    return meter;
  }

  #newApi(apiKey: number): ApiMeter {
    const api: ApiMeter = {
      labels: formatLabels([["api", apiName(apiKey)]]),
      duration: new Histogram(),
      requests: 0,
      requestBytes: 0,
      answerBytes: 0,
    };
    this.#apis[apiKey] = api;
    return api;
  }
}
