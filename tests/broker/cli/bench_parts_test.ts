import { expect, test } from "bun:test";
import { Latencies } from "../../../broker/cli/bench_latencies.ts";
import { Schedule, shareOut } from "../../../broker/cli/bench_produce.ts";
import { FetchFrame, produceErrorAt } from "../../../broker/cli/bench_frames.ts";
import { Calls } from "../../../broker/client/calls.ts";
import { Reader, Writer } from "../../../protocol/bytes.ts";
import { codec } from "../../../protocol/compile.ts";
import { decodeRequestHeader, encodeResponseHeader } from "../../../protocol/headers.ts";
import { SimRandom } from "../../sim/sim_random.ts";

test("Latencies.quantileMs: within half a percent of the sorted times, from 0.1 µs to minutes", () => {
  const random = new SimRandom(5);
  for (const scaleMs of [0.0002, 0.07, 3, 1000, 200_000]) {
    const latencies = new Latencies();
    const times = Array.from({ length: 5000 }, () => scaleMs * (random.uint32() / 2 ** 32) ** 3);
    for (const ms of times) latencies.note(ms);
    times.sort((a, b) => a - b);
    for (const part of [0, 0.01, 0.5, 0.9, 0.99, 0.999, 1]) {
      const exact = times[Math.max(0, Math.ceil(part * times.length) - 1)]!;
      const error = Math.abs(latencies.quantileMs(part) - exact);
      // Below 256 ticks a tick is all there is.
      expect(error, `${part} of ${scaleMs}`).toBeLessThanOrEqual(exact * 0.005 + 0.0001);
    }
    expect(latencies.count).toBe(5000);
    expect(latencies.maxMs).toBe(times.at(-1)!);
  }
});

test("Latencies: nothing is 0, and what is longer than it can count is the longest", () => {
  const latencies = new Latencies();
  expect([latencies.quantileMs(0.5), latencies.maxMs]).toEqual([0, 0]);
  latencies.note(1e9);
  expect(latencies.maxMs).toBe(1e9);
  expect(latencies.quantileMs(1)).toBeGreaterThan(400_000);
});

test("shareOut: parts add up and differ by one at most", () => {
  expect(shareOut(10, 4)).toEqual([3, 3, 2, 2]);
  expect(shareOut(1, 3)).toEqual([1, 0, 0]);
  expect(shareOut(Infinity, 2)).toEqual([Infinity, Infinity]);
});

test("Schedule: connections take turns, and one is due by its time and not before", () => {
  const schedules = [0, 1, 2].map((index) => new Schedule({ rate: 30, index, count: 3 }));
  expect(schedules.map((it) => it.dueMs(0))).toEqual([0, 1000 / 30, 2000 / 30]);
  expect(schedules.map((it) => it.dueMs(2))).toEqual([200, 200 + 1000 / 30, 200 + 2000 / 30]);
  expect(schedules.map((it) => it.dueCount(0))).toEqual([1, 0, 0]);
  expect(schedules.map((it) => it.dueCount(150))).toEqual([2, 2, 1]);
});

test("produceErrorAt: where a decoder finds the error code, at every version and length of name", () => {
  for (let version = Calls.produce.lowest; version <= Calls.produce.highest; version++) {
    for (const topic of ["a", "x".repeat(249)]) {
      const writer = new Writer();
      encodeResponseHeader(writer, { apiKey: 0, apiVersion: version, correlationId: 7 });
      codec(Calls.produce.response, version).encode(writer, {
        responses: [{
          name: topic,
          partitionResponses: [{ index: 77, errorCode: 0x1234, baseOffset: 1e12 }],
        }],
      });
      const answer = writer.finish();
      const at = produceErrorAt(version, topic);
      expect(new DataView(answer.buffer, answer.byteOffset).getInt16(at)).toBe(0x1234);
    }
  }
});

test("FetchFrame.offset: is what a broker decodes, at every version", () => {
  for (let version = Calls.fetch.lowest; version <= Calls.fetch.highest; version++) {
    const frame = new FetchFrame(version, {
      topic: "orders",
      partition: 3,
      maxBytes: 1000,
      maxWaitMs: 50,
    });
    for (const offset of [0, 1, 255, 2 ** 40 + 3]) {
      frame.offset = offset;
      const reader = new Reader(frame.bytes.subarray(4));
      decodeRequestHeader(reader);
      const [topic] = codec(Calls.fetch.request, version).decode(reader).topics;
      expect(topic!.topic).toBe("orders");
      expect(topic!.partitions[0]).toMatchObject({ partition: 3, fetchOffset: offset });
    }
  }
});
