/**
 * The load of `weir bench produce` and `weir bench latency`: one batch a partition, built once, sent again and again over
 * a connection a partition.
 *
 * With a rate the requests are due at fixed times, whatever the broker does (an open loop), and their time counts from
 * when they were due. Without, each answer makes room for the next request.
 */

import assert from "node:assert/strict";
import { FrameSplitter } from "../../protocol/frame.ts";
import type { Timer } from "../../storage/platform.ts";
import { Calls } from "../client/calls.ts";
import type { KafkaClient } from "../client/kafka_client.ts";
import {
  type BatchShape,
  benchBatch,
  encodeRequest,
  produceErrorAt,
  produceFrame,
} from "./bench_frames.ts";
import { FrameLink, type LinkHandlers, MAX_ANSWER_BYTES, opened } from "./bench_link.ts";
import { type LoadFigures, LoadRun, type LoadWorker } from "./bench_run.ts";
import { findOrMakePartitions, type LoadPartition, refusal } from "./bench_target.ts";
import type { CliIo } from "./io.ts";

/** How exactly requests are sent when they are due. */
const TICK_MS = 1;
/** Without answers, so much is handed over before anything else has its turn. */
const BURST_BYTES = 4 * 1024 * 1024;

/** What is sent. */
export interface ProduceLoad extends BatchShape {
  readonly topic: string;
  readonly partitions?: number;
  readonly inFlight: number;
  readonly acks: -1 | 0 | 1;
  /** Payload of all requests together; null: until the time is over. */
  readonly byteCount: number | null;
  readonly seconds: number | null;
  /** Requests a second, all connections together; null: as many as are answered. */
  readonly rate: number | null;
}

/** What one connection of it does. */
export interface ProduceShare {
  readonly run: LoadRun;
  readonly load: ProduceLoad;
  readonly partition: LoadPartition;
  /** Requests; Infinity: until the time is over. */
  readonly requestCount: number;
  /** When its requests are due; null: whenever there is room. */
  readonly schedule: Schedule | null;
}

/** Loads a topic. Errors: KafkaError, NetworkError, ClientError. */
export async function produceLoad(
  io: CliIo,
  client: KafkaClient,
  load: ProduceLoad,
): Promise<LoadFigures & { readonly connectionCount: number }> {
  const partitions = await findOrMakePartitions(io, client, { ...load, call: Calls.produce });
  const run = new LoadRun(io.clock, {
    seconds: load.seconds,
    tickMs: load.rate === null ? null : TICK_MS,
    waitsForRecords: false,
    interrupted: io.interrupted,
  });
  const counts = shareOut(requestCountOf(load), partitions.length);
  const count = partitions.length;
  const opening = await Promise.allSettled(partitions.map((partition, index) => {
    const schedule = load.rate === null ? null : new Schedule({ rate: load.rate, index, count });
    const share = { run, load, partition, requestCount: counts[index]!, schedule };
    return load.acks === 0 ? UnansweredWorker.open(io, share) : ProduceWorker.open(io, share);
  }));
  await run.run(opened(opening));
  return { ...run.figures(), connectionCount: count };
}

/** How many requests carry the payload; Infinity where there is no bound. */
function requestCountOf({ byteCount, recordCount, recordBytes }: ProduceLoad): number {
  return byteCount === null ? Infinity : Math.ceil(byteCount / (recordCount * recordBytes));
}

/** Parts that differ by one at most, the larger ones first. */
export function shareOut(total: number, parts: number): number[] {
  if (total === Infinity) return Array.from({ length: parts }, () => Infinity);
  return Array.from({ length: parts }, (_, at) => {
    return Math.floor(total / parts) + (at < total % parts ? 1 : 0);
  });
}

/** When the requests of one of several connections are due, counted from the beginning. */
export class Schedule {
  readonly #periodMs: number;
  readonly #firstMs: number;

  constructor(
    { rate, index, count }: {
      readonly rate: number;
      readonly index: number;
      readonly count: number;
    },
  ) {
    this.#periodMs = 1000 * count / rate;
    this.#firstMs = 1000 * index / rate;
  }

  /** When the request with this number, from 0, is due. */
  dueMs(number: number): number {
    return this.#firstMs + number * this.#periodMs;
  }

