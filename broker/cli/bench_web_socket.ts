/**
 * The client's side of WebSocket, as much as a subscriber under test needs: the upgrade, text that is sent, messages that
 * come. Extensions are not asked for, and messages in several fragments are refused.
 *
 * Source: RFC 6455, sections 4.1 and 5.2.
 */

import { WireError } from "../../protocol/bytes.ts";
import type { Endpoint } from "../network.ts";
import type { Splitter } from "./bench_link.ts";

/** What a frame is. */
export const Opcode = { text: 1, close: 8, ping: 9, pong: 10 } as const;

const FINAL_BIT = 0x80;
const MASK_BIT = 0x80;
const SHORT_BYTES = 125;
const LENGTH_16 = 126;
const LENGTH_64 = 127;
const MAX_HEAD_BYTES = 16 * 1024;
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const HEAD_END = "\r\n\r\n";
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The request that makes a WebSocket of a connection. The key need not be random: no cache lies between. */
export function upgradeRequest({ host, port }: Endpoint, path: string): Uint8Array {
  return encoder.encode(
    `GET ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${btoa("weir-bench-of-16")}${HEAD_END}`,
  );
}

/** A frame of a client. Its mask is 0: what is sent holds nothing that others chose. */
export function clientFrame(opcode: number, text: string): Uint8Array {
  const payload = encoder.encode(text);
  const isShort = payload.length <= SHORT_BYTES;
  const head = isShort
    ? [FINAL_BIT | opcode, MASK_BIT | payload.length]
    : [FINAL_BIT | opcode, MASK_BIT | LENGTH_16, payload.length >> 8, payload.length & 0xff];
  const frame = new Uint8Array(head.length + 4 + payload.length);
  frame.set(head);
  frame.set(payload, head.length + 4);
  return frame;
}

/** A message that came, or the answer to the upgrade, which has no opcode. */
export interface WebSocketMessage {
  readonly opcode: number | null;
  /** A view into what came; it is kept as long as it is looked at. */
  readonly payload: Uint8Array;
}

/** Makes messages of what comes over one connection. */
export class WebSocketMessages implements Splitter<WebSocketMessage> {
  #rest: Uint8Array = new Uint8Array(0);
  #isUpgraded = false;

  /** Takes in a chunk. Returns: what it completes, in order. Errors: WireError, also where the upgrade is refused. */
  *push(chunk: Uint8Array): Generator<WebSocketMessage, void, void> {
    const bytes = this.#rest.length === 0 ? chunk : joined(this.#rest, chunk);
    let at = 0;
    for (;;) {
      const found = this.#isUpgraded ? readFrame(bytes, at) : readUpgrade(bytes);
      if (found === null) break;
      this.#isUpgraded = true;
      at = found.end;
      yield found.message;
    }
    this.#rest = bytes.slice(at);
  }
}

interface Found {
  readonly message: WebSocketMessage;
  readonly end: number;
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}

function readUpgrade(bytes: Uint8Array): Found | null {
  const head = decoder.decode(bytes.subarray(0, MAX_HEAD_BYTES));
  const end = head.indexOf(HEAD_END);
  if (end < 0 && bytes.length < MAX_HEAD_BYTES) return null;
  const status = head.split("\r\n", 1)[0]!;
  if (end < 0 || !/^HTTP\/1\.1 101 /.test(status)) {
    throw new WireError(`Cannot open a WebSocket: the answer is "${status.slice(0, 100)}"`);
  }
  return { message: { opcode: null, payload: bytes.subarray(0, end) }, end: end + HEAD_END.length };
}

function readFrame(bytes: Uint8Array, at: number): Found | null {
  if (bytes.length - at < 2) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const announced = bytes[at + 1]!;
  const start = at + (announced === LENGTH_16 ? 4 : announced === LENGTH_64 ? 10 : 2);
  if (bytes.length < start) return null;
  const length = announced === LENGTH_16
    ? view.getUint16(at + 2)
    : announced === LENGTH_64
    ? Number(view.getBigUint64(at + 2))
    : announced;
  const isWhole = (bytes[at]! & FINAL_BIT) !== 0 && (announced & MASK_BIT) === 0;
  if (!isWhole || length > MAX_MESSAGE_BYTES) {
    throw new WireError("Cannot read WebSocket frame: it is a fragment, masked or too large");
  }
  const end = start + length;
  if (bytes.length < end) return null;
  const opcode = bytes[at]! & 0x0f;
  return { message: { opcode, payload: bytes.subarray(start, end) }, end };
}
