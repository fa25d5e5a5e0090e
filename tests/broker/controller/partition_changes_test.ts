import { expect, test } from "bun:test";
import {
  changedPartition,
  type PartitionImage,
} from "../../../broker/controller/metadata_image.ts";
import {
  type PartitionChangeRules,
  type PartitionTargets,
  planPartitionChange,
} from "../../../broker/controller/partition_changes.ts";
import { DirectoryId, leaderEpoch, type Uuid } from "../../../protocol/types.ts";

const ID = "yoa67tGYTPyLLJ8LeHt66Q" as Uuid;
const D = (id: number) => `${String(id).repeat(2)}a67tGYTPyLLJ8LeHt66Q` as Uuid;

function partition(details: Partial<PartitionImage> = {}): PartitionImage {
  const replicas = details.replicas ?? [1, 2, 3];
  return {
    partition: 0,
    replicas,
    directories: replicas.map(D),
    isr: [1, 2, 3],
    removingReplicas: [],
    addingReplicas: [],
    elr: [],
    lastKnownElr: [],
    leader: 1,
    leaderRecoveryState: 0,
    leaderEpoch: leaderEpoch(5),
    partitionEpoch: 7,
    ...details,
  };
}

interface Case {
  readonly from?: Partial<PartitionImage>;
  readonly to?: PartitionTargets;
  readonly up?: readonly number[];
  readonly rules?: Partial<PartitionChangeRules>;
  /** Null: nothing is written. */
  readonly expected: Partial<PartitionImage> | null;
}

