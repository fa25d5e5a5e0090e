/**
 * What goes wrong in a simulated cluster: one entry a kind of fault. Each begins, lasts for a while by chance,
 * and ends by itself; several may overlap. A seed has some of the kinds and not the others.
 */

import { batchSizeBytes, RECORD_BATCH_OVERHEAD } from "../../protocol/record_batch.ts";
import type { Log } from "../../storage/log.ts";
import { ALL_WEATHERS, WEATHERS } from "./disk_weather.ts";
import type { ClusterNode } from "./cluster_node.ts";
import type { Death } from "./sim_process.ts";
import type { SimClock } from "./sim_clock.ts";
import type { SimNetwork } from "./sim_network.ts";
import type { SimRandom } from "./sim_random.ts";

/** The cluster as faults see it. */
export interface FaultyCluster {
  readonly clock: SimClock;
  readonly random: SimRandom;
  readonly network: SimNetwork;
  readonly nodes: readonly ClusterNode[];
  readonly clientHosts: readonly string[];
  readonly trace: (line: string) => void;
  /** Waits, until the cluster is healed at the longest. */
  readonly pass: (ms: number) => Promise<void>;
  replaceMember(): void;
}

/** A kind of fault. */
export interface Fault {
  /** Happens only in clusters of so many nodes. */
  readonly minNodes: number;
  /** True for one that is in no mix: a life that has it need not end well. */
  readonly isOnlyAsked?: boolean;
  happen(cluster: FaultyCluster): Promise<void>;
}

const BREAKING = ALL_WEATHERS.filter((weather) => WEATHERS[weather].breaks);
const PASSING = ALL_WEATHERS.filter((weather) => !WEATHERS[weather].breaks);

/** How long something lasts: mostly short, now and then longer than every timeout. */
function whileMs(random: SimRandom): number {
  return random.below(random.pick([300, 3_000, 3_000, 15_000, 40_000]));
}

function machines({ nodes, clientHosts }: FaultyCluster): string[] {
  return [...nodes.map(({ host }) => host), ...clientHosts];
}

/** Cuts ways for a while. */
async function cut(
  { network, pass, random, trace }: FaultyCluster,
  ways: readonly (readonly [from: string, to: string])[],
): Promise<void> {
  for (const [from, to] of ways) network.links.cut(from, to);
  trace(`cut: ${ways.map(([from, to]) => `${from}>${to}`).join(" ")}`);
  await pass(whileMs(random));
  for (const [from, to] of ways) network.links.mend(from, to);
}

async function weather(
  { nodes, random, pass }: FaultyCluster,
  kinds: readonly (typeof ALL_WEATHERS)[number][],
): Promise<void> {
  const node = random.pick(nodes);
  node.spoil(random.pick(kinds));
  await pass(whileMs(random));
  node.mend();
}

/** How many bytes of a batch lie before those that its checksum covers, and where its leader epoch is, which nothing covers. */
const UNCHECKED = { fromByte: 12, toByte: 16 } as const;
/** A node that is down for so long is fenced. */
const FENCED_MS = 3_000;
/** How long a damaged replica may take until it is repaired, while other faults go on. */
const REPAIR_MS = 60_000;
const damagedClusters = new WeakSet<SimClock>();

/** Every replica of the topics that clients write is in sync, and nothing of it is known to be damaged. */
export function isWhole({ nodes }: Pick<FaultyCluster, "nodes">): boolean {
  for (const { broker } of nodes) {
    if (broker === null) return false;
    for (const partition of broker.subsystems.replicaManager.partitions()) {
      const { isr, replicas, leader } = partition.image;
      if (leader < 0 || isr.length < replicas.length || partition.log.damage !== null) return false;
    }
  }
  return true;
}

/** Logs that can be read again by somebody else. */
function replicatedLogs({ broker }: ClusterNode): Log[] {
  return [...broker!.subsystems.replicaManager.partitions()]
    .filter(({ image, log }) =>
      // What is compacted is not compared batch by batch, so that nobody comes upon it soon.
      image.replicas.length > 2 && !log.config.cleanupPolicy.includes("compact")
    )
    .map(({ log }) => log)
    .filter(({ sizeBytes }) => sizeBytes > 0);
}

