/**
 * One process on one simulated machine: its clock, its disk and its network, which end with it.
 *
 *     running ⇄ paused (SIGSTOP: timers, answers of the disk and bytes wait for it)
 *        └──→ dead (killed: the machine ends its connections; power lost: nobody is told)
 *
 * Once it is dead nothing of it runs any more: timers are cancelled, what was awaited of the disk never
 * comes, nothing arrives, and what it would still send goes nowhere.
 */

import type {
  Acceptor,
  Connection,
  ConnectionHandlers,
  Endpoint,
  Listener,
  Network,
} from "../../broker/network.ts";
import type { Disk } from "../../storage/platform.ts";
import { ProcessClock } from "./process_clock.ts";
import { ProcessDisk } from "./process_disk.ts";
import type { SimClock } from "./sim_clock.ts";
import type { SimNetwork } from "./sim_network.ts";

/** What a process runs on. */
export interface SimProcessOptions {
  readonly clock: SimClock;
  readonly disk: Disk;
  /** The network as its machine sees it. */
  readonly network: SimNetwork;
  /** By how much the wall clock of its machine is wrong. Units: ms. */
  readonly wallSkewMs?: () => number;
}

/** Lets callbacks through, or keeps them in order until the process goes on. */
export class Gate {
  /** How often the process has had its turn. */
  turns = 0;
  readonly #clock: SimClock;
  #backlog: (() => void)[] = [];
  #isPaused = false;
  #isDead = false;

  constructor(clock: SimClock) {
    this.#clock = clock;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  run(callback: () => void): void {
    if (this.#isDead) return;
    if (this.#isPaused || this.#backlog.length > 0) {
      this.#backlog.push(callback);
      return;
    }
    this.turns++;
    callback();
  }

  /** Resolves when the process has its turn; never once it is dead. */
  turn(): Promise<void> {
    return new Promise((resolve) => this.run(resolve));
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#drain();
  }

  die(): void {
    this.#isDead = true;
    this.#backlog = [];
  }

  /** One callback an event, as they had come. */
  #drain(): void {
    this.#clock.timer(0, () => {
      if (this.#isPaused || this.#isDead) return;
      const callback = this.#backlog[0];
      if (callback === undefined) return;
      this.turns++;
      callback();
      this.#backlog.shift();
      if (this.#backlog.length > 0) this.#drain();
    });
  }
}

/** How a process ends: killed by a signal, or with the power of its machine. */
export type Death = "kill" | "power cut";

/** A process. */
export class SimProcess {
  readonly clock: ProcessClock;
  readonly disk: ProcessDisk;
  readonly network: Network;
  /** Resolves when it is dead. */
  readonly died: Promise<void>;
  readonly #gate: Gate;
  readonly #ends = new ProcessEnds();

