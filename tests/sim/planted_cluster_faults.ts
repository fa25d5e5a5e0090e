/**
 * Faults planted on purpose, each of which the simulated cluster must notice: if it does not, it looks away.
 * Those of the quorum's rules are in `raft_faults.ts`, and noticed by `raft_world.ts`.
 *
 * One is a disk that does not do what the broker asks of it, or a member of one of the broker's classes that
 * answers otherwise while the test runs: as if a line of the broker were missing or wrong.
 */

import {
  KRAFT_RULES,
  type RaftRules,
  reachedByMajority,
} from "../../broker/controller/raft_quorum.ts";
import { FormerLeaders } from "../../broker/coordination/former_leaders.ts";
import { LifecycleMachine } from "../../broker/lifecycle_machine.ts";
import { FoundReplicas } from "../../broker/partitions/found_replicas.ts";
import { IsrChanges } from "../../broker/partitions/isr_changes.ts";
import { Partition } from "../../broker/partitions/partition.ts";
import { ReplicaRepairs } from "../../broker/partitions/replica_repairs.ts";
import { ReplicaSet } from "../../broker/partitions/replica_set.ts";
import { Log } from "../../storage/log.ts";
import { LogDirectories } from "../../storage/log_directories.ts";
import { recoverLogJob } from "../../storage/log_recovery.ts";
import { PLANTED_FAULTS } from "./planted_faults.ts";
import { RAFT_FAULTS } from "./raft_faults.ts";
import type { DiskWrapper } from "./storage_world.ts";

/** A fault. */
export interface PlantedClusterFault {
  /** How many nodes it takes to notice it. */
  readonly nodes: number;
  /** The faults of the cluster that bring it out; a mix by seed when left out. */
  readonly faults?: readonly string[];
  /** From which seed on it is looked for: it was noticed there. 1 when left out. */
  readonly firstSeed?: number;
  /** How long the healed cluster may take, where that is how it is noticed. */
  readonly healMs?: number;
  /** Made anew for each life. */
  readonly wrap?: () => DiskWrapper;
  /** Changes the broker. Returns: what changes it back. */
  readonly patch?: () => () => void;
}

/** Lets a getter or method of a class be another one. Returns: what changes it back. */
export function patched<T extends object>(
  prototype: T,
  name: keyof T & string,
  change: PropertyDescriptor,
): () => void {
  const before = Object.getOwnPropertyDescriptor(prototype, name)!;
  Object.defineProperty(prototype, name, { ...before, ...change });
  return () => Object.defineProperty(prototype, name, before);
}

/** A leader that asks nobody how far they are. */
function highWatermarkOfLeaderAlone(): () => void {
  const offsets = new WeakMap<ReplicaSet, number>();
  const advance = patched(ReplicaSet.prototype, "advance", {
    value(this: ReplicaSet, { syncedOffset }: { readonly syncedOffset: number }) {
      if (syncedOffset <= this.highWatermark) return false;
      offsets.set(this, syncedOffset);
      return true;
    },
  });
  const known = Object.getOwnPropertyDescriptor(ReplicaSet.prototype, "highWatermark")!;
  const highWatermark = patched(ReplicaSet.prototype, "highWatermark", {
    get(this: ReplicaSet) {
      return offsets.get(this) ?? (known.get!.call(this) as number);
    },
  });
  return () => {
    advance();
    highWatermark();
  };
}

/** A leader that acts on the ISR that it only asks for. */
function isrBeforeTheControllerAgreed(): () => void {
  // deno-lint-ignore no-explicit-any -- called with another `this`
  const propose: (...args: any[]) => void = IsrChanges.prototype.propose;
  return patched(IsrChanges.prototype, "propose", {
    value(this: IsrChanges, ...[partition, proposal]: Parameters<IsrChanges["propose"]>) {
      const isr = proposal.isr.map(({ brokerId }) => brokerId);
      partition.updateImage({ ...partition.image, isr });
      propose.call(this, partition, proposal);
    },
  });
}

/** A leader that counts who has its whole log, of whichever epoch the end of that is. */
function commitByCounting(): () => void {
  return patched(KRAFT_RULES, "highWatermark", {
    value: ({ offsets, current }: Parameters<RaftRules["highWatermark"]>[0]) =>
      Math.max(current, reachedByMajority(offsets)),
  });
}

/** A damaged replica is made anew, and nobody hears of it. */
function beginsAnewInTheIsr(): () => void {
  const givenUp = patched(Partition.prototype, "isGivenUp", {
    get(this: Partition) {
      const { leader, directories } = this.image;
      return this.log.damage !== null && leader >= 0 && !this.isLeader && directories.length > 1;
    },
  });
  const aside = patched(FoundReplicas.prototype, "setOthersAside", {
    async value(this: FoundReplicas, ...[wanted, used]: SetOthersAside) {
      const isDamaged = (used.log(wanted.topic, wanted.partition)?.damage ?? null) !== null;
      if (isDamaged) await used.setDamagedAside(wanted, wanted.topicId);
    },
  });
  return () => {
    givenUp();
    aside();
  };
}

