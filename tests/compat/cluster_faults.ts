/** What happens to the nodes of a real cluster, one fault at a time; see cluster_test.ts. */

import { expect } from "bun:test";
import type { SimRandom } from "../sim/sim_random.ts";
import type { RealCluster } from "./cluster.ts";

/** Within what time each partition must take records again: a node was killed or paused, or has vanished. Units: s. */
export const MAX_SILENCE_S = { killed: 5, vanished: 8, stopped: 5 } as const;

/** One kind of fault. */
export interface Fault {
  readonly limit: keyof typeof MAX_SILENCE_S;
  /** How long it lasts, where it lasts. Units: ms. */
  readonly longestMs: number;
  /** Resolves when all nodes are there again. */
  happen(cluster: RealCluster, how: FaultDetails): Promise<void>;
}

/** What chance decides of a fault. */
export interface FaultDetails {
  readonly nodeId: number;
  readonly lastsMs: number;
  readonly random: SimRandom;
}

/** The kinds, by name. */
export const FAULTS: Readonly<Record<string, Fault>> = {
  "kill -9": {
    limit: "killed",
    longestMs: 8_000,
    async happen(cluster, { nodeId, lastsMs }) {
      await cluster.kill(nodeId);
      await Bun.sleep(lastsMs);
      await cluster.startNode(nodeId);
    },
  },
  pause: {
    limit: "killed",
    longestMs: 15_000,
    async happen(cluster, { nodeId, lastsMs }) {
      cluster.signal(nodeId, "SIGSTOP");
      await Bun.sleep(lastsMs);
      cluster.signal(nodeId, "SIGCONT");
    },
  },
  "rolling restart": {
    limit: "stopped",
    longestMs: 0,
    async happen(cluster) {
      for (const nodeId of cluster.nodeIds) {
        expect(await cluster.stop(nodeId)).toBe(0);
        await cluster.startNode(nodeId);
        await cluster.whenInSync();
      }
    },
  },
  vanish: {
    limit: "vanished",
    longestMs: 20_000,
    async happen(cluster, { nodeId, lastsMs }) {
      cluster.isolate(nodeId);
      await Bun.sleep(lastsMs);
      cluster.ways.heal();
    },
  },
  "one-way cut": {
    limit: "vanished",
    longestMs: 15_000,
    async happen(cluster, { nodeId, lastsMs, random }) {
      for (const other of cluster.nodeIds) {
        if (other === nodeId) continue;
        if (random.chance(0.5)) cluster.ways.cut(String(nodeId), String(other));
        else cluster.ways.cut(String(other), String(nodeId));
      }
      await Bun.sleep(lastsMs);
      cluster.ways.heal();
    },
  },
};
