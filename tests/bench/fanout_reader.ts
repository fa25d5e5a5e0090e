/**
 * The subscribers of `fanout_bench.ts`, in a process of their own: so many WebSockets, read as cheaply as can be, so that
 * what is measured is the server.
 *
 *     bun tests/bench/fanout_reader.ts '{"kind":"weir","port":8080,"subscribers":1000}'
 *
 * It writes `ready` once all have subscribed, and a line of figures when its standard input ends. Every message carries the
 * time at which it was sent as its first bytes; one socket in `SAMPLE_EVERY` looks at all of its messages.
 */

import { randomBytes } from "node:crypto";
import process from "node:process";

const SAMPLE_EVERY = 25;
const TEXT = 1;
const BINARY = 2;
const PING = 9;
/** What is before the offset in each frame of records, without the topic. */
const RECORDS_PREFIX_BYTES = '{"type":"records","id":1,"topic":"","partition":0,"next":'.length;

/** What the reader is told. */
export interface ReaderOptions {
  readonly kind: "weir" | "nats";
  readonly port: number;
  readonly subscribers: number;
  readonly topic: string;
  /** Of each message. */
  readonly bytes: number;
}

/** What it found. Units: ms. */
export interface ReaderFigures {
  readonly delivered: number;
  /** What the sockets got, of those that got least and most. */
  readonly least: number;
  readonly most: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** Frames, each with one message or more. */
  readonly frames: number;
}

/** The time, comparable between processes of one machine. Units: ms. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Digits and point of a time at the begin of a message. */
export const TIME_DIGITS = 18;

const decoder = new TextDecoder();
const latencies: number[] = [];
let frameCount = 0;

/** One subscriber. */
class Reader {
  delivered = 0;
  readonly #isSampled: boolean;
  readonly #isReady: () => void;
  readonly #options: ReaderOptions;
  #rest: Uint8Array = new Uint8Array(0);
  #isUpgraded = false;
  #firstNext = -1;
  /** NATS: how much of the message under way has come. */
  #natsAt = 0;

  constructor(options: ReaderOptions, index: number, isReady: () => void) {
    this.#options = options;
    this.#isSampled = index % SAMPLE_EVERY === 0;
    this.#isReady = isReady;
  }

  data(socket: Bun.Socket<Reader>, chunk: Uint8Array): void {
    let bytes = chunk;
    if (this.#rest.length > 0) bytes = Buffer.concat([this.#rest, chunk]);
    let at = 0;
    if (!this.#isUpgraded) {
      const end = Buffer.from(bytes).indexOf("\r\n\r\n");
      if (end < 0) {
        this.#rest = bytes.slice();
        return;
      }
      at = end + 4;
      this.#isUpgraded = true;
      this.#subscribe(socket);
    }
    for (;;) {
      if (bytes.length - at < 2) break;
      let length = bytes[at + 1]! & 0x7f;
      let header = 2;
      if (length === 126) {
        header = 4;
        if (bytes.length - at < header) break;
        length = bytes[at + 2]! * 256 + bytes[at + 3]!;
      } else if (length === 127) {
        header = 10;
        if (bytes.length - at < header) break;
        length = Number(Buffer.from(bytes.buffer, bytes.byteOffset + at + 2, 8).readBigUInt64BE());
      }
      if (bytes.length - at < header + length) break;
      const opcode = bytes[at]! & 0x0f;
      if (opcode === TEXT || opcode === BINARY) {
        this.#frame(bytes.subarray(at + header, at + header + length));
      } else if (opcode === PING) socket.write(new Uint8Array([0x8a, 0x80, 0, 0, 0, 0]));
      at += header + length;
    }
    this.#rest = at === bytes.length ? new Uint8Array(0) : bytes.slice(at);
  }

  #subscribe(socket: Bun.Socket<Reader>): void {
    const { kind, topic } = this.#options;
    const text = kind === "weir"
      ? JSON.stringify({ type: "subscribe", id: 1, topics: [{ topic }], from: "latest" })
      : `CONNECT {"verbose":false,"pedantic":false,"protocol":1}\r\nSUB ${topic} 1\r\nPING\r\n`;
    socket.write(maskedFrame(kind === "weir" ? TEXT : BINARY, Buffer.from(text)));
  }

