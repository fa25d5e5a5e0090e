/** WebSockets in memory: what the node sends is checked against the protocol's schemas and kept; a test reads or does not. */

import type {
  GatewaySocket,
  SocketHandlers,
  SocketPort,
} from "../../../../broker/gateway/http_server.ts";
import {
  type ServerMessage,
  serverMessage,
} from "../../../../broker/gateway/websocket/messages.ts";

/** A port with its groups. */
export class SimPort implements SocketPort {
  readonly groups = new Map<string, Set<SimSocket>>();
  publishedCount = 0;

  publish(group: string, message: string | Uint8Array): void {
    this.publishedCount++;
    for (const member of this.groups.get(group) ?? []) member.send(message);
  }
}

/** One socket, seen from both ends. */
export class SimSocket implements GatewaySocket {
  readonly port: SimPort;
  handlers!: SocketHandlers;
  closed: { readonly code: number; readonly reason: string } | null = null;
  /** The most that has waited. */
  peakBytes = 0;
  #isReading = true;
  #waiting: (string | Uint8Array)[] = [];
  #waitingBytes = 0;
  readonly #messages: ServerMessage[] = [];
  readonly frames: Uint8Array[] = [];

  constructor(port: SimPort) {
    this.port = port;
  }

  get bufferedBytes(): number {
    return this.#waitingBytes;
  }

  send(message: string | Uint8Array): void {
    if (this.closed !== null) return;
    if (this.#isReading) return this.#read(message);
    this.#waiting.push(message);
    this.#waitingBytes += message.length;
    this.peakBytes = Math.max(this.peakBytes, this.#waitingBytes);
  }

  #read(message: string | Uint8Array): void {
    if (typeof message !== "string") return void this.frames.push(message);
    this.#messages.push(serverMessage.parse(JSON.parse(message)));
  }

  join(group: string): void {
    const members = this.port.groups.get(group) ?? new Set();
    this.port.groups.set(group, members.add(this));
  }

  leave(group: string): void {
    this.port.groups.get(group)?.delete(this);
  }

  close(code: number, reason: string): void {
    this.closed ??= { code, reason };
    for (const members of this.port.groups.values()) members.delete(this);
  }

  terminate(): void {
    this.close(1006, "cut off");
    this.handlers.onClose();
  }

  /** The other end reads no more. */
  stall(): void {
    this.#isReading = false;
  }

  /** The other end reads what waits for it, and goes on reading. */
  drain(): void {
    this.#isReading = true;
    for (const message of this.#waiting.splice(0)) this.#read(message);
    this.#waitingBytes = 0;
    this.handlers.onDrain();
  }

  /** The other end says something. */
  say(message: unknown): void {
    this.handlers.onMessage(typeof message === "string" ? message : JSON.stringify(message));
  }

  /** Messages of a type that came, taken out. */
  take<T extends ServerMessage["type"]>(type: T): Extract<ServerMessage, { type: T }>[] {
    const found = this.#messages.filter((it) => it.type === type);
    for (const message of found) this.#messages.splice(this.#messages.indexOf(message), 1);
    return found as Extract<ServerMessage, { type: T }>[];
  }

  /** True when a message of the type has come. */
  has(type: ServerMessage["type"]): boolean {
    return this.#messages.some((it) => it.type === type);
  }
}
