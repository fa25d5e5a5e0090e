/** The brokers that `scripts/bench.ts` measures: processes on loopback, and what the system knows of them. */

import process from "node:process";
import {
  cpuSecondsOf,
  peakResidentBytes,
  residentBytes,
} from "../../tests/bench/broker_figures.ts";
import { freePeerPort } from "../../tests/compat/kafka_peer.ts";
import { Wire } from "../../tests/compat/wire.ts";
import { apiVersionsRequest, apiVersionsResponse } from "../../protocol/schemas/api_versions.ts";
import { type NodeKind, nodeKindsOf } from "./kinds.ts";

const START_TIMEOUT_MS = 180_000;
const LOOK_MS = 2;
/** So much of what a process said at last is said again. */
const MAX_SAID = 2000;

/** A kind of broker, started as often as is wanted; a cluster of several nodes is one, too. */
export interface BrokerKind {
  readonly name: string;
  readonly version: string;
  /** Starts it in a directory that is not there yet. Returns: when it serves. Errors: rejects when it ends before. */
  start(directory: string): Promise<MeasuredBroker>;
}

/** One that runs. */
export interface MeasuredBroker {
  readonly kind: BrokerKind;
  /** Where its nodes are reached. */
  readonly addresses: readonly string[];
  /** The same as one word. */
  readonly bootstrap: string;
  /** From the start of the processes, the peer's script included, until all serve. Units: ms. */
  readonly startMs: number;
  /** Of all nodes together. */
  cpuSeconds(): number;
  /** The most that was resident so far in each node, all together. */
  peakResidentBytes(): number;
  /** What is resident now. */
  residentBytes(): number;
  stop(): Promise<void>;
}

/** The name of its directories and the like. */
export function shortName({ name }: BrokerKind): "weir" | "peer" {
  return name === "weir" ? "weir" : "peer";
}

/** One node of weir, and of the peer where it is wanted. Errors: rejects where one of them is not there. */
export async function kindsOf(
  command: readonly string[],
  hasPeer: boolean,
): Promise<BrokerKind[]> {
  return (await nodeKindsOf(command, hasPeer)).map(brokerOf);
}

/** One of a single node. */
function brokerOf(node: NodeKind): BrokerKind {
  const kind: BrokerKind = {
    name: node.name,
    version: node.version,
    async start(directory) {
      // Nobody asks for its HTTP port: any will do.
      const place = { port: await freePeerPort(), httpPort: 0, directory };
      await node.prepare(place);
      const addresses = [`127.0.0.1:${place.port}`];
      const commands = [node.command(place)];
      return await startProcesses(kind, { directory, addresses, commands, isUp: answers });
    },
  };
  return kind;
}

/** Starts processes side by side, one a node, and waits until each is up. Errors: rejects when one ends before. */
export async function startProcesses(
  kind: BrokerKind,
  { directory, addresses, commands, isUp }: {
    /** What they say lies beside it. */
    readonly directory: string;
    readonly addresses: readonly string[];
    /** Shape: in the order of the addresses. Each process must be the node's own. */
    readonly commands: readonly (readonly string[])[];
    readonly isUp: (address: string) => Promise<boolean>;
  },
): Promise<MeasuredBroker> {
  const startedMs = performance.now();
  const logs = commands.map((_, at) => Bun.file(`${directory}-${at + 1}.log`));
  const children = commands.map((command, at) => {
    return Bun.spawn([...command], { stdout: "ignore", stderr: logs[at]! });
  });
  const killAll = () => {
    for (const child of children) child.kill("SIGKILL");
  };
  process.on("exit", killAll);
  const running = { pids: children.map(({ pid }) => pid), startedMs };
  try {
    await whenUp(kind, addresses, async (address) => {
      const at = children.findIndex(({ exitCode }) => exitCode !== null);
      if (at === -1) return await isUp(address);
      const { exitCode } = children[at]!;
      const said = (await logs[at]!.text()).slice(-MAX_SAID);
      throw new Error(`Cannot start ${kind.name}: it ended with code ${exitCode}: ${said}`);
    });
    return measuredBroker(kind, addresses, {
      ...running,
      async stop() {
        for (const child of children) child.kill("SIGTERM");
        await Promise.all(children.map(({ exited }) => exited));
        process.off("exit", killAll);
      },
    });
  } catch (failure) {
    killAll();
    process.off("exit", killAll);
    throw failure;
  }
}

/** Looks at each address until it is up. Errors: rejects when a look does, or after `START_TIMEOUT_MS`. */
export async function whenUp(
  { name }: BrokerKind,
  addresses: readonly string[],
  isUp: (address: string) => Promise<boolean>,
): Promise<void> {
  const what = `${name} is up`;
  await Promise.all(addresses.map((address) => lookUntil(what, () => isUp(address))));
}

/** Looks often, so that the time until then can be told. Errors: rejects when a look does, or after `START_TIMEOUT_MS`. */
export async function lookUntil(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + START_TIMEOUT_MS;
  while (!await isSo()) {
    if (performance.now() > deadlineMs) {
      throw new Error(`Waited ${START_TIMEOUT_MS / 1000} s in vain: ${what}`);
    }
    await Bun.sleep(LOOK_MS);
  }
}

/** What is measured of processes that are up now. */
export function measuredBroker(
  kind: BrokerKind,
  addresses: readonly string[],
  { pids, startedMs, stop }: {
    readonly pids: readonly number[];
    readonly startedMs: number;
    readonly stop: () => Promise<void>;
  },
): MeasuredBroker {
  const sum = (read: (pid: number) => number) => pids.reduce((all, pid) => all + read(pid), 0);
  return {
    kind,
    addresses,
    bootstrap: addresses.join(","),
    startMs: performance.now() - startedMs,
    cpuSeconds: () => sum(cpuSecondsOf),
    peakResidentBytes: () => sum(peakResidentBytes),
    residentBytes: () => sum(residentBytes),
    stop,
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
