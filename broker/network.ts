/**
 * The network as the broker sees it: listeners, connections and bytes. Interfaces only.
 *
 * Everything above takes a `Network` through its constructor: `network_bun.ts` is the real one,
 * `tests/sim/sim_network.ts` one on virtual time. Both keep the same promises:
 *
 * - Callbacks of one connection never run inside a call to `write`, `pause`, `resume` or `close`.
 * - `onData` hands over a buffer that nobody else looks at again: it may be kept, or its memory given back.
 * - After `write` accepted fewer bytes than given, `onDrain` comes once more can be written.
 * - After `pause`, what was read already may still arrive once; then nothing until `resume`.
 * - `onClose` comes exactly once, last, whoever closed; nothing is accepted after it.
 */

/** The network said no: a port in use, a host that is not there, a connection refused or lost. */
export class NetworkError extends Error {
  override name = "NetworkError";
  /** The errno name: EADDRINUSE, ECONNREFUSED … or "" where there is none. */
  readonly code: string;

  constructor(message: string, code: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** One TCP connection. */
export interface Connection {
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** The address on this machine that the other side reached. */
  readonly localAddress: string;
  readonly localPort: number;
  /**
   * Hands bytes to the operating system, which copies them.
   *
   * Returns: how many it took, from the front; 0 when it is full or the connection has closed.
   */
  write(bytes: Uint8Array): number;
  /** Stops reading: what the other side sends stays with it. */
  pause(): void;
  resume(): void;
  /** Ends the connection; bytes already accepted are still delivered. `reason` is handed to `onClose`. */
  close(reason?: string): void;
}

/** What the owner of a connection wants to be told. */
export interface ConnectionHandlers {
  onData(bytes: Uint8Array): void;
  onDrain(): void;
  /** `reason` is missing when the other side ended it in good order. */
  onClose(reason?: string): void;
}

/** An open port. */
export interface Listener {
  readonly host: string;
  /** The real port, also where 0 was asked for. */
  readonly port: number;
  /** Resolves when no more connections come in; those that are open stay open. */
  close(): Promise<void>;
}

/** Where to listen or to connect to. TLS will be an option here. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** Given for every new connection; returns who is told what happens on it. */
export type Acceptor = (connection: Connection) => ConnectionHandlers;

/** Makes listeners and connections. */
export interface Network {
  /** Errors: NetworkError when the address cannot be bound. */
  listen(endpoint: Endpoint, accept: Acceptor): Listener;
  /** Errors: rejects with NetworkError when nobody answers. */
  connect(endpoint: Endpoint, opened: Acceptor): Promise<Connection>;
}