  constructor({ clock, disk, network, wallSkewMs }: SimProcessOptions) {
    const gate = this.#gate = new Gate(clock);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.died = promise;
    this.clock = new ProcessClock(clock, { gate, ...(wallSkewMs !== undefined && { wallSkewMs }) });
    // A process that dies in the midst of a call is killed: its machine is still there.
    this.disk = new ProcessDisk(disk, () => {
      this.#end("kill");
      resolve();
    }, gate);
    this.network = new ProcessNetwork(network, gate, this.#ends);
  }

  get isDead(): boolean {
    return this.#gate.isDead;
  }

  /** How often it has had its turn: while this stays, nothing of it has changed. */
  get turns(): number {
    return this.#gate.turns;
  }

  pause(): void {
    this.#gate.pause();
    for (const end of this.#ends.connections) end.stopReading();
  }

  resume(): void {
    this.#gate.resume();
    for (const end of this.#ends.connections) end.goOnReading();
  }

  /** Ends it. What becomes of its disk is the caller's to say. */
  die(death: Death): void {
    if (!this.isDead) this.#end(death);
    this.disk.die();
  }

  #end(death: Death): void {
    if (this.#gate.isDead) return;
    this.#gate.die();
    this.clock.die();
    for (const listener of this.#ends.listeners) void listener.close();
    for (const connection of this.#ends.connections) connection.end(death);
  }
}

/** What a process has open. */
class ProcessEnds {
  readonly listeners = new Set<Listener>();
  readonly connections = new Set<ProcessConnection>();
}

class ProcessNetwork implements Network {
  readonly #network: SimNetwork;
  readonly #gate: Gate;
  readonly #ends: ProcessEnds;

  constructor(network: SimNetwork, gate: Gate, ends: ProcessEnds) {
    this.#network = network;
    this.#gate = gate;
    this.#ends = ends;
  }

  listen(endpoint: Endpoint, accept: Acceptor): Listener {
    const inner = this.#network.listen(endpoint, (link) => {
      const connection = new ProcessConnection(link as SimLink, this.#gate, this.#ends);
      connection.open(accept);
      return connection;
    });
    this.#ends.listeners.add(inner);
    return {
      host: inner.host,
      port: inner.port,
      close: async () => {
        this.#ends.listeners.delete(inner);
        await inner.close();
      },
    };
  }

  async connect(endpoint: Endpoint, opened: Acceptor): Promise<Connection> {
    let connection: ProcessConnection | null = null;
    try {
      await this.#network.connect(endpoint, (link) => {
        connection = new ProcessConnection(link as SimLink, this.#gate, this.#ends);
        if (this.#gate.isDead) connection.end("kill");
        else connection.open(opened);
        return connection;
      });
    } finally {
      await this.#gate.turn();
    }
    return connection!;
  }
}

type SimLink = Connection & { vanish(): void };

/** A connection of a process: both what its machine tells it and what the process asks of it. */
class ProcessConnection implements Connection, ConnectionHandlers {
  readonly #link: SimLink;
  readonly #gate: Gate;
  readonly #ends: ProcessEnds;
  #handlers: ConnectionHandlers | null = null;
  #wantsPause = false;

  constructor(link: SimLink, gate: Gate, ends: ProcessEnds) {
    this.#link = link;
    this.#gate = gate;
    this.#ends = ends;
    ends.connections.add(this);
  }

  /** Hands the connection to its owner, who reads nothing before. */
  open(opened: Acceptor): void {
    this.#link.pause();
    this.#gate.run(() => {
      this.#handlers = opened(this);
      if (!this.#wantsPause) this.#link.resume();
    });
  }

  end(death: Death): void {
    if (death === "kill") this.#link.close("the process ended");
    else this.#link.vanish();
    this.#ends.connections.delete(this);
  }

  stopReading(): void {
    this.#link.pause();
  }

  goOnReading(): void {
    if (!this.#wantsPause && this.#handlers !== null) this.#link.resume();
  }

  onData(bytes: Uint8Array): void {
    this.#gate.run(() => this.#handlers!.onData(bytes));
  }
  onDrain(): void {
    this.#gate.run(() => this.#handlers!.onDrain());
  }
  onClose(reason?: string): void {
    this.#ends.connections.delete(this);
    this.#gate.run(() => this.#handlers!.onClose(reason));
  }

  get remoteAddress(): string {
    return this.#link.remoteAddress;
  }
  get remotePort(): number {
    return this.#link.remotePort;
  }
  get localAddress(): string {
    return this.#link.localAddress;
  }
  get localPort(): number {
    return this.#link.localPort;
  }
  write(bytes: Uint8Array): number {
    return this.#gate.isDead ? 0 : this.#link.write(bytes);
  }
  pause(): void {
    this.#wantsPause = true;
    this.#link.pause();
  }
  resume(): void {
    this.#wantsPause = false;
    if (!this.#gate.isDead) this.#link.resume();
  }
  close(reason?: string): void {
    if (!this.#gate.isDead) this.#link.close(reason);
  }
}
