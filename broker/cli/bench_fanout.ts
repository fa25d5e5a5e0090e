/**
 * The load of `weir bench fanout`: one producer, many WebSockets that each get every record.
 *
 * Records are due at fixed times. A delivery is timed from when its record was due to when its frame came: of each frame
 * the last record is timed, and all are counted. Who else writes to the topic makes the figures wrong.
 */

import type { Clock } from "../../storage/platform.ts";
import { Calls } from "../client/calls.ts";
import { ClientError } from "../client/client_error.ts";
import type { KafkaClient } from "../client/kafka_client.ts";
import { listOffsets, SpecialTimestamp } from "../client/offsets.ts";
import type { Endpoint } from "../network.ts";
import { Latencies, type LatencyFigures, rounded } from "./bench_latencies.ts";
import { FrameLink, type LinkHandlers, opened } from "./bench_link.ts";
import { ProduceWorker, Schedule } from "./bench_produce.ts";
import { LoadRun } from "./bench_run.ts";
import { findOrMakePartitions } from "./bench_target.ts";
import {
  clientFrame,
  Opcode,
  upgradeRequest,
  type WebSocketMessage,
  WebSocketMessages,
} from "./bench_web_socket.ts";
import type { CliIo } from "./io.ts";

/** So many subscribers are opened side by side. */
const OPENED_AT_ONCE = 100;
const SUBSCRIBE_TIMEOUT_MS = 30_000;
/** After the last record was taken, so long is waited for deliveries that are still to come. */
const DRAIN_MS = 5_000;
const LOOK_MS = 20;
const IN_FLIGHT = 10_000;
const PATH = "/ws";

/** What is sent, and to how many. */
export interface FanoutLoad {
  readonly topic: string;
  readonly http: Endpoint;
  readonly subscriberCount: number;
  /** Records a second. */
  readonly rate: number;
  readonly recordBytes: number;
  readonly acks: -1 | 1;
  readonly seconds: number;
}

/** What came of it. */
export interface FanoutFigures extends LatencyFigures {
  readonly seconds: number;
  readonly sentCount: number;
  readonly deliveredCount: number;
  /** Of the subscriber that got least, and of the one that got most. */
  readonly leastCount: number;
  readonly mostCount: number;
  readonly deliveriesPerSecond: number;
}

/** Sends records to subscribers. Errors: KafkaError, NetworkError, ClientError. */
export async function fanoutLoad(
  io: CliIo,
  client: KafkaClient,
  load: FanoutLoad,
): Promise<FanoutFigures> {
  const { clock, interrupted } = io;
  const { topic, rate, seconds } = load;
  const [partition] = await findOrMakePartitions(io, client, {
    topic,
    partitions: 1,
    call: Calls.produce,
  });
  const offsets = await listOffsets(client, topic, [0], SpecialTimestamp.latest);
  const run = new LoadRun(clock, { seconds, tickMs: 1, waitsForRecords: false, interrupted });
  const schedule = new Schedule({ rate, index: 0, count: 1 });
  const startOffset = offsets.get(0)!.offset;
  const latencies = new Latencies();
  const note = (offset: number) => {
    const dueMs = run.startedMs + schedule.dueMs(offset - startOffset);
    latencies.note(clock.monotonicMs() - dueMs);
  };
  const subscribers: Subscriber[] = [];
  try {
    while (subscribers.length < load.subscriberCount && !interrupted.aborted) {
      const count = Math.min(OPENED_AT_ONCE, load.subscriberCount - subscribers.length);
      const openings = Array.from({ length: count }, () => {
        return Subscriber.open(io, load, { note, fail: (error) => run.fail(error) });
      });
      subscribers.push(...opened(await Promise.allSettled(openings)));
    }
    const producing = {
      ...load,
      recordCount: 1,
      inFlight: IN_FLIGHT,
      byteCount: null,
    };
    const share = { run, load: producing, partition: partition!, requestCount: Infinity, schedule };
    await run.run([await ProduceWorker.open(io, share)]);
    const figures = run.figures();
    await allDelivered(clock, subscribers, figures.recordCount, interrupted);
    const counts = subscribers.map(({ deliveredCount }) => deliveredCount);
    const deliveredCount = counts.reduce((sum, count) => sum + count, 0);
    return {
      seconds: figures.seconds,
      sentCount: figures.recordCount,
      deliveredCount,
      leastCount: Math.min(...counts),
      mostCount: Math.max(...counts),
      deliveriesPerSecond: figures.seconds > 0 ? rounded(deliveredCount / figures.seconds) : 0,
      ...latencies.figures(),
    };
  } finally {
    for (const subscriber of subscribers) subscriber.close();
  }
}

