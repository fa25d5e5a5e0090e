/**
 * What goes wrong in a simulated cluster: one entry a kind of fault. Each begins, lasts for a while by chance,
 * and ends by itself; several may overlap. A seed has some of the kinds and not the others.
 */

import { ALL_WEATHERS, WEATHERS } from "./disk_weather.ts";
import type { ClusterNode } from "./cluster_node.ts";
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
  replaceMember(): void;
}

/** A kind of fault. */
export interface Fault {
  /** Happens only in clusters of so many nodes. */
  readonly minNodes: number;
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
  { network, clock, random, trace }: FaultyCluster,
  ways: readonly (readonly [from: string, to: string])[],
): Promise<void> {
  for (const [from, to] of ways) network.links.cut(from, to);
  trace(`cut: ${ways.map(([from, to]) => `${from}>${to}`).join(" ")}`);
  await clock.sleep(whileMs(random));
  for (const [from, to] of ways) network.links.mend(from, to);
}

async function weather(
  { nodes, random, clock }: FaultyCluster,
  kinds: readonly (typeof ALL_WEATHERS)[number][],
): Promise<void> {
  const node = random.pick(nodes);
  node.spoil(random.pick(kinds));
  await clock.sleep(whileMs(random));
  node.mend();
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
      const { network, clock, random } = cluster;
      const all = machines(cluster);
      const from = random.pick(all);
      const to = random.pick(all.filter((host) => host !== from));
      network.links.slow(from, to, random.pick([20, 200, 2_000]));
      await clock.sleep(whileMs(random));
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
