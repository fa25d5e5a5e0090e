/**
 * A broker of the series and of the soak: one node that keeps its directory from start to start, ends cleanly or by
 * `kill -9`, and is looked into while it runs.
 */

import process from "node:process";
import type { KafkaClient } from "../../broker/client/kafka_client.ts";
import {
  cpuSecondsOf,
  longestHoldMs,
  metricsOf,
  openFileCount,
  peakResidentBytes,
  residentBytes,
} from "../../tests/bench/broker_figures.ts";
import { freePeerPort } from "../../tests/compat/kafka_peer.ts";
import { answers, lookUntil } from "./brokers.ts";
import type { NodeKind, NodePlace } from "./kinds.ts";
import { clientOf } from "./suite.ts";

/** The same command with as many open files as the system grants. */
export function raised(command: readonly string[]): string[] {
  return ["sh", "-c", 'ulimit -n "$(ulimit -Hn)" && exec "$@"', "sh", ...command];
}

/** How many files and sockets a process may have open at most; Infinity where there is no bound. */
export function openFileLimit(): number {
  const said = Bun.spawnSync(["sh", "-c", "ulimit -Hn"]).stdout.toString().trim();
  return said === "unlimited" ? Infinity : Number(said);
}

/** One node. */
export class BenchNode {
  readonly kind: NodeKind;
  readonly bootstrap: string;
  readonly client: KafkaClient;
  readonly #place: NodePlace;
  #child: Bun.Subprocess<"ignore", "ignore", "ignore"> | null = null;
  readonly #killAtExit = () => this.#child?.kill("SIGKILL");

  private constructor(kind: NodeKind, place: NodePlace) {
    this.kind = kind;
    this.#place = place;
    this.bootstrap = `127.0.0.1:${place.port}`;
    this.client = clientOf(this);
    process.on("exit", this.#killAtExit);
  }

  /** Makes its directory ready; it does not run yet. */
  static async make(kind: NodeKind, directory: string): Promise<BenchNode> {
    const place = { port: await freePeerPort(), httpPort: await freePeerPort(), directory };
    await kind.prepare(place);
    return new BenchNode(kind, place);
  }

  /**
   * Starts it. Returns: how long its first answer took from the start of the process, the peer's script included, in ms.
   * Errors: rejects when it ends before.
   */
  async start(): Promise<number> {
    const startedMs = performance.now();
    const child = Bun.spawn(raised(this.kind.command(this.#place)), {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
    });
    this.#child = child;
    await this.whenSo("it answers", () => answers(this.bootstrap));
    return performance.now() - startedMs;
  }

  /** Looks until it is so. Errors: rejects when the process ends before, or after minutes. */
  async whenSo(what: string, isSo: () => Promise<boolean>): Promise<void> {
    const { name } = this.kind;
    await lookUntil(`${name}: ${what}`, async () => {
      if (await isSo()) return true;
      const code = this.#child?.exitCode ?? null;
      if (code !== null) throw new Error(`${name} ended with code ${code} before ${what}`);
      return false;
    });
  }

  /** Ends it as it ends by itself. */
  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  /** Ends it as a power cut would, as far as a process can. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Ends it for good. */
  async close(): Promise<void> {
    await this.client.close();
    await this.stop();
    process.off("exit", this.#killAtExit);
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    this.#child?.kill(signal);
    await this.#child?.exited;
    this.#child = null;
  }

  get #pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Since it was started. */
  cpuSeconds(): number {
    return cpuSecondsOf(this.#pid);
  }

  /** What is resident now. */
  residentBytes(): number {
    return residentBytes(this.#pid);
  }

  /** The most that was resident since it was started. */
  peakResidentBytes(): number {
    return peakResidentBytes(this.#pid);
  }

  /** Files and sockets. */
  openFileCount(): number {
    return openFileCount(this.#pid);
  }

  /** Its metrics; null where it has none. */
  async metrics(): Promise<string | null> {
    return this.kind.hasMetrics ? await metricsOf(this.#place) : null;
  }
}

/** What `holdSince` knows after a look. */
export interface HoldLook {
  /** The longest hold of the loop since the look before, as a bound of the histogram; null where it is not told. */
  readonly holdMs: number | null;
  readonly metrics: string | null;
}

/** Looks how long the loop was held since a look. */
export async function holdSince(node: BenchNode, before: string | null): Promise<HoldLook> {
  const metrics = await node.metrics();
  return { metrics, holdMs: metrics === null ? null : longestHoldMs(metrics, before ?? "") };
}
