/**
 * A real `Server` on the simulated network and virtual time, with one API whose requests say what is to
 * happen to them, and a client that keeps what it is answered.
 *
 * Bodies: `now:TEXT` is answered at once, `later:NAME` when the test settles NAME, `fail:NAME` likewise
 * with an error, `big:N` with N bytes by reference, `none` not at all, `throw` throws, `malformed` throws a
 * WireError, `room:N` with N bytes or as many as there is room for, `close:TEXT` is answered and closes, `sent:NAME` counts `onSent` under NAME.
 */

import { ApiKey } from "../../../protocol/api_keys.ts";
import { WireError, Writer } from "../../../protocol/bytes.ts";
import { FrameSplitter } from "../../../protocol/frame.ts";
import { encodeRequestHeader } from "../../../protocol/headers.ts";
import type { Answer, Api, RequestContext } from "../../../broker/apis/api.ts";
import type { Connection, ConnectionHandlers } from "../../../broker/network.ts";
import type { ServerLimits } from "../../../broker/server/limits.ts";
import type { CloseKind, ServerMetrics } from "../../../broker/server/metrics.ts";
import { type ListenerOptions, Server } from "../../../broker/server/server.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimLogger } from "../../sim/sim_logger.ts";
import { SimNetwork, type SimNetworkOptions } from "../../sim/sim_network.ts";
import { SimRandom } from "../../sim/sim_random.ts";

export const PORT = 9092;
/** A key and version with the plain header and, for the scripted API, a body that is text. */
const KEY = ApiKey.InitProducerId;

const text = new TextDecoder();
const bytesOf = (value: string) => new TextEncoder().encode(value);

/** Encodes one scripted request, with its length. */
export function requestFrame(correlationId: number, body: string | Uint8Array): Uint8Array {
  const writer = new Writer();
  writer.beginSized();
  encodeRequestHeader(writer, { apiKey: KEY, apiVersion: 0, correlationId, clientId: "test" });
  writer.raw(typeof body === "string" ? bytesOf(body) : body);
  writer.endSized();
  return writer.finish();
}

/** Bytes that tell where they are from, for answers that are compared. */
export function pattern(byteCount: number): Uint8Array {
  const bytes = new Uint8Array(byteCount);
  for (let i = 0; i < byteCount; i++) bytes[i] = (i * 31 + byteCount) & 0xff;
  return bytes;
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Counts what the server reports. */
export class CountingMetrics implements ServerMetrics {
  opened = 0;
  closed = 0;
  answered = 0;
  inBytes = 0;
  outBytes = 0;
  readonly refused: CloseKind[] = [];
  connectionOpened(): void {
    this.opened++;
  }
  connectionClosed(): void {
    this.closed++;
  }
  connectionRefused(kind: CloseKind): void {
    this.refused.push(kind);
  }
  bytesIn(bytes: number): void {
    this.inBytes += bytes;
  }
  bytesOut(bytes: number): void {
    this.outBytes += bytes;
  }
  requestAnswered(): void {
    this.answered++;
  }
}

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** The scripted API. */
export class Script {
  /** Bodies in the order in which they were handed over. */
  readonly handled: string[] = [];
  readonly contexts: RequestContext[] = [];
  /** The bodies as they lie in what was received. */
  readonly views: Uint8Array[] = [];
  isFrameFreed = false;
  /** Called for each answer that is encoded. */
  onEncode: () => void = () => {};
  /** How often `onSent` called back, by name. */
  readonly sent = new Map<string, number>();
  readonly #waiting = new Map<string, Waiting>();
  costPerByte = 1;
  /** Called with how long a handler works. */
  onWork: (ms: number) => void = () => {};

  get waiting(): string[] {
    return [...this.#waiting.keys()];
  }

  settle(name: string, answer = name): void {
    const waiting = this.#waiting.get(name)!;
    this.#waiting.delete(name);
    waiting.resolve({ bytes: bytesOf(answer) });
  }

  fail(name: string, error: Error): void {
    const waiting = this.#waiting.get(name)!;
    this.#waiting.delete(name);
    waiting.reject(error);
  }

  #onSent(context: RequestContext, name: string): void {
    context.onSent(() => this.sent.set(name, (this.sent.get(name) ?? 0) + 1));
  }

  #handle(body: Uint8Array, context: RequestContext): Answer | Promise<Answer> {
    const line = text.decode(body.subarray(0, 100));
    const [verb, rest = ""] = line.split(":", 2) as [string, string?];
    this.handled.push(line);
    this.contexts.push(context);
    this.views.push(body);
    switch (verb) {
      case "work":
        this.onWork(Number(rest));
        return null;
      case "none":
        this.#onSent(context, "none");
        return null;
      case "throw":
        throw new Error("planted");
      case "malformed":
        throw new WireError("Cannot read: planted");
      case "close":
        context.closeConnection(`asked: ${rest}`);
        return { bytes: bytesOf(rest) };
      case "big":
        this.#onSent(context, line);
        return { bytes: pattern(Number(rest)) };
      case "room":
        return { bytes: pattern(Math.min(Number(rest), context.answerRoomBytes)) };
      case "sent":
        this.#onSent(context, rest);
        return { bytes: bytesOf(rest) };
      case "later": {
        this.#onSent(context, rest);
        const { promise, resolve, reject } = Promise.withResolvers<Answer>();
        this.#waiting.set(rest, { resolve, reject });
        return promise;
      }
      default:
        return { bytes: bytesOf(rest) };
    }
  }

  api(): Api {
    return {
      key: KEY,
      versions: { lowest: 0, highest: 1 },
      advertised: { lowest: 0, highest: 1 },
      isForwarded: false,
      isFrameFreed: this.isFrameFreed,
      cost: (frameBytes) => this.costPerByte * frameBytes,
      handle: (reader, context) => this.#handle(reader.view(reader.remaining), context),
      encode: (writer, _version, answer) => {
        this.onEncode();
        writer.raw((answer as { bytes: Uint8Array }).bytes);
      },
    };
  }
}