/** Turns bits over in one batch of one of the segments. Returns: true while it is as wrong as that. */
function damageBatch(
  { disk }: ClusterNode,
  paths: readonly string[],
  random: SimRandom,
): (() => boolean) | null {
  const path = random.pick(paths);
  if (!disk.exists(path)) return null;
  const bytes = disk.bytesOf(path);
  const starts: number[] = [];
  for (let at = 0; at + RECORD_BATCH_OVERHEAD <= bytes.length;) {
    const sizeBytes = batchSizeBytes(bytes, at);
    if (sizeBytes < RECORD_BATCH_OVERHEAD || at + sizeBytes > bytes.length) break;
    starts.push(at);
    at += sizeBytes;
  }
  if (starts.length === 0) return null;
  const start = random.pick(starts);
  const sizeBytes = batchSizeBytes(bytes, start);
  for (let count = random.between(1, 3); count > 0; count--) {
    const byte = random.below(sizeBytes - (UNCHECKED.toByte - UNCHECKED.fromByte));
    const position = start + (byte < UNCHECKED.fromByte ? byte : byte + 4);
    disk.flipBit(path, position, random.below(8));
  }
  const damaged = disk.bytesOf(path).slice(start, start + sizeBytes);
  return () => {
    if (!disk.exists(path)) return false;
    const now = disk.bytesOf(path).subarray(start, start + sizeBytes);
    return now.length === sizeBytes && now.every((byte, at) => byte === damaged[at]);
  };
}

/** The others serve, and have the partition without this node: what it held is one copy too many. */
function isSpare({ nodes }: FaultyCluster, node: ClusterNode, { topicPartition }: Log): boolean {
  const { topic, partition } = topicPartition;
  return nodes.filter((other) => other !== node).every(({ broker }) => {
    const image = broker?.subsystems.controller.image().topicByName(topic)?.partitions[partition];
    return image !== undefined && image.isr.length > 1 && !image.isr.includes(node.nodeId);
  });
}

/**
 * A disk comes back with flipped bits in one replica, which the others do without by then: two copies are what
 * three replicas can lose one of. Never a second one before all is whole again.
 */
async function diskDamaged(cluster: FaultyCluster): Promise<void> {
  const { clock, random, nodes } = cluster;
  if (damagedClusters.has(clock)) return;
  damagedClusters.add(clock);
  // What else goes wrong leaves it whole for moments only.
  for (let count = 0; count < 50 && !isWhole(cluster); count++) await clock.sleep(100);
  const node = random.pick(nodes);
  const logs = isWhole(cluster) ? replicatedLogs(node) : [];
  if (logs.length === 0) {
    damagedClusters.delete(clock);
    return;
  }
  const log = random.pick(logs);
  const death = random.pick(["kill", "power cut"] as const);
  const isMended = await crashAndDamage(cluster, node, log, { death, isNeeded: false });
  const untilMs = clock.monotonicMs() + REPAIR_MS;
  while (!isMended() && clock.monotonicMs() < untilMs) await clock.sleep(500);
  // What nobody has come upon in that time may still be there when another copy is lost.
  if (isMended()) damagedClusters.delete(clock);
}

/** Returns: what says whether the damage is gone, once the node serves again. */
async function crashAndDamage(
  cluster: FaultyCluster,
  node: ClusterNode,
  log: Log,
  { death, isNeeded }: { readonly death: Death; readonly isNeeded: boolean },
): Promise<() => boolean> {
  const { random, trace } = cluster;
  const paths = log.segments.map(({ path }) => path);
  let isWrong: (() => boolean) | null = null;
  await node.crash(death, isNeeded ? 0 : FENCED_MS + whileMs(random), () => {
    if (!isNeeded && !isSpare(cluster, node, log)) return;
    isWrong = damageBatch(node, paths, random);
    if (isWrong !== null) trace(`node ${node.nodeId}: bits of ${log.name} are flipped`);
  });
  return () => isWrong === null || !isWrong();
}

/**
 * All lose their power, and one comes back at once with flipped bits: it may be the last one that is known to have
 * everything, and then nobody may lead. A cluster need not get over this; it must not lose anything that it says it has.
 */