  #frame(payload: Uint8Array): void {
    frameCount++;
    if (this.#options.kind === "nats") return this.#natsFrame(payload);
    const nextAt = RECORDS_PREFIX_BYTES + this.#options.topic.length;
    if (payload[9] === 0x72 && payload[16] === 0x22) {
      let next = 0;
      for (let at = nextAt; payload[at] !== 0x2c; at++) next = next * 10 + payload[at]! - 48;
      if (this.#firstNext < 0) throw new Error("records came before subscribed");
      this.delivered += next - this.#firstNext;
      this.#firstNext = next;
      if (!this.#isSampled) return;
      const atMs = nowMs();
      for (const { value } of JSON.parse(decoder.decode(payload)).records) {
        latencies.push(atMs - Number(value.slice(0, TIME_DIGITS)));
      }
      return;
    }
    const message = JSON.parse(decoder.decode(payload));
    if (message.type === "error") throw new Error(message.detail);
    if (message.type !== "subscribed") return;
    this.#firstNext = message.partitions[0].next;
    this.#isReady();
  }

  /** A frame is a piece of the stream of NATS' text protocol: messages of one size, whole or not. */
  #natsFrame(payload: Uint8Array): void {
    const { topic, bytes } = this.#options;
    const headerBytes = `MSG ${topic} 1 ${bytes}\r\n`.length;
    let at = 0;
    while (at < payload.length) {
      if (this.#natsAt === 0 && payload[at] !== 0x4d) {
        const end = payload.indexOf(0x0a, at);
        if (payload[at] === 0x50 && payload[at + 1] === 0x4f) this.#isReady();
        at = end + 1;
        continue;
      }
      const start = this.#natsAt;
      const step = Math.min(headerBytes + bytes + 2 - start, payload.length - at);
      // The time lies where a message begins; one that is cut there is counted and not timed.
      if (start === 0 && this.#isSampled && step > headerBytes + TIME_DIGITS) {
        const time = payload.subarray(at + headerBytes, at + headerBytes + TIME_DIGITS);
        latencies.push(nowMs() - Number(decoder.decode(time)));
      }
      at += step;
      this.#natsAt = (start + step) % (headerBytes + bytes + 2);
      if (this.#natsAt === 0) this.delivered++;
    }
  }
}

function maskedFrame(opcode: number, payload: Uint8Array): Uint8Array {
  const mask = randomBytes(4);
  const isLong = payload.length > 125;
  const frame = new Uint8Array((isLong ? 8 : 6) + payload.length);
  frame[0] = 0x80 | opcode;
  frame[1] = 0x80 | (isLong ? 126 : payload.length);
  if (isLong) frame.set([payload.length >> 8, payload.length & 0xff], 2);
  const at = frame.length - payload.length;
  frame.set(mask, at - 4);
  for (let i = 0; i < payload.length; i++) frame[at + i] = payload[i]! ^ mask[i % 4]!;
  return frame;
}

async function open(options: ReaderOptions, index: number): Promise<Reader> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const reader = new Reader(options, index, resolve);
  const path = options.kind === "weir" ? "/ws" : "/";
  const socket = await Bun.connect<Reader>({
    hostname: "127.0.0.1",
    port: options.port,
    data: reader,
    socket: {
      data: (link, chunk) => reader.data(link, chunk),
      error: (_, error) => {
        throw error;
      },
    },
  });
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${options.port}\r\nUpgrade: websocket\r\n` +
      `Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n\r\n`,
  );
  await promise;
  return reader;
}

async function main(options: ReaderOptions): Promise<void> {
  const readers: Reader[] = [];
  for (let begun = 0; begun < options.subscribers; begun += 100) {
    const count = Math.min(100, options.subscribers - begun);
    readers.push(
      ...await Promise.all(Array.from({ length: count }, (_, i) => open(options, begun + i))),
    );
  }
  process.stdout.write("ready\n");
  for await (const _ of process.stdin) {
    // Until it ends.
  }
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor(share * (latencies.length - 1))] ?? 0;
  const counts = readers.map(({ delivered }) => delivered);
  const figures: ReaderFigures = {
    delivered: counts.reduce((sum, count) => sum + count, 0),
    least: Math.min(...counts),
    most: Math.max(...counts),
    p50: at(0.5),
    p99: at(0.99),
    max: at(1),
    frames: frameCount,
  };
  process.stdout.write(`${JSON.stringify(figures)}\n`);
  process.exit(0);
}

if (import.meta.main) await main(JSON.parse(process.argv[2]!));