async function allDelivered(
  clock: Clock,
  subscribers: readonly Subscriber[],
  count: number,
  interrupted: AbortSignal,
): Promise<void> {
  const deadlineMs = clock.monotonicMs() + DRAIN_MS;
  const isWaiting = () => subscribers.some(({ deliveredCount }) => deliveredCount < count);
  while (isWaiting() && clock.monotonicMs() < deadlineMs && !interrupted.aborted) {
    await clock.sleep(LOOK_MS, interrupted);
  }
}

/** Who is told what a subscriber gets. */
interface Listener {
  note(offset: number): void;
  fail(error: Error): void;
}

/** One WebSocket that reads the first partition of the topic from its end on. */
class Subscriber implements LinkHandlers<WebSocketMessage> {
  readonly splitter = new WebSocketMessages();
  readonly #listener: Listener;
  /** What stands before the next offset in each message with records. */
  readonly #prefix: Uint8Array;
  readonly #subscribed = Promise.withResolvers<void>();
  readonly #question: Uint8Array;
  #link: FrameLink<WebSocketMessage> | null = null;
  #firstOffset = 0;
  #nextOffset = 0;

  private constructor(topic: string, listener: Listener) {
    const name = JSON.stringify(topic);
    const prefix = `{"type":"records","id":1,"topic":${name},"partition":0,"next":`;
    this.#listener = listener;
    // It may be lost before anybody waits for it.
    this.#subscribed.promise.catch(() => undefined);
    this.#prefix = new TextEncoder().encode(prefix);
    const topics = [{ topic, partitions: [0] }];
    const question = { type: "subscribe", id: 1, topics, from: "latest" };
    this.#question = clientFrame(Opcode.text, JSON.stringify(question));
  }

  /** Resolves once it is subscribed. Errors: rejects with NetworkError or ClientError. */
  static async open(
    io: CliIo,
    { topic, http }: FanoutLoad,
    listener: Listener,
  ): Promise<Subscriber> {
    const subscriber = new Subscriber(topic, listener);
    subscriber.#link = await FrameLink.open({ ...io, endpoint: http }, subscriber);
    const timer = io.clock.timer(SUBSCRIBE_TIMEOUT_MS, () => {
      const waited = `${SUBSCRIBE_TIMEOUT_MS / 1000} s`;
      subscriber.#fail(new ClientError(`a WebSocket was not subscribed within ${waited}`));
    });
    subscriber.#send(upgradeRequest(http, PATH));
    try {
      await subscriber.#subscribed.promise;
      return subscriber;
    } catch (error) {
      subscriber.close();
      throw error;
    } finally {
      timer.cancel();
    }
  }

  get deliveredCount(): number {
    return this.#nextOffset - this.#firstOffset;
  }

  onAnswer({ opcode, payload }: WebSocketMessage): void {
    if (opcode === null) return this.#send(this.#question);
    if (opcode === Opcode.ping) return this.#send(clientFrame(Opcode.pong, ""));
    if (opcode !== Opcode.text) return;
    if (this.#isRecords(payload)) {
      this.#nextOffset = numberAt(payload, this.#prefix.length);
      return this.#listener.note(this.#nextOffset - 1);
    }
    const message = JSON.parse(new TextDecoder().decode(payload)) as {
      readonly type: string;
      readonly detail?: string;
      readonly partitions?: readonly { readonly next: number }[];
    };
    if (message.type === "error" || message.type === "end") {
      const said = message.detail ?? message.type;
      return this.#fail(new ClientError(`a WebSocket was refused: ${said}`));
    }
    if (message.type !== "subscribed") return;
    this.#firstOffset = this.#nextOffset = message.partitions![0]!.next;
    this.#subscribed.resolve();
  }

  onReady(): void {}

  onLost(error: Error): void {
    this.#fail(error);
  }

  close(): void {
    this.#link?.close();
  }

  #fail(error: Error): void {
    this.#subscribed.reject(error);
    this.#listener.fail(error);
  }

  #send(frame: Uint8Array): void {
    const link = this.#link!;
    // A pong may be left out where the last one is not sent yet.
    if (!link.isSent) return;
    link.use(frame, 1);
    link.send(1);
  }

  #isRecords(payload: Uint8Array): boolean {
    return this.#prefix.every((byte, at) => payload[at] === byte);
  }
}

function numberAt(text: Uint8Array, start: number): number {
  let value = 0;
  for (let at = start; text[at]! >= 0x30 && text[at]! <= 0x39; at++) {
    value = value * 10 + text[at]! - 0x30;
  }
  return value;
}
