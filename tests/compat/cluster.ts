/**
 * A cluster of real processes on loopback, each behind a proxy of its own (`proxy.ts`): clients and nodes reach
 * a node at its proxy, so that any of them can be cut off from any other, in one direction or both.
 */

import { createServer } from "node:net";
import process from "node:process";
import { clusterWord, isInSync } from "./availability_probe.ts";
import { eventually, type RunningBroker, scratchDirectory, startWeir } from "./harness.ts";
import { ProxiedWays } from "./proxy.ts";

const HOST = "127.0.0.1";
const LOOK_MS = 100;

/** Ports of one node: where it listens, and where its proxy does. */
interface Ports {
  readonly kafka: number;
  readonly controller: number;
  readonly kafkaProxy: number;
  readonly controllerProxy: number;
}

/** Options of `RealCluster.start`. */
export interface RealClusterOptions {
  readonly nodes: number;
  readonly settings?: Readonly<Record<string, string>>;
  /** Command that starts a node in place of `bun main.ts`. */
  readonly command?: readonly string[];
  /** False for nodes that are reached straight: none of them can be cut off. */
  readonly isProxied?: boolean;
}

/** Nodes 1 to `count`, each broker and controller. */
export class RealCluster {
  readonly ways = new ProxiedWays();
  readonly #options: RealClusterOptions;
  readonly #ports: Ports[] = [];
  readonly #directories: string[] = [];
  readonly #running = new Map<number, RunningBroker>();
  /** Every process that was started, by its node. */
  readonly #lives = new Map<number, RunningBroker[]>();

  private constructor(options: RealClusterOptions) {
    this.#options = options;
  }

  /** Starts every node. Returns: when all of them serve. */
  static async start(options: RealClusterOptions): Promise<RealCluster> {
    const cluster = new RealCluster(options);
    for (let node = 1; node <= options.nodes; node++) {
      const [kafka, controller] = await freePorts();
      const { isProxied = true } = options;
      const reached = (port: number) => (
        isProxied ? cluster.ways.proxy(String(node), port) : Promise.resolve(port)
      );
      const [kafkaProxy, controllerProxy] = [await reached(kafka), await reached(controller)];
      cluster.#ports.push({ kafka, controller, kafkaProxy, controllerProxy });
      cluster.#directories.push(scratchDirectory(`cluster-${node}`));
    }
    try {
      await Promise.all(cluster.nodeIds.map((node) => cluster.startNode(node)));
    } catch (failure) {
      await cluster.close();
      throw failure;
    }
    return cluster;
  }

  get nodeIds(): number[] {
    return Array.from({ length: this.#options.nodes }, (_, at) => at + 1);
  }

  /** Where clients reach the nodes. */
  get addresses(): string[] {
    return this.#ports.map(({ kafkaProxy }) => `${HOST}:${kafkaProxy}`);
  }

  /** The same as one word. */
  get bootstrap(): string {
    return this.addresses.join(",");
  }

  /** Returns: when every node says that every partition has a leader and all of its replicas in sync. */
  async whenInSync(timeoutMs = 60_000): Promise<void> {
    await eventually("all replicas in sync, as every node knows", async () => {
      // Each look opens connections.
      await Bun.sleep(LOOK_MS);
      const words = await Promise.all(
        this.addresses.map((address) => clusterWord(address).catch(() => null)),
      );
      return words.every((word) => word !== null && isInSync(word)) || undefined;
    }, timeoutMs);
  }

  /** The process of a node. Errors: throws when it does not run. */
  node(nodeId: number): RunningBroker {
    const running = this.#running.get(nodeId);
    if (running === undefined) throw new Error(`node ${nodeId} does not run`);
    return running;
  }

  /** What a node has printed, in all of its lives. */
  output(nodeId: number): string {
    return (this.#lives.get(nodeId) ?? []).map((life) => life.output()).join("\n");
  }

  /** Where a node keeps its data. */
  directory(nodeId: number): string {
    return this.#directories[nodeId - 1]!;
  }

  async startNode(nodeId: number): Promise<void> {
    const ports = this.#ports[nodeId - 1]!;
    const voters = this.#ports.map(({ controllerProxy }, at) => (
      `${at + 1}@${HOST}:${controllerProxy}`
    ));
    const running = await startWeir({
      dataDirectory: this.directory(nodeId),
      ...(this.#options.command !== undefined && { command: this.#options.command }),
      settings: {
        "node.id": String(nodeId),
        "process.roles": "broker,controller",
        listeners: `PLAINTEXT://${HOST}:${ports.kafka},CONTROLLER://${HOST}:${ports.controller}`,
        "advertised.listeners": `PLAINTEXT://${HOST}:${ports.kafkaProxy},` +
          `CONTROLLER://${HOST}:${ports.controllerProxy}`,
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": voters.join(","),
        "default.replication.factor": String(Math.min(3, this.#options.nodes)),
        "offsets.topic.replication.factor": String(Math.min(3, this.#options.nodes)),
        "offsets.topic.num.partitions": "3",
        "min.insync.replicas": this.#options.nodes > 2 ? "2" : "1",
        "group.initial.rebalance.delay.ms": "0",
        ...this.#options.settings,
      },
    });
    this.#running.set(nodeId, running);
    this.#lives.set(nodeId, [...this.#lives.get(nodeId) ?? [], running]);
  }

  /** kill -9. */
  async kill(nodeId: number): Promise<void> {
    const running = this.node(nodeId);
    this.#running.delete(nodeId);
    await running.kill();
  }

  /** SIGTERM. Returns: the exit code. */
  async stop(nodeId: number): Promise<number> {
    const running = this.node(nodeId);
    this.#running.delete(nodeId);
    return await running.stop();
  }

  signal(nodeId: number, signal: "SIGSTOP" | "SIGCONT"): void {
    process.kill(this.node(nodeId).pid, signal);
  }

  /** Cuts a node off from everybody, until `ways.heal`. */
  isolate(nodeId: number): void {
    this.ways.isolate(String(nodeId), this.nodeIds.map(String));
  }

  /** Ends everything by force. */
  async close(): Promise<void> {
    this.ways.heal();
    await Promise.all([...this.#running.values()].map((running) => running.kill()));
    this.#running.clear();
    this.ways.close();
  }
}

/** Two ports that are free now, and not the same. */
async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()];
  const ports = await Promise.all(servers.map(async (server) => {
    await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
    return (server.address() as { port: number }).port;
  }));
  await Promise.all(
    servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
  );
  return ports as [number, number];
}
