/** What a whole broker counts of what clients do. */

import { beforeAll, expect, test } from "bun:test";
import { liveMetricsPage, parseMetrics, type ServedMetrics, valueOf } from "./live_metrics.ts";

let served: ServedMetrics;
beforeAll(async () => {
  served = parseMetrics(await liveMetricsPage());
});

test("weir_topic_…: what producers write and consumers read, by topic", () => {
  const of = (name: string, topic = "orders") =>
    valueOf(served, `weir_topic_${name}_total`, { topic });
  expect(of("written_records")).toBe(3);
  expect(of("written_bytes")).toBeGreaterThan(3);
  // Each batch is read once by the one group that reads.
  expect(of("read_bytes")).toBe(of("written_bytes")!);
  // The coordinator's own appends are no client's.
  expect(of("written_records", "__consumer_offsets")).toBe(0);
});

test("weir_partition_errors_total: partitions of Produce and Fetch that were refused, by error", () => {
  const count = (api: string, error: string) =>
    valueOf(served, "weir_partition_errors_total", { api, error });
  expect(count("Produce", "CORRUPT_MESSAGE")).toBe(1);
  expect(count("Fetch", "OFFSET_OUT_OF_RANGE")).toBe(1);
  expect(count("Produce", "NONE") ?? count("Fetch", "NONE")).toBeUndefined();
});

test("weir_http_requests_total: answers by status; the page does not count itself", () => {
  expect(valueOf(served, "weir_http_requests_total", { status: "200" })).toBe(1);
});

test("weir_log_flush_duration_seconds: counts the flushes of all logs", () => {
  expect(valueOf(served, "weir_log_flush_duration_seconds", { le: "+Inf" })).toBeGreaterThan(2);
});

test("weir_partition_…: replicas of partitions that are led here", () => {
  const labels = { topic: "orders", partition: "1" };
  expect(valueOf(served, "weir_partition_replicas", labels)).toBe(1);
  expect(valueOf(served, "weir_partition_in_sync_replicas", labels)).toBe(1);
  expect(valueOf(served, "weir_partition_segments", labels)).toBe(1);
});
