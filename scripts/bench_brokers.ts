/** The brokers that `scripts/bench.ts` measures: processes on loopback, and what the system knows of them. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { cpuSecondsOf, peakResidentBytes } from "../tests/bench/broker_figures.ts";
import { KAFKA, runOk, serveCommand } from "../tests/compat/harness.ts";
import { freePeerPort } from "../tests/compat/kafka_peer.ts";
import { Wire } from "../tests/compat/wire.ts";
import { apiVersionsRequest, apiVersionsResponse } from "../protocol/schemas/api_versions.ts";

const START_TIMEOUT_MS = 60_000;
const LOOK_MS = 2;

/** A kind of broker, started as often as is wanted. */
export interface BrokerKind {
  readonly name: string;
  readonly version: string;
  /** Makes a data directory ready, where that is a step of its own. */
  prepare(place: BrokerPlace): Promise<void>;
  /** Starts it; the process must be the broker's own. */
  command(place: BrokerPlace): readonly string[];
}

/** Where one runs. */
export interface BrokerPlace {
  readonly port: number;
  readonly directory: string;
}

/** One that runs. */
export interface MeasuredBroker {
  readonly kind: BrokerKind;
  readonly bootstrap: string;
  /** From the start of the process, the peer's script included, to its first answer. Units: ms. */
  readonly startMs: number;
  cpuSeconds(): number;
  /** The most that was resident so far. */
  peakResidentBytes(): number;
  stop(): Promise<void>;
}

/** weir by its command, such as the compiled file. */
export function weirKind(command: readonly string[], version: string): BrokerKind {
  return {
    name: "weir",
    version,
    prepare: () => Promise.resolve(),
    command: ({ port, directory }) => serveCommand({ command, port, dataDirectory: directory }),
  };
}

/** Apache Kafka by its script beside the repository, with that script's defaults. Errors: rejects where it is not there. */
export async function kafkaKind(): Promise<BrokerKind> {
  if (!existsSync(KAFKA)) throw new Error(`Cannot start Apache Kafka: there is no ${KAFKA}`);
  const version = (await runOk([KAFKA, "version"])).trim();
  const flags = ({ port, directory }: BrokerPlace) => ["--port", String(port), "--dir", directory];
  return {
    name: "Apache Kafka",
    version,
    prepare: async (place) => void await runOk([KAFKA, "format", ...flags(place)]),
    command: (place) => [KAFKA, "broker", ...flags(place)],
  };
}

/** Starts one in an empty directory and waits for its first answer. Errors: rejects when it ends before. */
export async function startBroker(
  kind: BrokerKind,
  { parent, name }: { readonly parent: string; readonly name: string },
): Promise<MeasuredBroker> {
  const place = { port: await freePeerPort(), directory: join(parent, name) };
  await kind.prepare(place);
  const startedMs = performance.now();
  const child = Bun.spawn([...kind.command(place)], { stdout: "ignore", stderr: "ignore" });
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  const bootstrap = `127.0.0.1:${place.port}`;
  while (!await answers(bootstrap)) {
    if (child.exitCode !== null) {
      throw new Error(`Cannot start ${kind.name}: it ended with code ${child.exitCode}`);
    }
    if (performance.now() - startedMs > START_TIMEOUT_MS) {
      child.kill("SIGKILL");
      throw new Error(`Cannot start ${kind.name}: no answer for ${START_TIMEOUT_MS / 1000} s`);
    }
    await Bun.sleep(LOOK_MS);
  }
  return {
    kind,
    bootstrap,
    startMs: performance.now() - startedMs,
    cpuSeconds: () => cpuSecondsOf(child.pid),
    peakResidentBytes: () => peakResidentBytes(child.pid),
    async stop() {
      child.kill("SIGTERM");
      await child.exited;
      process.off("exit", killAtExit);
    },
  };
}

/** Whether a broker serves: it says which versions it knows. */
export async function answers(bootstrap: string): Promise<boolean> {
  const wire = await Wire.connect(bootstrap).catch(() => null);
  if (wire === null) return false;
  try {
    await wire.send(apiVersionsRequest, apiVersionsResponse, 3, {
      clientSoftwareName: "bench",
      clientSoftwareVersion: "1",
    });
    return true;
  } catch {
    // It has opened its port and is not up yet.
    return false;
  } finally {
    wire.close();
  }
}
