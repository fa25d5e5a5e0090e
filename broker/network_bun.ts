/**
 * The real network: `Bun.listen` and `Bun.connect` behind the interfaces of `network.ts`.
 *
 * What Bun does, and what is made of it (tried with 1.4.5):
 *
 * - `socket.write` takes part of the bytes and keeps none of the rest; −1 after the close becomes 0.
 * - `data` hands over a fresh buffer of exact length: passed on as it is, without the `Buffer` class.
 * - `drain` also comes when nothing was waiting (after `resume`): callers must not mind.
 * - `close` runs inside `end` and `terminate`: put off to a microtask, so that no callback runs inside a call.
 * - `end` closes at once, and the operating system still delivers what was accepted.
 * - While a socket is paused, a reset is seen and an orderly end is not, until `resume`.
 */

import {
  type Acceptor,
  type Connection,
  type ConnectionHandlers,
  type Endpoint,
  type Listener,
  type Network,
  NetworkError,
} from "./network.ts";

/** The operating system asks a silent peer after this long whether it is still there. */
const KEEP_ALIVE_MS = 60_000;
/** What an empty host stands for. */
const EVERY_ADDRESS = "0.0.0.0";

class BunConnection implements Connection {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly #socket: Bun.Socket<SocketData>;
  #reason: string | undefined;
  #closed = false;
  handlers: ConnectionHandlers | null = null;

  constructor(socket: Bun.Socket<SocketData>) {
    this.#socket = socket;
    this.remoteAddress = plainAddress(socket.remoteAddress);
    this.remotePort = socket.remotePort;
    this.localAddress = plainAddress(socket.localAddress);
    this.localPort = socket.localPort;
  }

  write(bytes: Uint8Array): number {
    if (this.#closed) return 0;
    const accepted = this.#socket.write(bytes);
    return accepted > 0 ? accepted : 0;
  }

  pause(): void {
    if (!this.#closed) this.#socket.pause();
  }

  resume(): void {
    if (!this.#closed) this.#socket.resume();
  }

  close(reason?: string): void {
    if (this.#closed) return;
    this.#reason = reason;
    this.#socket.end();
  }

  /** Called by the socket, once. */
  ended(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    const reason = this.#reason ?? error?.message.split("\n", 1)[0];
    queueMicrotask(() => this.handlers?.onClose(reason));
  }
}

interface SocketData {
  connection: BunConnection | null;
}

/** An IPv4 address that came over an IPv6 socket in its IPv4 form. */
function plainAddress(address: string): string {
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
}

function open(socket: Bun.Socket<SocketData>, accept: Acceptor): BunConnection {
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  const connection = new BunConnection(socket);
  socket.data = { connection };
  connection.handlers = accept(connection);
  return connection;
}

const socketHandlers = {
  data(socket: Bun.Socket<SocketData>, data: Buffer): void {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    socket.data?.connection?.handlers?.onData(bytes);
  },
  drain(socket: Bun.Socket<SocketData>): void {
    socket.data?.connection?.handlers?.onDrain();
  },
  close(socket: Bun.Socket<SocketData>, error?: Error): void {
    socket.data?.connection?.ended(error);
  },
  error(socket: Bun.Socket<SocketData>, error: Error): void {
    socket.data?.connection?.close(error.message);
  },
};

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown }).code;
  return typeof code === "string" ? code : "";
}

/** Why a port cannot be opened, and what to do, by the code of the operating system ("" for none). */
export function listenProblem(code: string): string {
  switch (code) {
    case "EADDRINUSE":
      return "the port is in use by another process: stop it or choose another port";
    case "EACCES":
    case "EPERM":
      return "this user may not open the port: choose one above 1023, or give the right to do so";
    default:
      return "the host is no address of this machine, or its name is not known" +
        `${code === "" ? "" : ` (${code})`}: choose an address that this machine has`;
  }
}

function bind(hostname: string, port: number, accept: Acceptor): Bun.TCPSocketListener<SocketData> {
  const socket = {
    ...socketHandlers,
    open: (socket: Bun.Socket<SocketData>) => void open(socket, accept),
  };
  return Bun.listen<SocketData>({ hostname, port, socket });
}

function listen(endpoint: Endpoint, accept: Acceptor): Listener {
  const { host, port } = endpoint;
  let server: Bun.TCPSocketListener<SocketData>;
  try {
    server = bind(host === "" ? EVERY_ADDRESS : host, port, accept);
  } catch (cause) {
    const code = codeOf(cause);
    throw new NetworkError(`Cannot listen on ${host}:${port}: ${listenProblem(code)}`, code, {
      cause,
    });
  }
  return {
    host,
    port: server.port,
    close() {
      server.stop(false);
      return Promise.resolve();
    },
  };
}

async function connect(endpoint: Endpoint, opened: Acceptor): Promise<Connection> {
  const { host, port } = endpoint;
  const { promise, resolve, reject } = Promise.withResolvers<Connection>();
  // A refusal rejects both this promise and Bun's: whichever is not awaited must not count as unhandled.
  promise.catch(() => undefined);
  try {
    await Bun.connect<SocketData>({
      hostname: host,
      port,
      socket: {
        ...socketHandlers,
        open: (socket) => resolve(open(socket, opened)),
        connectError: (_socket, error) => reject(error),
      },
    });
    return await promise;
  } catch (cause) {
    const code = codeOf(cause);
    throw new NetworkError(
      `Cannot connect to ${host}:${port}: ${code || (cause as Error).message}`,
      code,
      { cause },
    );
  }
}

/** The network of this machine. */
export function bunNetwork(): Network {
  return { listen, connect };
}
