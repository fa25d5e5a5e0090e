/**
 * One machine of a simulated cluster: a disk, an address, a wall clock of its own, and the broker process on it.
 *
 *     down ─→ starting ─→ up ⇄ paused          a process that gives up is started again, as a supervisor does
 *       ↑         └───────┴──→ killed, power cut, stopped ──→ down
 *
 * The broker is the real one (`Broker.start`), with everything real in it but the five things that come in
 * from outside.
 */

import { Broker } from "../../broker/broker.ts";
import { loadAssets } from "../../broker/gateway/console/assets_bun.ts";
import { Config } from "../../broker/config/config.ts";
import { ConfigError } from "../../broker/config/sources.ts";
import { NetworkError } from "../../broker/network.ts";
import { type Disk, DiskError, type Logger } from "../../storage/platform.ts";
import { LogDirectoryError } from "../../storage/directory_meta.ts";
import { begin, clear, type Weather } from "./disk_weather.ts";
import type { SimClock } from "./sim_clock.ts";
import { SimDisk } from "./sim_disk.ts";
import type { SimNetwork } from "./sim_network.ts";
import { type Death, SimProcess } from "./sim_process.ts";
import type { SimRandom } from "./sim_random.ts";
import { SIM_USAGE } from "./sim_usage.ts";
import { SimWorkers } from "./sim_workers.ts";

/** Where a node keeps its data. */
export const DATA = "/data";
/** A process that gave up is started again after this. */
const RESTART_MS = 1_000;
/** A stop that takes longer than this is ended by force, as service managers do. */
const STOP_MS = 90_000;
/** The mark of a directory that went offline by a failed sync. */
const FAILED_MARK = `${DATA}/.weir-disk-failed`;

/** What a node is made of. */
export interface ClusterNodeOptions {
  readonly nodeId: number;
  readonly host: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly clock: SimClock;
  readonly network: SimNetwork;
  readonly random: SimRandom;
  /** Wraps the disk, so that a test can plant a fault in what the broker does with it. */
  readonly wrap: (disk: SimDisk) => Disk;
  readonly logger: Logger;
  readonly trace: (line: string) => void;
  readonly maxSyncMs: number;
  /** Waits while it is down or paused, until the cluster is healed at the longest. */
  readonly pass: (ms: number) => Promise<void>;
  /** Told what no fault explains. */
  readonly fail: (failure: unknown) => void;
}

/** A machine with a broker on it. */
export class ClusterNode {
  readonly nodeId: number;
  readonly host: string;
  disk: SimDisk;
  /** What a running process serves with; null while none does. */
  broker: Broker | null = null;
  /** By how much its wall clock is wrong. */
  wallSkewMs = 0;
  /** Something on its disk was broken on purpose, and no start has gone well since. */
  mayFail = false;
  starts = 0;
  readonly #options: ClusterNodeOptions;
  #process: SimProcess | null = null;
  #isPaused = false;
  readonly #whenMended = new Set<() => void>();
  #isStarting = false;
  #isFair = true;
  /** Whoever ends or starts the process holds the turn. */
  #isBusy = false;

  constructor(options: ClusterNodeOptions) {
    this.#options = options;
    this.nodeId = options.nodeId;
    this.host = options.host;
    this.disk = this.#newDisk("disk");
  }

  get isUp(): boolean {
    return this.broker !== null && !this.#isPaused;
  }
  /** True when no process is left on it. */
  get isDead(): boolean {
    return this.#process?.isDead ?? true;
  }
  /** How often its process has had its turn. */
  get turns(): number {
    return this.#process?.turns ?? 0;
  }
  get isPaused(): boolean {
    return this.#isPaused;
  }
  /** True while something ends or starts it. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** Starts it, again and again until it serves. Errors: what no fault explains. */
  async start(): Promise<void> {
    await this.#alone(() => this.#startUntilUp());
  }