  /** How many are due by then. */
  dueCount(elapsedMs: number): number {
    return Math.max(0, Math.floor((elapsedMs - this.#firstMs) / this.#periodMs) + 1);
  }
}

/** Sends what is answered: so many in flight. */
export class ProduceWorker implements LoadWorker, LinkHandlers<Uint8Array> {
  readonly splitter = new FrameSplitter({ maxFrameBytes: MAX_ANSWER_BYTES });
  readonly #share: ProduceShare;
  readonly #errorAt: number;
  /** When each request in flight was sent, or was due; a ring. */
  readonly #sentMs: Float64Array;
  #link: FrameLink<Uint8Array> | null = null;
  #sentCount = 0;
  #answeredCount = 0;
  #isDone = false;

  private constructor(share: ProduceShare) {
    this.#share = share;
    this.#errorAt = produceErrorAt(share.partition.version, share.load.topic);
    this.#sentMs = new Float64Array(share.load.inFlight);
  }

  static async open(io: CliIo, share: ProduceShare): Promise<ProduceWorker> {
    const worker = new ProduceWorker(share);
    const { endpoint } = share.partition;
    worker.#link = await FrameLink.open({ ...io, endpoint }, worker);
    worker.#link.use(frameOf(io, share), share.load.inFlight);
    return worker;
  }

  pump(): void {
    const { run, load, requestCount, schedule } = this.#share;
    if (this.#isDone) return;
    const nowMs = run.clock.monotonicMs();
    if (!run.isStopping) {
      const elapsedMs = nowMs - run.startedMs;
      const due = schedule === null ? Infinity : schedule.dueCount(elapsedMs);
      const room = load.inFlight - (this.#sentCount - this.#answeredCount);
      const count = Math.min(room, Math.min(due, requestCount) - this.#sentCount);
      for (let i = 0; i < count; i++, this.#sentCount++) {
        const dueMs = schedule === null ? nowMs : run.startedMs + schedule.dueMs(this.#sentCount);
        this.#sentMs[this.#sentCount % load.inFlight] = dueMs;
      }
      if (count > 0) this.#link!.send(count);
    }
    const isLast = run.isStopping || this.#sentCount === requestCount;
    if (!isLast || this.#answeredCount < this.#sentCount) return;
    this.#isDone = true;
    run.workerDone();
  }

  onAnswer(frame: Uint8Array): void {
    const { run, load, partition } = this.#share;
    assert(this.#answeredCount < this.#sentCount, "an answer belongs to a request");
    const code = errorCodeAt(frame, this.#errorAt);
    if (code !== 0) return run.fail(refusal(partition.partition, code));
    const nowMs = run.clock.monotonicMs();
    run.latencies.note(nowMs - this.#sentMs[this.#answeredCount++ % load.inFlight]!);
    run.note(doneOf(load, 1), nowMs);
  }

  onReady(): void {
    this.pump();
  }

  onLost(error: Error): void {
    this.#share.run.fail(error);
  }

  close(): void {
    this.#link?.close();
  }
}

/**
 * Sends without answers as much as the connection takes. A question that is answered comes last: who answers it has
 * taken what came before.
 */
class UnansweredWorker implements LoadWorker, LinkHandlers<Uint8Array> {
  readonly splitter = new FrameSplitter({ maxFrameBytes: MAX_ANSWER_BYTES });
  readonly #share: ProduceShare;
  readonly #atOnce: number;
  #link: FrameLink<Uint8Array> | null = null;
  #sentCount = 0;
  #hasAsked = false;
  #next: Timer | null = null;

  private constructor(share: ProduceShare, frameBytes: number) {
    this.#share = share;
    this.#atOnce = Math.max(1, Math.floor(BURST_BYTES / frameBytes));
  }

  static async open(io: CliIo, share: ProduceShare): Promise<UnansweredWorker> {
    const frame = frameOf(io, share);
    const worker = new UnansweredWorker(share, frame.length);
    const { endpoint } = share.partition;
    worker.#link = await FrameLink.open({ ...io, endpoint }, worker);
    worker.#link.use(frame, worker.#atOnce);
    return worker;
  }

  pump(): void {
    const { run, load, requestCount } = this.#share;
    const link = this.#link!;
    if (this.#hasAsked || !link.isSent) return;
    const count = run.isStopping ? 0 : Math.min(this.#atOnce, requestCount - this.#sentCount);
    if (count === 0) return this.#ask();
    this.#sentCount += count;
    link.send(count);
    run.note(doneOf(load, count), run.clock.monotonicMs());
    this.#next?.cancel();
    // Where all was taken nobody calls; the others have their turn first.
    if (link.isSent) this.#next = run.clock.timer(0, () => this.pump());
  }

  #ask(): void {
    this.#hasAsked = true;
    const { call, version } = LAST_QUESTION;
    this.#link!.use(encodeRequest(call, version, {}), 1);
    this.#link!.send(1);
  }

  onAnswer(): void {
    const { run } = this.#share;
    run.note({ requestCount: 0, recordCount: 0, byteCount: 0 }, run.clock.monotonicMs());
    run.workerDone();
  }

  onReady(): void {
    this.pump();
  }

  onLost(error: Error): void {
    this.#share.run.fail(error);
  }

  close(): void {
    this.#next?.cancel();
    this.#link?.close();
  }
}

/** Every broker answers it at that version. */
const LAST_QUESTION = { call: Calls.apiVersions, version: 0 };

function frameOf(io: CliIo, { load, partition: { partition, version } }: ProduceShare): Uint8Array {
  const { topic, acks } = load;
  const batch = benchBatch(load, io.clock.wallMs());
  return produceFrame(version, { topic, partition, acks, batch });
}

function doneOf({ recordCount, recordBytes }: BatchShape, requestCount: number) {
  const records = requestCount * recordCount;
  return { requestCount, recordCount: records, byteCount: records * recordBytes };
}

function errorCodeAt(frame: Uint8Array, at: number): number {
  return ((frame[at]! << 8) | frame[at + 1]!) << 16 >> 16;
}
