import { describe, expect, test } from "bun:test";
import { RebalanceCounts } from "../../../broker/groups/rebalance.ts";
import { Histogram } from "../../../broker/telemetry/histogram.ts";
import { LoopDelay } from "../../../broker/telemetry/loop_delay.ts";
import { type GroupUsage, Metrics } from "../../../broker/telemetry/metrics.ts";
import type { OffsetSample, PartitionSample } from "../../../broker/telemetry/series.ts";
import { ApiKey } from "../../../protocol/api_keys.ts";
import type { Clock } from "../../../storage/platform.ts";
import { SimClock } from "../../sim/sim_clock.ts";

/** Renders on virtual time, which has to be moved for the pauses between two slices. */
async function render(metrics: Metrics, clock: SimClock): Promise<string> {
  const page = metrics.render();
  let isDone = false;
  void page.then(() => isDone = true);
  for (let turn = 0; turn < 10_000 && !isDone; turn++) await clock.advance(1);
  return new TextDecoder().decode(await page);
}

function makeMetrics() {
  const clock = new SimClock();
  return { clock, metrics: new Metrics({ clock, version: "1.2.3" }) };
}

const partition = (topic: string, index: number): PartitionSample => ({
  topic,
  partition: index,
  logStartOffset: 1,
  endOffset: 5,
  highWatermark: 4,
  sizeBytes: 700,
  segmentCount: 2,
  led: null,
});

const NO_GROUPS: GroupUsage = {
  groups: () => [],
  offsets: () => [],
  rebalances: new RebalanceCounts(),
};

/** A line of Prometheus' text format, or a comment. */
const LINE =
  /^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="([^"\\\n]|\\.)*"(,[a-z]+="([^"\\\n]|\\.)*")*\})? [-+0-9.eInf]+|)$/;

describe("Histogram", () => {
  test("observe: bounds are inclusive, what lies above counts in the total", () => {
    const histogram = new Histogram([1, 2, 4]);
    for (const value of [0, 1, 1.5, 4, 5]) histogram.observe(value);
    expect(histogram.cumulativeCounts()).toEqual([2, 3, 4]);
    expect(histogram.count).toBe(5);
    expect(histogram.sum).toBe(11.5);
  });
});

describe("LoopDelay", () => {
  /** Timers that fire late, as they do when something holds the event loop. */
  function lateClock(clock: SimClock, lateness: { ms: number }): Clock {
    return {
      monotonicMs: () => clock.monotonicMs(),
      wallMs: () => clock.wallMs(),
      sleep: (delayMs, signal) => clock.sleep(delayMs, signal),
      timer: (delayMs, callback) => clock.timer(delayMs + lateness.ms, callback),
    };
  }

  test("LoopDelay: notes how late its timer fires, and leaves none when stopped", async () => {
    const clock = new SimClock();
    const lateness = { ms: 0 };
    const delay = new LoopDelay(lateClock(clock, lateness));
    await clock.advance(100);
    expect(delay.takeMaxMs()).toBe(0);
    lateness.ms = 30;
    await clock.advance(200);
    expect(delay.takeMaxMs()).toBe(30);
    expect(delay.takeMaxMs()).toBe(0);
    expect(delay.histogram.sum).toBeGreaterThan(0.03);
    delay.stop();
    expect(clock.pendingTimers).toBe(0);
  });
});

