/**
 * The load of `weir bench fetch`: consumers that read partitions as they are, over a connection each, and keep nothing.
 *
 * Catching up, each reads from the first offset of its partition to the end that it had when the load began. At the tail,
 * each waits at the end for what is written meanwhile; the time counts from the first records that come, which are not
 * counted themselves.
 */

import { ClientError } from "../client/client_error.ts";
import type { KafkaClient } from "../client/kafka_client.ts";
import { listOffsets, SpecialTimestamp } from "../client/offsets.ts";
import { FETCH_CALL, FetchAnswers, type FetchedBatches } from "./bench_fetch_answers.ts";
import { FetchFrame } from "./bench_frames.ts";
import { FrameLink, type LinkHandlers, opened } from "./bench_link.ts";
import { type LoadFigures, LoadRun, type LoadWorker } from "./bench_run.ts";
import { findPartitions, type LoadPartition, refusal } from "./bench_target.ts";
import type { CliIo } from "./io.ts";

/** How long a broker waits for records at the tail. */
const MAX_WAIT_MS = 500;

/** What is read. */
export interface FetchLoad {
  readonly topic: string;
  readonly partitions?: number;
  /** Connections for each partition. */
  readonly consumers: number;
  readonly isAtTail: boolean;
  /** Of one answer. */
  readonly maxBytes: number;
  /** Bytes of batches, all connections together; null: no bound. */
  readonly byteCount: number | null;
  readonly seconds: number | null;
}

/** What one connection reads. */
interface Share {
  readonly run: LoadRun;
  readonly load: FetchLoad;
  readonly partition: LoadPartition;
  readonly startOffset: number;
  /** Infinity: there is no end. */
  readonly endOffset: number;
  readonly byteCount: number;
}

/** Reads a topic. Errors: KafkaError, NetworkError, ClientError. */
export async function fetchLoad(
  io: CliIo,
  client: KafkaClient,
  load: FetchLoad,
): Promise<LoadFigures & { readonly connectionCount: number }> {
  const { topic, isAtTail, consumers, seconds } = load;
  const partitions = await findPartitions(client, { ...load, call: FETCH_CALL });
  const numbers = partitions.map(({ partition }) => partition);
  const ends = await listOffsets(client, topic, numbers, SpecialTimestamp.latest);
  const starts = isAtTail
    ? ends
    : await listOffsets(client, topic, numbers, SpecialTimestamp.earliest);
  const offsetIn = (map: typeof ends, partition: number) => map.get(partition)!.offset;
  const isEmpty = numbers.every((it) => offsetIn(starts, it) >= offsetIn(ends, it));
  if (!isAtTail && isEmpty) {
    throw new ClientError(
      `it holds no records; "weir bench produce --topic ${topic}" writes some, --tail waits for them`,
    );
  }
  const run = new LoadRun(io.clock, {
    seconds,
    tickMs: null,
    waitsForRecords: isAtTail,
    interrupted: io.interrupted,
  });
  const connectionCount = partitions.length * consumers;
  const byteCount = load.byteCount === null ? Infinity : load.byteCount / connectionCount;
  const shares = partitions.flatMap((partition) => {
    const startOffset = offsetIn(starts, partition.partition);
    const endOffset = isAtTail ? Infinity : offsetIn(ends, partition.partition);
    const share: Share = { run, load, partition, startOffset, endOffset, byteCount };
    return Array.from({ length: consumers }, () => share);
  });
  const opening = shares.map((share) => FetchWorker.open(io, share));
  const workers = opened(await Promise.allSettled(opening));
  // Whatever is written from here on is read: whoever writes may begin.
  if (isAtTail) io.writeError(`Waiting at the end of ${topic}.\n`);
  await run.run(workers);
  return { ...run.figures(), connectionCount };
}

/** A consumer: one request in flight, the next one from where the answer ended. */
class FetchWorker implements LoadWorker, LinkHandlers<FetchedBatches> {
  readonly splitter: FetchAnswers;
  readonly #share: Share;
  readonly #frame: FetchFrame;
  #link: FrameLink<FetchedBatches> | null = null;
  #offset: number;
  #byteCount = 0;
  #sentMs = 0;
  #isWaiting = false;
  #isDone = false;

  private constructor(share: Share) {
    const { partition: { partition, version }, load: { topic, maxBytes } } = share;
    this.splitter = new FetchAnswers(topic);
    this.#share = share;
    this.#offset = share.startOffset;
    this.#frame = new FetchFrame(version, { topic, partition, maxBytes, maxWaitMs: MAX_WAIT_MS });
  }

  static async open(io: CliIo, share: Share): Promise<FetchWorker> {
    const worker = new FetchWorker(share);
    const { endpoint } = share.partition;
    worker.#link = await FrameLink.open({ ...io, endpoint }, worker);
    worker.#link.use(worker.#frame.bytes, 1);
    return worker;
  }

  pump(): void {
    const { run, endOffset, byteCount } = this.#share;
    if (this.#isDone) return;
    // What the broker still waits for is not waited for here.
    if (run.isStopping || this.#offset >= endOffset || this.#byteCount >= byteCount) {
      this.#isDone = true;
      return run.workerDone();
    }
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#frame.offset = this.#offset;
    this.#sentMs = run.clock.monotonicMs();
    this.#link!.send(1);
  }

  onAnswer({ errorCode, byteCount, nextOffset }: FetchedBatches): void {
    const { run, partition: { partition } } = this.#share;
    this.#isWaiting = false;
    if (this.#isDone) return;
    if (errorCode !== 0) return run.fail(refusal(partition, errorCode));
    if (nextOffset === null) return;
    // The first batch may begin before what was asked for.
    const recordCount = nextOffset - this.#offset;
    this.#offset = nextOffset;
    if (!run.hasBegun) return run.begin();
    const nowMs = run.clock.monotonicMs();
    run.latencies.note(nowMs - this.#sentMs);
    run.note({ requestCount: 1, recordCount, byteCount }, nowMs);
    this.#byteCount += byteCount;
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
