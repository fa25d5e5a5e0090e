import { describe, expect, test } from "bun:test";
import { ApiKey } from "../../../protocol/api_keys.ts";
import { MetricHistory, SAMPLE_INTERVAL_MS } from "../../../broker/telemetry/history.ts";
import { LoopDelay } from "../../../broker/telemetry/loop_delay.ts";
import { ServerMeter } from "../../../broker/telemetry/server_meter.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SIM_USAGE } from "../../sim/sim_usage.ts";

function started() {
  const clock = new SimClock();
  const server = new ServerMeter();
  const loopDelay = new LoopDelay(clock);
  const traffic = { writtenBytes: 0, writtenRecords: 0, readBytes: 0 };
  let cpuSeconds = 0;
  const usage = { ...SIM_USAGE, residentBytes: () => 5000, cpuSeconds: () => cpuSeconds };
  const history = new MetricHistory({
    clock,
    server,
    loopDelay,
    usage,
    traffic: () => ({ ...traffic }),
  });
  const work = (seconds: number) => cpuSeconds += seconds;
  const all = { minutes: 360, maxCount: 10_000 };
  return { clock, server, loopDelay, history, traffic, work, all };
}

describe("MetricHistory", () => {
  test("rates: over the time that passed between two samples", async () => {
    const { clock, server, history, traffic, work, all } = started();
    traffic.writtenBytes += 20_000;
    traffic.readBytes += 500;
    traffic.writtenRecords += 40;
    server.requestAnswered(ApiKey.Produce, 1, 1, 3);
    work(5);
    await clock.advance(SAMPLE_INTERVAL_MS);
    await clock.advance(SAMPLE_INTERVAL_MS);
    const { times, series } = history.columns(all);
    expect(times[1]! - times[0]!).toBe(SAMPLE_INTERVAL_MS / 1000);
    expect(series.writtenBytes).toEqual([2000, 0]);
    expect(series.readBytes).toEqual([50, 0]);
    expect(series.writtenRecords).toEqual([4, 0]);
    expect(series.requests).toEqual([0.1, 0]);
    expect(series.cpu).toEqual([0.5, 0]);
    expect(series.residentBytes).toEqual([5000, 5000]);
    // Where nothing was answered nothing is known.
    expect(series.produceP99).toEqual([expect.any(Number), null]);
  });

  test("latencies: of the interval alone, within the bucket", async () => {
    const { clock, server, history, all } = started();
    for (let i = 0; i < 100; i++) server.requestAnswered(ApiKey.Produce, 1, 1, 400);
    await clock.advance(SAMPLE_INTERVAL_MS);
    for (let i = 0; i < 98; i++) server.requestAnswered(ApiKey.Produce, 1, 1, 0.2);
    for (let i = 0; i < 2; i++) server.requestAnswered(ApiKey.Produce, 1, 1, 40);
    await clock.advance(SAMPLE_INTERVAL_MS);
    const { series: { produceP50, produceP99 } } = history.columns(all);
    expect(produceP50[1]).toBeGreaterThan(0.0001);
    expect(produceP50[1]).toBeLessThanOrEqual(0.00025);
    expect(produceP99[1]).toBeGreaterThan(0.025);
    expect(produceP99[1]).toBeLessThanOrEqual(0.05);
  });

  test("columns: the last minutes, and of many neighbours one, the worst of latencies", async () => {
    const { clock, server, history, traffic, all } = started();
    for (let i = 0; i < 60; i++) {
      traffic.writtenBytes += i * 10;
      server.requestAnswered(ApiKey.Produce, 1, 1, i === 31 ? 4000 : 0.2);
      await clock.advance(SAMPLE_INTERVAL_MS);
    }
    expect(history.columns({ ...all, minutes: 5 }).times).toHaveLength(31);
    const { times, series } = history.columns({ ...all, maxCount: 15 });
    expect(times).toHaveLength(15);
    expect(series.writtenBytes.slice(0, 2)).toEqual([1.5, 5.5]);
    expect(series.produceP99.filter((value) => value! > 2)).toHaveLength(1);
  });

  test("rates: a topic that is deleted takes its counts along, and nothing was written backwards", async () => {
    const { clock, history, traffic, all } = started();
    traffic.writtenBytes = 1000;
    await clock.advance(SAMPLE_INTERVAL_MS);
    traffic.writtenBytes = 0;
    await clock.advance(SAMPLE_INTERVAL_MS);
    expect(history.columns(all).series.writtenBytes).toEqual([100, 0]);
  });

  test("the ring: is full after six hours and stays as large", async () => {
    const { clock, history, all } = started();
    await clock.advance(7 * 3_600_000);
    const { times } = history.columns({ ...all, minutes: 10_000 });
    expect(times).toHaveLength(2160);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  });

  test("stop: no timer is left", () => {
    const { clock, history, loopDelay } = started();
    history.stop();
    loopDelay.stop();
    expect(clock.pendingTimers).toBe(0);
  });
});