  /**
   * Ends it at once, and starts it again after a while. One that starts is ended in the midst of it. `beforeStart`
   * is called while it is down, if it was up.
   */
  async crash(death: Death, downMs: number, beforeStart: () => void = () => {}): Promise<void> {
    if (this.#isStarting) return this.#end(death);
    await this.#alone(async () => {
      this.#end(death);
      await this.#options.pass(downMs);
      beforeStart();
      await this.#startUntilUp();
    });
  }

  /** It dies in the midst of one of its next calls to the disk, and is started again after a while. */
  async dieAt(callCount: number, death: Death, downMs: number): Promise<void> {
    const process = this.#process;
    if (process === null || process.isDead) return;
    process.disk.dieAt(callCount);
    // Mended before it came to that, it lives.
    const { promise: mended, resolve } = Promise.withResolvers<void>();
    this.#whenMended.add(resolve);
    await Promise.race([process.died, mended]);
    this.#whenMended.delete(resolve);
    // It may have died with the last call of a start or a stop, whose end is about to be noted.
    while (this.#isBusy && !this.#isStarting) await this.#options.clock.sleep(1);
    if (process !== this.#process || !process.isDead) return;
    this.#trace("died in the midst of a call");
    await this.crash(death, downMs);
  }

  /** Ends it as an operator does, and starts it again after a while. */
  async restart(downMs: number): Promise<void> {
    await this.#alone(async () => {
      await this.#stop();
      await this.#options.pass(downMs);
      await this.#startUntilUp();
    });
  }

  /** Ends it as an operator does, for good. */
  async stop(): Promise<void> {
    await this.#alone(() => this.#stop());
  }

  /** Its disk is replaced by an empty one while it is down. */
  async wipe(downMs: number): Promise<void> {
    await this.#alone(async () => {
      this.#end("power cut");
      this.disk = this.#newDisk(`disk${this.starts}`);
      this.#trace("its disk is a new, empty one");
      await this.#options.clock.sleep(downMs);
      await this.#startUntilUp();
    });
  }

  /** SIGSTOP for a while. */
  async pause(forMs: number): Promise<void> {
    const process = this.#process;
    if (process === null || process.isDead || this.#isPaused) return;
    this.#trace(`paused for ${forMs} ms`);
    this.#isPaused = true;
    process.pause();
    await this.#options.pass(forMs);
    this.resume();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#process?.resume();
  }

  /** Its disk does something wrong until it is mended. */
  spoil(weather: Weather): void {
    this.#trace(`weather: ${weather}`);
    begin(weather, this.disk, this.#options.random);
    this.#isFair = false;
    this.mayFail = true;
  }

  /** Nothing is wrong with its disk and its clock any more. */
  mend(): void {
    this.#process?.disk.dieAt(Infinity);
    for (const mended of this.#whenMended) mended();
    clear(this.disk);
    this.#isFair = true;
    this.wallSkewMs = 0;
  }

  /** Timers and file handles that its process holds: none after a stop. */
  get leftovers(): { readonly timers: number; readonly handles: number } {
    const process = this.#process!;
    return { timers: process.clock.pendingTimers, handles: process.disk.openHandles };
  }

  #trace(line: string): void {
    this.#options.trace(`node ${this.nodeId}: ${line}`);
  }

  #newDisk(label: string): SimDisk {
    const { clock, random, maxSyncMs } = this.#options;
    return new SimDisk({ random: random.fork(label), clock, maxSyncMs });
  }

  async #alone(work: () => Promise<void>): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      await work();
    } finally {
      this.#isBusy = false;
    }
  }

  async #startUntilUp(): Promise<void> {
    while (!await this.#startOnce()) await this.#options.clock.sleep(RESTART_MS);
  }

  /** Returns: true once it serves. */
  async #startOnce(): Promise<boolean> {
    const { clock, network } = this.#options;
    network.links.setPower(this.host, true);
    this.starts++;
    this.#trace(`start ${this.starts}`);
    const process = this.#process = new SimProcess({
      clock,
      disk: this.#options.wrap(this.disk),
      network: network.host(this.host),
      wallSkewMs: () => this.wallSkewMs,
    });
    this.#isStarting = true;
    try {
      const started = await Promise.race([this.#serve(process), process.died.then(() => null)]);
      if (started === null) return false;
      this.broker = started;
      this.mayFail = !this.#isFair;
      this.#trace("serves");
      return true;
    } catch (failure) {
      const isExpected = failure instanceof DiskError || failure instanceof LogDirectoryError ||
        failure instanceof ConfigError || failure instanceof NetworkError;
      if (!isExpected || !this.mayFail) throw failure;
      this.#trace(`did not start: ${failure.message}`);
      this.#end("kill");
      return false;
    } finally {
      this.#isStarting = false;
    }
  }

  #serve(process: SimProcess): Promise<Broker> {
    const { settings, logger, random, fail } = this.#options;
    return Broker.start({
      config: Config.load({ flags: { "log.dirs": DATA, "http.listeners": "", ...settings } }),
      disk: process.disk,
      clock: process.clock,
      random: random.fork(`start ${this.starts}`),
      network: process.network,
      logger,
      workers: new SimWorkers({ disk: process.disk, clock: process.clock, logger }),
      loadAssets,
      serveHttp: () => {
        throw new Error("no HTTP here");
      },
      usage: SIM_USAGE,
      version: "0.0.0",
      onFailure: (message) => void this.#gaveUp(process, message).catch(fail),
    });
  }

  /** The broker says that it cannot go on. */
  async #gaveUp(process: SimProcess, message: string): Promise<void> {
    if (process.isDead) return;
    this.#trace(`gave up: ${message}`);
    if (!this.mayFail) throw new Error(`node ${this.nodeId} gave up: ${message}`);
    // A start that fails says so itself, and whoever stops it is at it.
    if (process !== this.#process || this.broker === null) return;
    await this.#alone(async () => {
      await this.#stop();
      await this.#options.clock.sleep(RESTART_MS);
      await this.#startUntilUp();
    });
  }

  async #stop(): Promise<void> {
    const { broker } = this;
    if (broker === null) return;
    this.broker = null;
    this.#trace("stops");
    const isStopped = await Promise.race([
      Promise.race([broker.stop(), this.#process!.died]).then(() => true),
      this.#options.clock.sleep(STOP_MS).then(() => false),
    ]);
    this.#trace(isStopped ? "stopped" : "did not stop in time");
    if (!isStopped && !this.mayFail) {
      throw new Error(`node ${this.nodeId} did not stop within ${STOP_MS} ms`);
    }
    this.#end("kill");
  }

  /** The process is no more. */
  #end(death: Death): void {
    const { network } = this.#options;
    this.broker = null;
    this.#isPaused = false;
    // Killed before it could leave word of a failed sync: nobody can know, and the machine must go as well.
    const isUnknown = this.disk.hasDropped && !this.disk.exists(FAILED_MARK);
    const cameTo = isUnknown ? "power cut" : death;
    this.#trace(cameTo);
    this.#process?.die(cameTo);
    if (cameTo === "power cut") {
      network.links.setPower(this.host, false);
      this.disk.crash();
    } else this.disk.kill();
  }
}