describe("Metrics", () => {
  test("render: every line is of the format, every name has its type once", async () => {
    const { clock, metrics } = makeMetrics();
    metrics.watchLoop(new LoopDelay(clock));
    metrics.watchBudget({ limitBytes: 10, usedBytes: 4, waitingCount: 2 });
    metrics.server.requestAnswered(ApiKey.Fetch, 10, 20, 3);
    metrics.watchPartitions(() => [partition("orders", 0)]);
    const text = await render(metrics, clock);
    const lines = text.split("\n");
    expect(lines.filter((line) => !LINE.test(line))).toEqual([]);
    const types = lines.filter((line) => line.startsWith("# TYPE")).map((line) =>
      line.split(" ")[2]
    );
    expect(new Set(types).size).toBe(types.length);
    expect(text).toContain('weir_build_info{version="1.2.3"} 1\n');
    expect(text).toContain("weir_memory_budget_used_bytes 4\n");
    expect(text).toContain("weir_memory_budget_waiting_connections 2\n");
  });

  test("server: requests by API with bytes and times", async () => {
    const { clock, metrics } = makeMetrics();
    metrics.server.requestAnswered(ApiKey.Produce, 100, 20, 0.2);
    metrics.server.requestAnswered(ApiKey.Produce, 50, 10, 20);
    metrics.server.requestAnswered(999, 1, 1, 1);
    const text = await render(metrics, clock);
    expect(text).toContain('weir_requests_total{api="Produce"} 2\n');
    expect(text).toContain('weir_requests_total{api="Unknown(999)"} 1\n');
    expect(text).toContain('weir_request_bytes_total{api="Produce"} 150\n');
    expect(text).toContain('weir_answer_bytes_total{api="Produce"} 30\n');
    expect(text).toContain('weir_request_duration_seconds_bucket{api="Produce",le="0.00025"} 1\n');
    expect(text).toContain('weir_request_duration_seconds_bucket{api="Produce",le="+Inf"} 2\n');
    expect(text).toContain('weir_request_duration_seconds_count{api="Produce"} 2\n');
  });

  test("server: open connections are those opened less those closed", async () => {
    const { clock, metrics } = makeMetrics();
    for (let count = 0; count < 3; count++) metrics.server.connectionOpened("PLAINTEXT");
    metrics.server.connectionClosed("PLAINTEXT");
    metrics.server.connectionRefused("idle");
    metrics.server.bytesIn(7);
    metrics.server.bytesOut(9);
    const text = await render(metrics, clock);
    expect(text).toContain('weir_connections{listener="PLAINTEXT"} 2\n');
    expect(text).toContain('weir_connections_opened_total{listener="PLAINTEXT"} 3\n');
    expect(text).toContain('weir_connections_ended_by_broker_total{reason="idle"} 1\n');
    expect(text).toContain("weir_received_bytes_total 7\n");
    expect(text).toContain("weir_sent_bytes_total 9\n");
  });

  test("render: partitions and groups, with labels that are escaped", async () => {
    const { clock, metrics } = makeMetrics();
    const group: OffsetSample = {
      group: 'a "b"\\\n',
      topic: "orders",
      partition: 3,
      committedOffset: 10,
      lag: 5,
    };
    metrics.watchPartitions(() => [partition("orders", 3)]);
    metrics.watchGroups({
      ...NO_GROUPS,
      offsets: () => [group, { ...group, group: "c", lag: null }],
    });
    const text = await render(metrics, clock);
    expect(text).toContain('weir_partition_size_bytes{topic="orders",partition="3"} 700\n');
    expect(text).toContain('weir_partition_log_start_offset{topic="orders",partition="3"} 1\n');
    expect(text).toContain('weir_partition_log_end_offset{topic="orders",partition="3"} 5\n');
    expect(text).toContain('weir_partition_high_watermark{topic="orders",partition="3"} 4\n');
    expect(text).toContain(
      'weir_group_lag{group="a \\"b\\"\\\\\\n",topic="orders",partition="3"} 5\n',
    );
    expect(text).toContain(
      'weir_group_committed_offset{group="c",topic="orders",partition="3"} 10\n',
    );
    expect(text).not.toContain('weir_group_lag{group="c"');
  });

  test("render: groups by type and state with their members, rebalances by cause", async () => {
    const { clock, metrics } = makeMetrics();
    const rebalances = new RebalanceCounts();
    rebalances.add("classic", "member_joined");
    rebalances.add("classic", "member_joined");
    rebalances.add("consumer", "session_expired");
    metrics.watchGroups({
      ...NO_GROUPS,
      groups: () => [
        { type: "classic", state: "Stable", memberCount: 3 },
        { type: "classic", state: "Empty", memberCount: 0 },
        { type: "consumer", state: "Stable", memberCount: 4 },
        { type: "consumer", state: "Stable", memberCount: 1 },
      ],
      rebalances,
    });
    const text = await render(metrics, clock);
    const series = (name: string) =>
      text.split("\n").filter((line) => line.startsWith(`${name}{`)).toSorted();
    expect(series("weir_groups")).toEqual([
      'weir_groups{type="classic",state="CompletingRebalance"} 0',
      'weir_groups{type="classic",state="Empty"} 1',
      'weir_groups{type="classic",state="PreparingRebalance"} 0',
      'weir_groups{type="classic",state="Stable"} 1',
      'weir_groups{type="consumer",state="Assigning"} 0',
      'weir_groups{type="consumer",state="Empty"} 0',
      'weir_groups{type="consumer",state="Reconciling"} 0',
      'weir_groups{type="consumer",state="Stable"} 2',
    ]);
    expect(series("weir_group_members")).toEqual([
      'weir_group_members{type="classic"} 3',
      'weir_group_members{type="consumer"} 5',
    ]);
    const caused = series("weir_group_rebalances_total");
    expect(caused).toHaveLength(15);
    expect(caused.filter((line) => !line.endsWith(" 0"))).toEqual([
      'weir_group_rebalances_total{type="classic",cause="member_joined"} 2',
      'weir_group_rebalances_total{type="consumer",cause="session_expired"} 1',
    ]);
  });

  test("render: what is encoded in pieces comes out whole and in order", async () => {
    const { clock, metrics } = makeMetrics();
    const count = 1000;
    metrics.watchPartitions(function* () {
      for (let index = 0; index < count; index++) yield partition("größe", index);
    });
    const lines = (await render(metrics, clock)).split("\n");
    for (const name of ["weir_partition_size_bytes", "weir_partition_high_watermark"]) {
      const first = lines.indexOf(`# TYPE ${name} gauge`) + 1;
      expect(lines.indexOf("# TYPE weir_build_info gauge")).toBeWithin(0, first);
      const numbers = lines.slice(first, first + count).map((line) => (
        new RegExp(`^${name}\\{topic="größe",partition="(\\d+)"\\} \\d+$`).exec(line)?.[1]
      ));
      expect(numbers).toEqual(Array.from({ length: count }, (_, index) => String(index)));
    }
  });

  test("render: partitions beyond the bound are counted and not shown", async () => {
    const { clock, metrics } = makeMetrics();
    metrics.watchPartitions(function* () {
      for (let index = 0; index < 50_003; index++) yield partition("t", index);
    });
    const text = await render(metrics, clock);
    expect(text).toContain("weir_series_left_out 3\n");
    expect(text).not.toContain('partition="50000"');
  });

  test.each(["partitions", "groups", "offsets"])(
    "render: gives the event loop back when reading %s takes long",
    async (what) => {
      const clock = new SimClock();
      let sleeps = 0;
      // Each sample costs 0.1 ms of this clock, so 1,000 of them are 100 ms in one piece.
      let nowMs = 0;
      const slow: Clock = {
        monotonicMs: () => nowMs,
        wallMs: () => clock.wallMs(),
        sleep: () => {
          sleeps++;
          return Promise.resolve();
        },
        timer: (delayMs, callback) => clock.timer(delayMs, callback),
      };
      const sliced = new Metrics({ clock: slow, version: "1" });
      let longestMs = 0;
      let startMs = 0;
      let seenSleeps = 0;
      function* slowly<T>(make: (index: number) => T): Iterable<T> {
        for (let index = 0; index < 1000; index++) {
          nowMs += 0.1;
          if (sleeps > seenSleeps) {
            seenSleeps = sleeps;
            startMs = nowMs;
          }
          longestMs = Math.max(longestMs, nowMs - startMs);
          yield make(index);
        }
      }
      if (what === "partitions") sliced.watchPartitions(() => slowly((i) => partition("t", i)));
      const group = { type: "classic", state: "Empty", memberCount: 0 } as const;
      const offset = { group: "g", topic: "t", committedOffset: 1, lag: 1 };
      sliced.watchGroups({
        ...NO_GROUPS,
        groups: () => what === "groups" ? slowly(() => group) : [],
        offsets: () => what === "offsets" ? slowly((i) => ({ ...offset, partition: i })) : [],
      });
      await sliced.render();
      expect(sleeps).toBeGreaterThan(5);
      expect(longestMs).toBeLessThan(15);
    },
  );

  test("render: scrapes at the same moment share one reading", async () => {
    const { clock, metrics } = makeMetrics();
    let readings = 0;
    metrics.watchPartitions(() => {
      readings++;
      return [];
    });
    const [first, second] = [metrics.render(), metrics.render()];
    expect(await first).toBe(await second);
    expect(readings).toBe(1);
    await render(metrics, clock);
    expect(readings).toBe(2);
  });

  test("gauge: read when somebody scrapes", async () => {
    const { clock, metrics } = makeMetrics();
    let value = 1;
    metrics.gauge("weir_example", "An example.", () => value);
    expect(await render(metrics, clock)).toContain("weir_example 1\n");
    value = 2;
    expect(await render(metrics, clock)).toContain("weir_example 2\n");
  });
});