/** Fields not named in `expected` are as before, but for the partition's epoch, which grows by one. */
const cases: Readonly<Record<string, Case>> = {
  "nothing changes": { expected: null },
  "the leader goes: the next in sync leads": {
    to: { isr: [2, 3] },
    up: [2, 3],
    expected: { isr: [2, 3], leader: 2, leaderEpoch: leaderEpoch(6) },
  },
  "a follower goes: the leader's epoch stays": {
    to: { isr: [1, 2] },
    up: [1, 2],
    expected: { isr: [1, 2] },
  },
  "who is down leads nothing": {
    to: { isr: [2, 3] },
    up: [3],
    expected: { isr: [2, 3], leader: 3, leaderEpoch: leaderEpoch(6) },
  },
  "the last one stays in the ISR without ELR": {
    from: { isr: [1] },
    to: { isr: [] },
    up: [2, 3],
    expected: { leader: -1, leaderEpoch: leaderEpoch(6) },
  },
  "the last one is eligible with ELR, and known as the last leader": {
    from: { isr: [1] },
    to: { isr: [] },
    up: [2, 3],
    rules: { isElrEnabled: true, minIsr: 1 },
    expected: { isr: [], elr: [1], lastKnownElr: [1], leader: -1, leaderEpoch: leaderEpoch(6) },
  },
  "below the minimum those who leave are eligible": {
    from: { isr: [1, 2] },
    to: { isr: [1] },
    up: [1],
    rules: { isElrEnabled: true, minIsr: 2 },
    expected: { isr: [1], elr: [2] },
  },
  "at the minimum nobody is": {
    to: { isr: [1, 2] },
    rules: { isElrEnabled: true, minIsr: 2 },
    expected: { isr: [1, 2] },
  },
  "back at the minimum nobody is any more": {
    from: { isr: [1], elr: [2], lastKnownElr: [1] },
    to: { isr: [1, 3] },
    rules: { isElrEnabled: true, minIsr: 2 },
    expected: { isr: [1, 3], elr: [], lastKnownElr: [] },
  },
  "an eligible one leads when the ISR is empty": {
    from: { isr: [], elr: [1, 3], lastKnownElr: [1], leader: -1 },
    up: [3],
    rules: { isElrEnabled: true, minIsr: 2 },
    expected: { isr: [3], elr: [1], lastKnownElr: [], leader: 3, leaderEpoch: leaderEpoch(6) },
  },
  "an eligible one that commits alone is the only one": {
    from: { isr: [], elr: [1, 3], lastKnownElr: [1], leader: -1 },
    up: [3],
    rules: { isElrEnabled: true, minIsr: 1 },
    expected: { isr: [3], elr: [], lastKnownElr: [], leader: 3, leaderEpoch: leaderEpoch(6) },
  },
  "who is away leaves the ISR of one who leads again": {
    from: { isr: [1, 2, 3], leader: -1 },
    up: [2, 3],
    expected: { isr: [2, 3], leader: 2, leaderEpoch: leaderEpoch(6) },
  },
  "an eligible one does not lead while the ISR is not": {
    from: { isr: [2], elr: [3], leader: -1 },
    up: [1, 3],
    rules: { isElrEnabled: true, minIsr: 2 },
    expected: null,
  },
  "after an unclean shutdown nobody is eligible": {
    from: { isr: [1], elr: [2] },
    to: { isr: [] },
    up: [2, 3],
    rules: { isElrEnabled: true, minIsr: 2, uncleanShutdownReplicas: [1, 2] },
    expected: { isr: [], elr: [], lastKnownElr: [1], leader: -1, leaderEpoch: leaderEpoch(6) },
  },
  "the last leader leads where nobody is eligible, and recovers": {
    from: { isr: [], elr: [], lastKnownElr: [2], leader: -1 },
    up: [1, 2, 3],
    rules: { isElrEnabled: true, minIsr: 2 },
    expected: {
      isr: [2],
      lastKnownElr: [],
      leader: 2,
      leaderEpoch: leaderEpoch(6),
      leaderRecoveryState: 1,
    },
  },
  "the last leader does not while it is down": {
    from: { isr: [], elr: [], lastKnownElr: [2], leader: -1 },
    up: [1, 3],
    rules: { isElrEnabled: true, minIsr: 2 },
    expected: null,
  },
  "out of sync and not allowed: nobody leads": {
    from: { isr: [1], leader: -1 },
    up: [2, 3],
    expected: null,
  },
  "out of sync and allowed: alone, and recovering": {
    from: { isr: [1], leader: -1 },
    up: [2, 3],
    rules: { election: "unclean" },
    expected: { isr: [2], leader: 2, leaderEpoch: leaderEpoch(6), leaderRecoveryState: 1 },
  },
  "unclean prefers one that is in sync": {
    to: { isr: [3] },
    up: [2, 3],
    rules: { election: "unclean" },
    expected: { isr: [3], leader: 3, leaderEpoch: leaderEpoch(6) },
  },
  "an unclean election makes nobody eligible": {
    from: { isr: [], elr: [1], lastKnownElr: [1], leader: -1 },
    up: [2, 3],
    rules: { election: "unclean", isElrEnabled: true, minIsr: 2 },
    expected: {
      isr: [2],
      elr: [],
      lastKnownElr: [],
      leader: 2,
      leaderEpoch: leaderEpoch(6),
      leaderRecoveryState: 1,
    },
  },
  "the preferred one leads again": {
    from: { leader: 2 },
    rules: { election: "preferred" },
    expected: { leader: 1, leaderEpoch: leaderEpoch(6) },
  },
  "the preferred one does not while it is out of sync": {
    from: { isr: [2, 3], leader: 2 },
    rules: { election: "preferred" },
    expected: null,
  },
  "a leader that has recovered says so": {
    from: { isr: [1], leaderRecoveryState: 1 },
    to: { isr: [1], leaderRecoveryState: 0 },
    expected: { leaderRecoveryState: 0 },
  },
  "a move begins: new replicas lie nowhere yet": {
    to: { replicas: [1, 4, 2, 3], addingReplicas: [4], removingReplicas: [2, 3] },
    expected: {
      replicas: [1, 4, 2, 3],
      directories: [D(1), DirectoryId.UNASSIGNED, D(2), D(3)],
      addingReplicas: [4],
      removingReplicas: [2, 3],
    },
  },
  "a move ends once the new ones are in sync, with a new epoch of the leader": {
    from: { replicas: [1, 4, 2, 3], addingReplicas: [4], removingReplicas: [2, 3] },
    to: { isr: [1, 2, 3, 4] },
    up: [1, 2, 3, 4],
    expected: {
      replicas: [1, 4],
      directories: [D(1), D(4)],
      isr: [1, 4],
      addingReplicas: [],
      removingReplicas: [],
      leaderEpoch: leaderEpoch(6),
    },
  },
  "a move that takes the leader away elects another": {
    from: { replicas: [4, 1, 2, 3], addingReplicas: [4], removingReplicas: [1, 2, 3] },
    to: { isr: [1, 2, 3, 4] },
    up: [1, 2, 3, 4],
    expected: {
      replicas: [4],
      directories: [D(4)],
      isr: [4],
      addingReplicas: [],
      removingReplicas: [],
      leader: 4,
      leaderEpoch: leaderEpoch(6),
    },
  },
  "a move goes on while one is missing": {
    from: {
      replicas: [1, 4, 5, 2, 3],
      addingReplicas: [4, 5],
      removingReplicas: [2, 3],
    },
    to: { isr: [1, 2, 3, 4] },
    up: [1, 2, 3, 4, 5],
    expected: { isr: [1, 2, 3, 4] },
  },
  "who was moved away is not eligible": {
    from: {
      replicas: [1, 4, 2, 3],
      isr: [1, 2],
      addingReplicas: [4],
      removingReplicas: [2, 3],
    },
    to: { isr: [1, 4] },
    up: [1, 4],
    rules: { isElrEnabled: true, minIsr: 3 },
    expected: {
      replicas: [1, 4],
      directories: [D(1), D(4)],
      isr: [1, 4],
      addingReplicas: [],
      removingReplicas: [],
      leaderEpoch: leaderEpoch(6),
    },
  },
};

test.each(Object.entries(cases))(
  "planPartitionChange: %s",
  (_, { from, to, up, rules, expected }) => {
    const before = partition(from);
    const record = planPartitionChange(ID, before, to ?? {}, {
      election: "online",
      isAcceptableLeader: (id) => (up ?? [1, 2, 3]).includes(id),
      minIsr: 1,
      isElrEnabled: false,
      ...rules,
    });
    if (expected === null) return expect(record).toBeNull();
    expect(record).not.toBeNull();
    const after = changedPartition(before, record!.value as object);
    expect(after).toEqual({ ...before, partitionEpoch: 8, ...expected });
  },
);