/** One answer. */
export interface ClientAnswer {
  readonly correlationId: number;
  readonly body: Uint8Array;
}

/** A client that keeps what it is answered. */
export class TestClient implements ConnectionHandlers {
  readonly answers: ClientAnswer[] = [];
  /** How many times bytes came. */
  arrivals = 0;
  /** Stops reading after each arrival. */
  isSlow = false;
  isClosed = false;
  link!: Connection;
  readonly #splitter = new FrameSplitter({ maxFrameBytes: 1 << 30 });
  #queue: Uint8Array[] = [];
  #lastId = 0;

  get bodies(): string[] {
    return this.answers.map(({ body }) => text.decode(body));
  }

  /** Sends scripted requests in one write, with ids that count up. */
  send(...bodies: (string | Uint8Array)[]): void {
    this.sendBytes(concat(bodies.map((body) => requestFrame(++this.#lastId, body))));
  }

  sendBytes(bytes: Uint8Array): void {
    this.#queue.push(bytes);
    this.onDrain();
  }

  onData(bytes: Uint8Array): void {
    this.arrivals++;
    if (this.isSlow) this.link.pause();
    for (const frame of this.#splitter.push(bytes)) {
      const correlationId = new DataView(frame.buffer, frame.byteOffset).getInt32(0);
      this.answers.push({ correlationId, body: frame.subarray(4) });
    }
  }

  onDrain(): void {
    while (this.#queue.length > 0) {
      const head = this.#queue[0]!;
      const accepted = this.link.write(head);
      if (accepted < head.length) {
        this.#queue[0] = head.subarray(accepted);
        if (accepted === 0) return;
      } else this.#queue.shift();
    }
  }

  onClose(): void {
    this.isClosed = true;
  }
}

/** What a world is made with. */
export interface WorldOptions {
  readonly seed?: number;
  readonly limits?: Partial<ServerLimits>;
  readonly network?: Partial<SimNetworkOptions>;
  readonly apis?: readonly Api[];
  readonly listener?: Partial<ListenerOptions>;
}

/** Server, network, time. */
export class World {
  readonly clock = new SimClock();
  readonly logger = new SimLogger();
  readonly metrics = new CountingMetrics();
  readonly script = new Script();
  readonly random: SimRandom;
  readonly network: SimNetwork;
  readonly server: Server;

  constructor(options: WorldOptions = {}) {
    const { clock, logger, metrics, script } = this;
    script.onWork = (ms) => clock.work(ms);
    this.random = new SimRandom(options.seed ?? 1);
    this.network = new SimNetwork({
      clock,
      random: this.random.fork("network"),
      ...options.network,
    });
    this.server = new Server({
      network: this.network,
      clock,
      logger,
      metrics,
      apis: options.apis ?? [script.api()],
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    });
    this.server.listen({ name: "PLAINTEXT", host: "127.0.0.1", port: PORT, ...options.listener });
  }

  async connect(from?: string, to = "127.0.0.1"): Promise<TestClient> {
    const client = new TestClient();
    const network = from === undefined ? this.network : this.network.host(from);
    const opening = network.connect({ host: to, port: PORT }, (link) => {
      client.link = link;
      return client;
    });
    await this.clock.run(opening);
    return client;
  }

  /** Lets `ms` of virtual time pass: enough for what is under way to arrive. */
  async pass(ms = 1): Promise<void> {
    await this.clock.advance(ms);
  }

  warnings(): string[] {
    return this.logger.lines
      .filter(({ level }) => level === "warn" || level === "error")
      .map(({ message, fields }) => `${message}: ${fields["error"]}`);
  }
}