async function damagedInAPowerCutOfAll(cluster: FaultyCluster): Promise<void> {
  const { random, nodes } = cluster;
  if (!isWhole(cluster)) return;
  const node = random.pick(nodes);
  const [log] = replicatedLogs(node);
  if (log === undefined) return;
  await Promise.all(
    nodes.map((other) =>
      other === node
        ? crashAndDamage(cluster, node, log, { death: "power cut", isNeeded: true })
        : other.crash("power cut", random.below(1_000))
    ),
  );
}

/** By name. */
export const FAULTS: Readonly<Record<string, Fault>> = {
  kill: {
    minNodes: 1,
    happen: ({ nodes, random }) => random.pick(nodes).crash("kill", whileMs(random)),
  },
  "dies in a call": {
    minNodes: 1,
    happen: ({ nodes, random }) =>
      random.pick(nodes).dieAt(
        random.below(random.pick([5, 100])),
        random.pick(["kill", "power cut"]),
        whileMs(random),
      ),
  },
  "power cut": {
    minNodes: 1,
    happen: ({ nodes, random }) => random.pick(nodes).crash("power cut", whileMs(random)),
  },
  "power cut of all": {
    minNodes: 2,
    async happen({ nodes, random }) {
      await Promise.all(nodes.map((node) => node.crash("power cut", whileMs(random))));
    },
  },
  "disk damaged": { minNodes: 3, happen: diskDamaged },
  "damaged in a power cut of all": {
    minNodes: 3,
    isOnlyAsked: true,
    happen: damagedInAPowerCutOfAll,
  },
  pause: {
    minNodes: 1,
    happen: ({ nodes, random }) => random.pick(nodes).pause(whileMs(random)),
  },
  restart: {
    minNodes: 1,
    happen: ({ nodes, random }) => random.pick(nodes).restart(random.below(2_000)),
  },
  "rolling restart": {
    minNodes: 2,
    async happen({ nodes, random }) {
      for (const node of nodes) await node.restart(random.below(2_000));
    },
  },
  "passing weather": { minNodes: 1, happen: (cluster) => weather(cluster, PASSING) },
  "breaking weather": { minNodes: 1, happen: (cluster) => weather(cluster, BREAKING) },
  "wall clock jumps": {
    minNodes: 1,
    happen({ nodes, random, trace }) {
      const node = random.pick(nodes);
      node.wallSkewMs = random.between(-1, 1) * random.pick([50, 5_000, 3_600_000]);
      trace(`node ${node.nodeId}: its wall clock is ${node.wallSkewMs} ms wrong`);
      return Promise.resolve();
    },
  },
  "one way cut": {
    minNodes: 1,
    async happen(cluster) {
      const all = machines(cluster);
      const from = cluster.random.pick(all);
      const to = cluster.random.pick(all.filter((host) => host !== from));
      await cut(cluster, [[from, to]]);
    },
  },
  "node cut off": {
    minNodes: 1,
    async happen(cluster) {
      const { host } = cluster.random.pick(cluster.nodes);
      const others = machines(cluster).filter((other) => other !== host);
      await cut(cluster, others.flatMap((other) => [[host, other], [other, host]] as const));
    },
  },
  "cluster split": {
    minNodes: 3,
    async happen(cluster) {
      const hosts = cluster.nodes.map(({ host }) => host);
      const side = new Set(hosts.filter(() => cluster.random.chance(0.5)));
      await cut(
        cluster,
        hosts.flatMap((from) =>
          hosts.filter((to) => side.has(from) !== side.has(to)).map((to) => [from, to] as const)
        ),
      );
    },
  },
  "slow link": {
    minNodes: 1,
    async happen(cluster) {
      const { network, pass, random } = cluster;
      const all = machines(cluster);
      const from = random.pick(all);
      const to = random.pick(all.filter((host) => host !== from));
      network.links.slow(from, to, random.pick([20, 200, 2_000]));
      await pass(whileMs(random));
      network.links.slow(from, to, 0);
    },
  },
  "a consumer dies": {
    minNodes: 1,
    happen(cluster) {
      cluster.replaceMember();
      return Promise.resolve();
    },
  },
  "connections break": {
    minNodes: 1,
    happen({ network, nodes, random }) {
      for (const connection of network.connectionsOf(random.pick(nodes).host)) {
        if (random.chance(0.5)) continue;
        if (random.chance(0.4)) connection.reset();
        else if (random.chance(0.5)) connection.breakHere();
        else connection.peer!.breakHere();
      }
      return Promise.resolve();
    },
  },
};
