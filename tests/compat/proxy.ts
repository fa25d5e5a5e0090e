/**
 * TCP proxies in front of the nodes of a real cluster, which cut and delay ways between its processes.
 *
 *     process ──→ [port of node N's proxy] ──→ way(process, N) ──→ node N
 *                                         ←── way(N, process) ←──
 *
 * Every node is advertised at its proxy, so that clients and nodes alike reach it there. Who has connected is told by
 * the client id of the first request: `node-N` is node N, everybody else is a client. As with a network that loses
 * packets: what is sent into a cut waits, in order, until it is open.
 */

import { connect, createServer, type Server, type Socket } from "node:net";

const LOOPBACK = "127.0.0.1";
/** The name of whoever is no node. */
export const CLIENT = "client";
/** Where the client id of a request lies, behind its length. */
const CLIENT_ID_AT = 12;
const NODE_CLIENT_ID = /^node-(\d+)$/;

/** One direction of one connection: bytes in order, held while its way is cut. */
class Pipe {
  readonly from: string;
  readonly to: string;
  readonly #source: Socket;
  readonly #target: Socket;
  readonly #ways: ProxiedWays;
  #held: (() => void)[] = [];
  #lastMs = 0;

  constructor(
    ways: ProxiedWays,
    { from, to, source, target }: { from: string; to: string; source: Socket; target: Socket },
  ) {
    this.#ways = ways;
    this.from = from;
    this.to = to;
    this.#source = source;
    this.#target = target;
    source.on("data", (chunk: Buffer) => this.#pass(() => this.#target.write(chunk)));
    source.on("end", () => this.#pass(() => this.#target.end()));
    // A reset is not held back: the machine that sends it is there.
    source.on("error", () => target.destroy());
    source.on("close", () => this.#pass(() => this.#target.end()));
  }

  #pass(effect: () => void): void {
    const delayMs = this.#ways.delayMs(this.from, this.to);
    if (delayMs === 0 && this.#lastMs === 0) return this.#arrive(effect);
    const nowMs = performance.now();
    this.#lastMs = Math.max(this.#lastMs, nowMs + delayMs);
    setTimeout(() => this.#arrive(effect), this.#lastMs - nowMs);
  }

  #arrive(effect: () => void): void {
    const isOpen = !this.#ways.isCut(this.from, this.to);
    if (isOpen && this.#held.length === 0) return effect();
    this.#held.push(effect);
    this.#source.pause();
  }

  /** Lets through what was held. */
  release(): void {
    if (this.#ways.isCut(this.from, this.to)) return;
    for (const effect of this.#held.splice(0)) effect();
    this.#source.resume();
  }
}

/** The ways between processes; all are open until told otherwise. */
export class ProxiedWays {
  readonly #cut = new Set<string>();
  readonly #delays = new Map<string, number>();
  readonly #pipes = new Set<Pipe>();
  readonly #sockets = new Set<Socket>();
  readonly #servers: Server[] = [];

  /** Opens a proxy in front of a port of a node. Returns: its own port. */
  async proxy(name: string, targetPort: number, port = 0): Promise<number> {
    const server = createServer(
      { allowHalfOpen: true },
      (near) => this.#open(name, targetPort, near),
    );
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(port, LOOPBACK, resolve));
    return (server.address() as { port: number }).port;
  }

  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`);
  }
  delay(from: string, to: string, byMs: number): void {
    this.#delays.set(`${from}>${to}`, byMs);
  }
  isCut(from: string, to: string): boolean {
    return this.#cut.has(`${from}>${to}`);
  }
  delayMs(from: string, to: string): number {
    return this.#delays.get(`${from}>${to}`) ?? 0;
  }

  /** Cuts a node off from everybody, both ways. */
  isolate(name: string, others: readonly string[]): void {
    for (const other of [...others, CLIENT]) {
      if (other === name) continue;
      this.cut(name, other);
      this.cut(other, name);
    }
  }

  /** Every way is open and fast. */
  heal(): void {
    this.#cut.clear();
    this.#delays.clear();
    for (const pipe of this.#pipes) pipe.release();
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #open(name: string, targetPort: number, near: Socket): void {
    this.#keep(near);
    // Whoever opens a connection speaks first.
    near.once("data", (chunk: Buffer) => {
      near.pause();
      this.#join(name, targetPort, { near, chunk, who: whoSends(chunk) });
    });
  }

  #join(
    name: string,
    targetPort: number,
    { near, chunk, who }: {
      readonly near: Socket;
      readonly chunk: Buffer;
      readonly who: string;
    },
  ): void {
    const begin = () => {
      if (near.destroyed) return;
      // A connection is opened only where both ways are: until then nobody answers.
      if (this.isCut(who, name) || this.isCut(name, who)) return void setTimeout(begin, 50);
      const far = connect({ host: LOOPBACK, port: targetPort, allowHalfOpen: true, noDelay: true });
      this.#keep(far);
      near.setNoDelay(true);
      far.once("error", () => near.destroy());
      far.once("connect", () => {
        const pipes = [
          new Pipe(this, { from: who, to: name, source: near, target: far }),
          new Pipe(this, { from: name, to: who, source: far, target: near }),
        ];
        for (const pipe of pipes) this.#pipes.add(pipe);
        const forget = () => {
          if (!near.destroyed || !far.destroyed) return;
          for (const pipe of pipes) this.#pipes.delete(pipe);
        };
        near.once("close", forget);
        far.once("close", forget);
        near.unshift(chunk);
        near.resume();
      });
    };
    begin();
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => this.#sockets.delete(socket));
  }
}

/** The node that has sent the begin of a connection, or CLIENT. */
function whoSends(chunk: Buffer): string {
  if (chunk.length < CLIENT_ID_AT + 2) return CLIENT;
  const length = chunk.readInt16BE(CLIENT_ID_AT);
  const clientId = chunk.toString(
    "latin1",
    CLIENT_ID_AT + 2,
    CLIENT_ID_AT + 2 + Math.max(0, length),
  );
  return NODE_CLIENT_ID.exec(clientId)?.[1] ?? CLIENT;
}
