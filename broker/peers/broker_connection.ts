/**
 * One connection to one broker: requests go out as they come, answers are matched in order.
 *
 *     request() ──→ [out queue] ──→ socket ──→ broker
 *        ↑ promise                                │
 *        └── [waiting, by correlation id] ←── frames
 *
 * Invariants: the broker answers in order, so the head of `waiting` is the request that a frame answers;
 * whatever ends the connection rejects all that wait, with a NetworkError. Callers bound what is in flight.
 */

import { ApiKey, apiName } from "../../protocol/api_keys.ts";
import { Reader, WireError, Writer } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { FrameSplitter } from "../../protocol/frame.ts";
import { decodeResponseHeader, encodeRequestHeader } from "../../protocol/headers.ts";
import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";
import { apiVersionsRequest, apiVersionsResponse } from "../../protocol/schemas/api_versions.ts";
import type { Clock, Timer } from "../../storage/platform.ts";
import { type AnswerLoan, FrameMemory } from "../frame_memory.ts";
import {
  type Connection,
  type ConnectionHandlers,
  type Endpoint,
  type Network,
  NetworkError,
} from "../network.ts";
import { type Call, call } from "./call.ts";
import { connectWithin, notAccepted } from "./connecting.ts";

/** No answer that the client asks for is larger. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;
const SOFTWARE_NAME = "weir";
/** How long a host may take to accept, and then to say which versions it serves, when nobody says. */
const OPEN_TIMEOUT_MS = 10_000;
/** Asked first of every broker. One that does not know the version answers at version 0. */
export const apiVersionsCall = call(ApiKey.ApiVersions, apiVersionsRequest, apiVersionsResponse, {
  highest: 3,
});

interface Waiting {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly answered: (reader: Reader) => void;
  readonly loan: AnswerLoan | undefined;
  readonly failed: (error: Error) => void;
  readonly timer: Timer;
}

/** What a connection needs. */
export interface BrokerConnectionOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly endpoint: Endpoint;
  readonly clientId: string;
  /** How long a request may take; the connection is given up after it. */
  readonly requestTimeoutMs: number;
  readonly softwareVersion: string;
  /** How long it may take to open; 10 s when left out. */
  readonly openTimeoutMs?: number;
  /** Aborted: the opening is given up. */
  readonly signal?: AbortSignal;
}

/** How one request is made. */
export interface RequestOptions {
  /** The connection is given up after it; the connection's own when left out. */
  readonly timeoutMs?: number | undefined;
  /** Told where the answer lies, for a caller that says when it is done with it. */
  readonly loan?: AnswerLoan | undefined;
}

interface SentRequest extends RequestOptions {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly timeoutMs: number;
}

/** A connection whose broker has said which versions it serves. */
export class BrokerConnection {
  readonly endpoint: Endpoint;
  readonly #options: BrokerConnectionOptions;
  readonly #splitter = new FrameSplitter({ maxFrameBytes: MAX_ANSWER_BYTES });
  readonly #waiting: Waiting[] = [];
  readonly #versions = new Map<number, { readonly lowest: number; readonly highest: number }>();
  #connection: Connection | null = null;
  #outgoing: Uint8Array[] = [];
  #nextCorrelationId = 0;
  #failure: NetworkError | null = null;

  private constructor(options: BrokerConnectionOptions) {
    this.#options = options;
    this.endpoint = options.endpoint;
  }

  /** Connects and asks for the versions. Errors: rejects with NetworkError. */
  static async open(options: BrokerConnectionOptions): Promise<BrokerConnection> {
    const self = new BrokerConnection(options);
    const stopped = new AbortController();
    const giveUp = () => {
      stopped.abort();
      self.close();
    };
    options.signal?.addEventListener("abort", giveUp);
    if (options.signal?.aborted === true) giveUp();
    try {
      self.#connection = await self.#connect(stopped);
      await self.#negotiate();
      return self;
    } finally {
      options.signal?.removeEventListener("abort", giveUp);
    }
  }