type SetOthersAside = Parameters<FoundReplicas["setOthersAside"]>;

/** What a recovery cannot read is cut, whatever follows it. */
function cutsWhereItIsDamaged(): () => void {
  const job = recoverLogJob as { run: typeof recoverLogJob.run };
  const { run } = job;
  job.run = async (input, context) => {
    const found = await run(input, context);
    const place = /bytes (\d+) to \d+ of (\S+) are damaged/.exec(found.damage ?? "");
    if (place === null) return found;
    const { disk } = context;
    const [, position, path] = place;
    for (const { name } of disk.list(input.directory)) {
      const isLater = /^\d{20}\./.test(name) && `${input.directory}/${name}` > path!;
      if (isLater || name.endsWith(".snapshot")) disk.remove(`${input.directory}/${name}`);
    }
    const file = disk.open(path!, "write");
    file.truncate(Number(position));
    await file.sync();
    file.close();
    return await run({ ...input, recoveryPoint: 0, hadCleanShutdown: false }, context);
  };
  const epochs = new Map<number, number>();
  const note = patched(LogDirectories.prototype, "noteBrokerEpoch", {
    value(this: LogDirectories, epoch: number) {
      epochs.set(this.metadata.nodeId, epoch);
      for (const directory of this.online()) directory.brokerEpoch = epoch;
    },
  });
  // It stays in the ISR, as after a clean stop.
  const previous = patched(LogDirectories.prototype, "previousBrokerEpoch", {
    get(this: LogDirectories) {
      return epochs.get(this.metadata.nodeId) ?? -1;
    },
  });
  return () => {
    job.run = run;
    note();
    previous();
  };
}

const DAMAGED = ["disk damaged"];
const PARTED = ["power cut", "kill", "node cut off", "cluster split", "pause"];

/** By what is wrong with the broker. */
export const PLANTED_CLUSTER_FAULTS: Readonly<Record<string, PlantedClusterFault>> = {
  "a sync that is skipped": {
    nodes: 1,
    faults: ["power cut"],
    wrap: PLANTED_FAULTS["a sync that is skipped"]!.plant,
  },
  "an ISR that counts before the controller agreed": {
    nodes: 3,
    firstSeed: 67,
    faults: ["cluster split"],
    patch: isrBeforeTheControllerAgreed,
  },
  "a high watermark of the leader alone": {
    nodes: 3,
    faults: PARTED,
    patch: highWatermarkOfLeaderAlone,
  },
  "a damaged replica that begins anew in the ISR": {
    nodes: 3,
    faults: DAMAGED,
    patch: beginsAnewInTheIsr,
  },
  "a damaged replica that cuts itself, and then the others": {
    nodes: 3,
    faults: ["damaged in a power cut of all"],
    patch: cutsWhereItIsDamaged,
  },
  "a damaged leader that leads on": {
    nodes: 3,
    healMs: 20_000,
    faults: DAMAGED,
    patch: () => patched(ReplicaRepairs.prototype, "look", { value: () => {} }),
  },
  "a replica that was given up and goes on as it was": {
    nodes: 3,
    healMs: 20_000,
    faults: DAMAGED,
    patch: () => patched(Partition.prototype, "isGivenUp", { get: () => false }),
  },
  "a follower that does not truncate": {
    nodes: 3,
    faults: PARTED,
    patch: () => patched(Log.prototype, "truncateTo", { value: () => Promise.resolve() }),
  },
  "a coordinator that is cut off and answers on": {
    nodes: 3,
    faults: PARTED,
    patch: () => patched(LifecycleMachine.prototype, "holdsLease", { value: () => true }),
  },
  "a new coordinator that does not wait until the old one knows": {
    nodes: 3,
    patch: () => patched(FormerLeaders.prototype, "mayAct", { value: () => false }),
  },
  "a vote that is not synced": {
    nodes: 3,
    faults: ["power cut", "power cut of all", "cluster split"],
    wrap: () => RAFT_FAULTS["a vote that is not synced"]!.wrap!,
  },
  "a commit of an earlier epoch by counting": {
    nodes: 3,
    faults: PARTED,
    patch: commitByCounting,
  },
  "what is written is called synced": {
    nodes: 1,
    firstSeed: 28,
    faults: ["power cut"],
    patch: () =>
      patched(Log.prototype, "syncedOffset", {
        get(this: Log) {
          return this.endOffset;
        },
      }),
  },
};
