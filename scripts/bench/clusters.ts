/** Clusters of three nodes, each broker and controller, as kinds of brokers that `scripts/bench.ts` measures. */

import { existsSync } from "node:fs";
import process from "node:process";
import { clusterWord } from "../../tests/compat/availability_probe.ts";
import { KAFKA, runOk, serveCommand } from "../../tests/compat/harness.ts";
import { CONTROLLER_PORT_DISTANCE, freePeerPort } from "../../tests/compat/kafka_peer.ts";
import { type BrokerKind, measuredBroker, startProcesses, whenUp } from "./brokers.ts";
import { kafkaVersion, versionOf } from "./kinds.ts";

const HOST = "127.0.0.1";
const NODES = [1, 2, 3] as const;
/** A JVM that has just been started takes its time on a machine of few processors. */
const ANSWER_MS = 10_000;
/** Looks at three nodes cost them something, too. */
const REST_MS = 8;

/** A cluster of weir, and of the peer where it is wanted. Errors: rejects where one of them is not there. */
export async function clusterKindsOf(
  command: readonly string[],
  hasPeer: boolean,
): Promise<BrokerKind[]> {
  return [weirCluster(command), ...(hasPeer ? [await kafkaCluster()] : [])];
}

/** With nothing set but who the nodes are, and where. */
function weirCluster(command: readonly string[]): BrokerKind {
  const kind: BrokerKind = {
    name: "weir",
    version: versionOf(command),
    async start(directory) {
      const port = await freePeerPort(NODES.length);
      const addresses = addressesFrom(port);
      const controllers = addressesFrom(port + CONTROLLER_PORT_DISTANCE);
      const voters = controllers.map((address, at) => `${NODES[at]}@${address}`);
      const commands = NODES.map((nodeId, at) => {
        const settings = {
          "node.id": String(nodeId),
          "process.roles": "broker,controller",
          listeners: `PLAINTEXT://${addresses[at]},CONTROLLER://${controllers[at]}`,
          "controller.listener.names": "CONTROLLER",
          "controller.quorum.voters": voters.join(","),
        };
        return serveCommand({ command, dataDirectory: `${directory}-${nodeId}`, settings });
      });
      return await startProcesses(kind, { directory, addresses, commands, isUp: knowsAll });
    },
  };
  return kind;
}

/** By its script, with that script's defaults; formatted before the time counts. */
async function kafkaCluster(): Promise<BrokerKind> {
  const kind: BrokerKind = {
    name: "Apache Kafka",
    version: await kafkaVersion(),
    async start(directory) {
      const port = await freePeerPort(NODES.length);
      const addresses = addressesFrom(port);
      const flags = ["--port", String(port), "--dir", directory];
      await runOk([KAFKA, "cluster3", "--format-only", ...flags]);
      const startedMs = performance.now();
      await runOk([KAFKA, "cluster3", "--no-wait", ...flags]);
      const said = await runOk([KAFKA, "cluster3-pids", "--dir", directory]);
      const pids = said.trim().split("\n").map(Number);
      const killAll = () => pids.forEach(killIfThere);
      process.on("exit", killAll);
      const stop = async () => {
        await runOk([KAFKA, "cluster3-stop", "--dir", directory]);
        process.off("exit", killAll);
      };
      try {
        await whenUp(kind, addresses, async (address) => {
          // A node gives up where it is not registered within a minute.
          if (pids.every((pid) => existsSync(`/proc/${pid}`))) return await knowsAll(address);
          throw new Error(`Cannot start ${kind.name}: one of its nodes has ended`);
        });
        return measuredBroker(kind, addresses, { pids, startedMs, stop });
      } catch (failure) {
        await stop();
        throw failure;
      }
    },
  };
  return kind;
}

function addressesFrom(port: number): string[] {
  return NODES.map((_, at) => `${HOST}:${port + at}`);
}

/** True once a node says that all of them are there. */
async function knowsAll(address: string): Promise<boolean> {
  const word = await clusterWord(address, null, ANSWER_MS).catch(() => null);
  const isAll = word !== null && word.brokers.length === NODES.length;
  if (!isAll) await Bun.sleep(REST_MS);
  return isAll;
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}