  async #connect(stopped: AbortController): Promise<Connection> {
    this.#refuseWhenClosed();
    const timeoutMs = this.#openTimeoutMs;
    const where = { ...this.#options, timeoutMs };
    const connection = await connectWithin(where, () => this.#handlers(), stopped);
    if (connection !== null && this.#failure === null) return connection;
    connection?.close();
    this.#refuseWhenClosed();
    throw notAccepted(this.endpoint, timeoutMs);
  }

  get #openTimeoutMs(): number {
    return this.#options.openTimeoutMs ?? OPEN_TIMEOUT_MS;
  }

  /** False once the connection has ended; requests are refused from then on. */
  get isOpen(): boolean {
    return this.#failure === null;
  }

  /** Bytes of requests that the operating system has not taken yet. */
  get unsentBytes(): number {
    return this.#outgoing.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  /**
   * The version at which a call is made here: the highest that both sides know.
   * Errors: NetworkError when there is none.
   */
  version(call: Call<Message, Message>): number {
    const served = this.#versions.get(call.key);
    const highest = Math.min(call.highest, served?.highest ?? -1);
    if (served === undefined || highest < Math.max(call.lowest, served.lowest)) {
      throw new NetworkError(
        `Cannot call ${apiName(call.key)} of ${this.#name}: it serves ` +
          `${
            served === undefined ? "no version" : `versions ${served.lowest} to ${served.highest}`
          }, ` +
          `this client knows ${call.lowest} to ${call.highest}`,
        "UNSUPPORTED_VERSION",
      );
    }
    return highest;
  }

  /** True when the broker serves the call at a version that this client knows. */
  serves(call: Call<Message, Message>): boolean {
    const served = this.#versions.get(call.key);
    return served !== undefined && served.lowest <= call.highest && served.highest >= call.lowest;
  }

  /** Every API key with the versions that the broker serves. */
  get servedVersions(): ReadonlyMap<number, { readonly lowest: number; readonly highest: number }> {
    return this.#versions;
  }

  /** Sends a request. Resolves with its answer. Errors: rejects with NetworkError or WireError. */
  request<Q extends Message, A extends Message>(
    call: Call<Q, A>,
    body: Encodable<Q>,
    { timeoutMs = this.#options.requestTimeoutMs, loan }: RequestOptions = {},
  ): Promise<Decoded<A>> {
    const version = this.version(call);
    const decode = (reader: Reader) => codec(call.response, version).decode(reader);
    const what = { apiKey: call.key, apiVersion: version, timeoutMs, loan };
    return this.#send(what, call.request, body, decode);
  }

  /** Sends a request that the broker does not answer (Produce with acks=0). Errors: NetworkError. */
  requestWithoutAnswer<Q extends Message>(call: Call<Q, Message>, body: Encodable<Q>): void {
    this.#refuseWhenClosed();
    this.#write(this.#encode(call.key, this.version(call), call.request, body));
    this.#nextCorrelationId++;
  }

  /** Ends the connection; what waits is rejected. */
  close(): void {
    this.#fail(new NetworkError(`Connection to ${this.#name} was closed`, ""));
  }

  get #name(): string {
    return `${this.endpoint.host}:${this.endpoint.port}`;
  }

  #refuseWhenClosed(): void {
    if (this.#failure !== null) {
      throw new NetworkError(this.#failure.message, this.#failure.code, { cause: this.#failure });
    }
  }

  #send<Q extends Message, T>(
    { apiKey, apiVersion, timeoutMs, loan }: SentRequest,
    request: Q,
    body: Encodable<Q>,
    decode: (reader: Reader) => T,
  ): Promise<T> {
    this.#refuseWhenClosed();
    const chunks = this.#encode(apiKey, apiVersion, request, body);
    const correlationId = this.#nextCorrelationId++;
    return new Promise<T>((resolve, reject) => {
      const timer = this.#options.clock.timer(timeoutMs, () => {
        this.#fail(
          new NetworkError(
            `No answer from ${this.#name} to ${apiName(apiKey)} within ${timeoutMs} ms`,
            "ETIMEDOUT",
          ),
        );
      });
      this.#waiting.push({
        apiKey,
        apiVersion,
        correlationId,
        answered: (reader) => resolve(decode(reader)),
        loan,
        failed: reject,
        timer,
      });
      this.#write(chunks);
    });
  }

  #encode<Q extends Message>(
    apiKey: number,
    apiVersion: number,
    request: Q,
    body: Encodable<Q>,
  ): Uint8Array[] {
    const writer = new Writer();
    writer.beginSized();
    encodeRequestHeader(writer, {
      apiKey,
      apiVersion,
      correlationId: this.#nextCorrelationId,
      clientId: this.#options.clientId,
    });
    codec(request, apiVersion).encode(writer, body);
    writer.endSized();
    return writer.chunks();
  }

  #write(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) this.#outgoing.push(chunk);
    this.#flush();
  }

  #flush(): void {
    const connection = this.#connection;
    if (connection === null) return;
    while (this.#outgoing.length > 0) {
      const chunk = this.#outgoing[0]!;
      const taken = connection.write(chunk);
      if (taken < chunk.length) {
        this.#outgoing[0] = chunk.subarray(taken);
        return;
      }
      this.#outgoing.shift();
    }
  }

  #handlers(): ConnectionHandlers {
    return {
      onData: (bytes) => this.#receive(bytes),
      onDrain: () => this.#flush(),
      onClose: (reason) => {
        this.#connection = null;
        const why = reason ?? "the other side closed it";
        this.#fail(new NetworkError(`Connection to ${this.#name} was lost: ${why}`, "ECONNRESET"));
      },
    };
  }

  #receive(bytes: Uint8Array): void {
    // What an answer lies in is its caller's; pieces of one that spans chunks have been put together elsewhere.
    const chunk = FrameMemory.of(bytes);
    chunk?.hold();
    try {
      for (const frame of this.#splitter.push(bytes)) {
        this.#answer(frame, frame.buffer === bytes.buffer ? chunk : FrameMemory.ofFrame(frame));
      }
      chunk?.letGo();
    } catch (cause) {
      if (!(cause instanceof WireError)) throw cause;
      const text = `Connection to ${this.#name} was given up: ${cause.message}`;
      this.#fail(new NetworkError(text, "EPROTO", { cause }));
    }
  }

  /** `memory`: in which the frame lies. */
  #answer(frame: Uint8Array, memory: FrameMemory | null): void {
    const reader = new Reader(frame);
    const waiting = this.#waiting.shift();
    if (waiting === undefined) throw new WireError("Cannot take answer: no request waits for one");
    waiting.timer.cancel();
    if (waiting.loan === undefined) memory?.keep();
    else waiting.loan.lend(memory);
    try {
      decodeResponseHeader(reader, waiting);
      waiting.answered(reader);
    } catch (error) {
      waiting.failed(error as Error);
      throw error;
    }
  }

  #fail(error: NetworkError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#outgoing = [];
    const connection = this.#connection;
    this.#connection = null;
    for (const waiting of this.#waiting.splice(0)) {
      waiting.timer.cancel();
      waiting.failed(error);
    }
    connection?.close();
  }

  /** An ApiVersions that the broker does not know is answered at version 0 with those that it knows. */
  async #negotiate(): Promise<void> {
    const { request, highest } = apiVersionsCall;
    const body = {
      clientSoftwareName: SOFTWARE_NAME,
      clientSoftwareVersion: this.#options.softwareVersion,
    };
    const decode = (reader: Reader) => {
      const start = reader.position;
      const unsupported = reader.int16() === ErrorCode.UNSUPPORTED_VERSION;
      reader.position = start;
      return codec(apiVersionsResponse, unsupported ? 0 : highest).decode(reader);
    };
    const answer = await this
      .#send(
        { apiKey: ApiKey.ApiVersions, apiVersion: highest, timeoutMs: this.#openTimeoutMs },
        request,
        body,
        decode,
      )
      .catch((cause: Error) => {
        this.close();
        if (cause instanceof NetworkError && cause.code !== "EPROTO") throw cause;
        throw new NetworkError(`${this.#name} does not speak the Kafka protocol`, "EPROTO", {
          cause,
        });
      });
    for (const { apiKey, minVersion, maxVersion } of answer.apiKeys) {
      this.#versions.set(apiKey, { lowest: minVersion, highest: maxVersion });
    }
  }
}
