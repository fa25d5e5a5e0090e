/**
 * One connection of a load: one frame sent again and again, and the answers as they come.
 *
 *     send(3) ─→ owed bytes ─→ socket.write(as much of the repeated frame as it takes) … onDrain ─→ the rest
 *
 * The frame lies in memory as often as the operating system may take it at once, so that many small requests are one
 * write. Nothing is queued: what is still to be sent is a count of bytes.
 */

import { WireError } from "../../protocol/bytes.ts";
import type { Clock } from "../../storage/platform.ts";
import { FrameMemory } from "../frame_memory.ts";
import { type Connection, type Endpoint, type Network, NetworkError } from "../network.ts";
import { connectWithin, notAccepted } from "../peers/connecting.ts";

const OPEN_TIMEOUT_MS = 10_000;
/** For a `FrameSplitter`: no answer that is put together is larger. */
export const MAX_ANSWER_BYTES = 1024 * 1024;
/** So much of a small frame's repetition is written at once. */
const BLOCK_BYTES = 64 * 1024;
const NOTHING = new Uint8Array(0);

/** Makes answers of what comes: `FrameSplitter`, or one that keeps less. What is not in an answer is copied. */
export interface Splitter<T> {
  /** Returns: what the chunk completes, in order. Errors: WireError. */
  push(chunk: Uint8Array): Iterable<T>;
}

/** Who is told what happens on a link. */
export interface LinkHandlers<T> {
  readonly splitter: Splitter<T>;
  /** A whole answer, which is gone after the call. */
  onAnswer(answer: T): void;
  /** The answers of one piece are over, or all has been sent: there may be room for more. */
  onReady(): void;
  /** It has ended, and not by `close`. Comes once, last. */
  onLost(error: NetworkError): void;
}

/** What a link is opened with. */
export interface LinkOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly endpoint: Endpoint;
}

/** A connection that sends one frame at a time, as often as it is told. */
export class FrameLink<T> {
  readonly #endpoint: Endpoint;
  readonly #handlers: LinkHandlers<T>;
  #connection: Connection | null = null;
  #isClosed = false;
  #frameBytes = 0;
  #block: Uint8Array = NOTHING;
  #owedBytes = 0;

  private constructor(endpoint: Endpoint, handlers: LinkHandlers<T>) {
    this.#endpoint = endpoint;
    this.#handlers = handlers;
  }

  /** Connects. Errors: rejects with NetworkError. */
  static async open<T>(
    { network, clock, endpoint }: LinkOptions,
    handlers: LinkHandlers<T>,
  ): Promise<FrameLink<T>> {
    const link = new FrameLink(endpoint, handlers);
    const where = { network, clock, endpoint, timeoutMs: OPEN_TIMEOUT_MS };
    const connection = await connectWithin(where, () => ({
      onData: (bytes) => link.#receive(bytes),
      onDrain: () => link.#drain(),
      onClose: (reason) => link.#lose(`it was lost: ${reason ?? "the other side closed it"}`),
    }));
    if (connection === null) throw notAccepted(endpoint, OPEN_TIMEOUT_MS);
    link.#connection = connection;
    return link;
  }

  /**
   * What is sent from now on; `atOnce` of them may be sent together. A frame that is sent one by one is not copied: its
   * owner may change it once it is sent. No call while a part of another one is still to be sent.
   */
  use(frame: Uint8Array, atOnce: number): void {
    const count = Math.max(1, Math.min(atOnce, Math.floor(BLOCK_BYTES / frame.length)));
    this.#frameBytes = frame.length;
    this.#block = count === 1 ? frame : repeated(frame, count);
  }

  /** Sends the frame `count` times. */
  send(count: number): void {
    this.#owedBytes += count * this.#frameBytes;
    this.#flush();
  }

  /** True when the operating system has taken everything. */
  get isSent(): boolean {
    return this.#owedBytes === 0;
  }

  /** Ends the connection; nobody is told anything any more. */
  close(): void {
    this.#isClosed = true;
    this.#owedBytes = 0;
    this.#connection?.close();
    this.#connection = null;
  }

  #flush(): void {
    const connection = this.#connection;
    if (connection === null) return;
    while (this.#owedBytes > 0) {
      // Whole frames are owed but for the first, of which a part may have gone.
      const rest = this.#owedBytes % this.#frameBytes;
      const from = rest === 0 ? 0 : this.#frameBytes - rest;
      const end = Math.min(this.#block.length, from + this.#owedBytes);
      const taken = connection.write(this.#block.subarray(from, end));
      this.#owedBytes -= taken;
      if (taken < end - from) return;
    }
  }

  #drain(): void {
    if (this.#isClosed) return;
    this.#flush();
    if (this.isSent) this.#handlers.onReady();
  }

  #receive(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    const memory = FrameMemory.of(bytes);
    memory?.hold();
    try {
      for (const answer of this.#handlers.splitter.push(bytes)) {
        this.#handlers.onAnswer(answer);
        if (this.#isClosed) return;
      }
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return this.#lose(`what came cannot be read: ${error.message}`);
    }
    memory?.letGo();
    this.#handlers.onReady();
  }

  #lose(why: string): void {
    if (this.#isClosed) return;
    this.close();
    const { host, port } = this.#endpoint;
    this.#handlers.onLost(
      new NetworkError(`Connection to ${host}:${port} was given up: ${why}`, "ECONNRESET"),
    );
  }
}

/** All that were opened. Errors: throws the first error, and closes them, where one was not. */
export function opened<T extends { close(): void }>(
  results: readonly PromiseSettledResult<T>[],
): T[] {
  const workers = results.flatMap((one) => one.status === "fulfilled" ? [one.value] : []);
  const failed = results.find((one) => one.status === "rejected");
  if (failed === undefined) return workers;
  for (const worker of workers) worker.close();
  throw failed.reason;
}

function repeated(frame: Uint8Array, count: number): Uint8Array {
  const block = new Uint8Array(count * frame.length);
  for (let at = 0; at < block.length; at += frame.length) block.set(frame, at);
  return block;
}
