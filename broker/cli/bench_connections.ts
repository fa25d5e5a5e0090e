/**
 * The load of `weir bench connections`: so many connections that each ask one question, stay open, and ask again.
 *
 * A few are opened at a time. What is timed is how long one takes from the first packet to its first answer, and then how
 * long the answers take when all ask at once.
 */

import { FrameSplitter } from "../../protocol/frame.ts";
import type { Clock } from "../../storage/platform.ts";
import { Calls } from "../client/calls.ts";
import type { KafkaClient } from "../client/kafka_client.ts";
import { ClientError } from "../client/client_error.ts";
import type { Endpoint } from "../network.ts";
import { encodeRequest } from "./bench_frames.ts";
import { Latencies, type LatencyFigures, rounded } from "./bench_latencies.ts";
import { FrameLink, type LinkHandlers, MAX_ANSWER_BYTES } from "./bench_link.ts";
import type { CliIo } from "./io.ts";

const ANSWER_TIMEOUT_MS = 30_000;

/** What is opened. */
export interface ConnectionsLoad {
  readonly connectionCount: number;
  /** So many are opened side by side. */
  readonly atOnce: number;
  /** How long they stay open with nothing to do. */
  readonly seconds: number;
}

/** What came of it. */
export interface ConnectionFigures extends LatencyFigures {
  /** Opened and answered; fewer than were asked for where the user stopped it. */
  readonly connectionCount: number;
  readonly seconds: number;
  readonly connectionsPerSecond: number;
  /** Until the last of them was answered, when all asked at once; null where that did not happen. */
  readonly allAnsweredMs: number | null;
}

/** Opens connections to any broker. Errors: NetworkError, ClientError. */
export async function connectionsLoad(
  io: CliIo,
  client: KafkaClient,
  { connectionCount, atOnce, seconds }: ConnectionsLoad,
): Promise<ConnectionFigures> {
  const { clock, interrupted } = io;
  const { endpoint } = await client.any();
  const frame = encodeRequest(Calls.apiVersions, 0, {});
  const open: Asker[] = [];
  const latencies = new Latencies();
  const stopped = new Promise<void>((resolve) => {
    interrupted.addEventListener("abort", () => resolve(), { once: true });
  });
  const startedMs = clock.monotonicMs();
  let begunCount = 0;
  let isOver = interrupted.aborted;
  const opener = async () => {
    while (begunCount < connectionCount && !isOver) {
      const number = ++begunCount;
      const beganMs = clock.monotonicMs();
      const asker = await Asker.open(io, { endpoint, frame, number });
      if (isOver) return asker.close();
      open.push(asker);
      await asker.ask(clock);
      latencies.note(clock.monotonicMs() - beganMs);
    }
  };
  try {
    await Promise.race([Promise.all(Array.from({ length: atOnce }, opener)), stopped]);
    const openedMs = clock.monotonicMs() - startedMs;
    await clock.sleep(seconds * 1000, interrupted);
    const againMs = clock.monotonicMs();
    const isWhole = latencies.count === connectionCount && !interrupted.aborted;
    if (isWhole) await Promise.race([Promise.all(open.map((one) => one.ask(clock))), stopped]);
    return {
      connectionCount: latencies.count,
      seconds: rounded(openedMs / 1000),
      connectionsPerSecond: openedMs > 0 ? rounded(latencies.count * 1000 / openedMs) : 0,
      ...latencies.figures(),
      allAnsweredMs: isWhole && !interrupted.aborted
        ? rounded(clock.monotonicMs() - againMs)
        : null,
    };
  } finally {
    isOver = true;
    for (const asker of open) asker.close();
  }
}

/** A connection that asks which versions there are. */
class Asker implements LinkHandlers<Uint8Array> {
  readonly splitter = new FrameSplitter({ maxFrameBytes: MAX_ANSWER_BYTES });
  readonly #number: number;
  #link: FrameLink<Uint8Array> | null = null;
  #answer: PromiseWithResolvers<void> | null = null;
  #failure: Error | null = null;

  private constructor(number: number) {
    this.#number = number;
  }

  static async open(
    io: CliIo,
    { endpoint, frame, number }: {
      readonly endpoint: Endpoint;
      readonly frame: Uint8Array;
      readonly number: number;
    },
  ): Promise<Asker> {
    const asker = new Asker(number);
    try {
      asker.#link = await FrameLink.open({ ...io, endpoint }, asker);
    } catch (error) {
      throw asker.#refused(error as Error);
    }
    asker.#link.use(frame, 1);
    return asker;
  }

  /** Resolves with the answer. Errors: rejects with ClientError when the connection ends, or none comes in time. */
  async ask(clock: Clock): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    const answer = this.#answer = Promise.withResolvers<void>();
    const timer = clock.timer(ANSWER_TIMEOUT_MS, () => {
      answer.reject(this.#refused(new Error(`no answer for ${ANSWER_TIMEOUT_MS / 1000} s`)));
    });
    this.#link!.send(1);
    try {
      await answer.promise;
    } finally {
      timer.cancel();
    }
  }

  onAnswer(): void {
    this.#answer?.resolve();
  }

  onReady(): void {}

  onLost(error: Error): void {
    this.#failure = this.#refused(error);
    this.#answer?.reject(this.#failure);
  }

  /** Ends the connection; whoever waits for an answer is told. */
  close(): void {
    this.#link?.close();
    this.#answer?.reject(this.#refused(new Error("it was closed")));
  }

  #refused({ message }: Error): ClientError {
    return new ClientError(
      `connection ${this.#number}: ${message}; both sides need a file descriptor for each ("ulimit -n")`,
    );
  }
}
