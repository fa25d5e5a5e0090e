/** Stories of one leadership, and random lives beside a slow twin that remembers everything. */

import { describe, expect, test } from "bun:test";
import type { PartitionImage } from "../../../broker/controller/metadata_image.ts";
import { type IsrProposal, ReplicaSet } from "../../../broker/partitions/replica_set.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { leaderEpoch } from "../../../protocol/types.ts";
import { SimRandom } from "../../sim/sim_random.ts";

const LIMITS = { maxLagMs: 100, maxSilenceMs: 30 };
const MIN_ISR = 1;

function image(isr: readonly number[], partitionEpoch = 0): PartitionImage {
  return {
    partition: 0,
    replicas: [1, 2, 3],
    directories: [],
    isr,
    removingReplicas: [],
    addingReplicas: [],
    elr: [],
    lastKnownElr: [],
    leader: 1,
    leaderRecoveryState: 0,
    leaderEpoch: leaderEpoch(5),
    partitionEpoch,
  };
}

/** A leader with its log, on a clock of its own. */
class Leader {
  readonly set: ReplicaSet;
  readonly brokers = new Map([1, 2, 3].map((id) => [
    id,
    { epoch: id * 10, fenced: false, inControlledShutdown: false },
  ]));
  nowMs = 0;
  endOffset: number;
  syncedOffset: number;

  constructor(isr: readonly number[], { startOffset = 0 } = {}) {
    this.endOffset = this.syncedOffset = startOffset;
    this.set = new ReplicaSet({
      nodeId: 1,
      image: image(isr),
      epochStartOffset: startOffset,
      highWatermark: 0,
      nowMs: 0,
    });
  }

  append(count: number, { isSynced = true } = {}): void {
    this.endOffset += count;
    if (isSynced) this.syncedOffset = this.endOffset;
    this.advance();
  }
  fetch(replicaId: number, fetchOffset: number, brokerEpoch = replicaId * 10): ErrorCode {
    const error = this.set.noteFetch({
      replicaId,
      brokerEpoch,
      fetchOffset,
      logStartOffset: 0,
      leaderEndOffset: this.endOffset,
      nowMs: this.nowMs,
    });
    this.advance();
    return error;
  }
  advance(minIsr = MIN_ISR): number {
    this.set.advance({ ...this.#now(), syncedOffset: this.syncedOffset, minIsr });
    return this.set.highWatermark;
  }
  expand(id: number): IsrProposal | null {
    return this.set.proposeExpansion(id, this.brokers);
  }
  widen(proposal: IsrProposal): IsrProposal {
    return this.set.widen(proposal, this.brokers);
  }
  shrink(): IsrProposal | null {
    return this.set.proposeShrinking(this.#now());
  }
  #now() {
    const { endOffset, brokers, nowMs } = this;
    return { endOffset, brokers, limits: LIMITS, nowMs };
  }
}

const idsOf = (proposal: IsrProposal | null) => proposal?.isr.map(({ brokerId }) => brokerId);

describe("ReplicaSet.advance", () => {
  test("goes to the least synced offset of the ISR, the leader's own included", () => {
    const leader = new Leader([1, 2, 3]);
    leader.append(10, { isSynced: false });
    expect(leader.set.highWatermark).toBe(0);
    leader.fetch(2, 8);
    leader.fetch(3, 10);
    expect(leader.set.highWatermark).toBe(0);
    leader.syncedOffset = 9;
    expect(leader.advance()).toBe(8);
    leader.fetch(2, 10);
    expect(leader.set.highWatermark).toBe(9);
  });

  test("does not move before every member of the ISR has been heard of in this epoch", () => {
    const leader = new Leader([1, 2]);
    leader.append(4);
    expect(leader.set.highWatermark).toBe(0);
    leader.fetch(2, 3);
    expect(leader.set.highWatermark).toBe(3);
  });

  test("does not go back with a follower that begins anew", () => {
    const leader = new Leader([1, 2]);
    leader.append(4);
    leader.fetch(2, 4);
    leader.fetch(2, 1);
    expect(leader.set.highWatermark).toBe(4);
  });

  test("rests below min.insync.replicas", () => {
    const leader = new Leader([1]);
    leader.endOffset = leader.syncedOffset = 4;
    expect(leader.advance(2)).toBe(0);
    expect(leader.advance(1)).toBe(4);
  });

  test("waits for a replica that keeps up, and not for one that is fenced, silent or far behind", () => {
    const leader = new Leader([1]);
    leader.nowMs = 1;
    leader.fetch(2, 0);
    leader.append(4);
    expect(leader.set.highWatermark).toBe(0);
    leader.brokers.get(2)!.fenced = true;
    expect(leader.advance()).toBe(4);
    leader.brokers.get(2)!.fenced = false;
    leader.append(1);
    leader.fetch(2, 5);
    leader.append(1);
    expect(leader.set.highWatermark).toBe(5);
    leader.nowMs += LIMITS.maxSilenceMs + 1;
    expect(leader.advance()).toBe(6);
  });
});

describe("ReplicaSet.proposeExpansion", () => {
  test("asks for who has all that is committed and this epoch's beginning, once", () => {
    const leader = new Leader([1], { startOffset: 6 });
    leader.advance();
    leader.fetch(2, 5);
    expect(leader.expand(2)).toBeNull();
    leader.fetch(2, 6);
    const proposal = leader.expand(2);
    expect(proposal).toEqual({
      leaderEpoch: 5,
      partitionEpoch: 0,
      isr: [{ brokerId: 1, brokerEpoch: 10 }, { brokerId: 2, brokerEpoch: 20 }],
    });
    leader.fetch(3, 6);
    expect(leader.expand(3)).toBeNull();
  });

  test("asks for nobody below the epoch's beginning, though the high watermark is lower", () => {
    const leader = new Leader([1, 3], { startOffset: 6 });
    leader.fetch(2, 3);
    expect(leader.set.highWatermark).toBe(0);
    expect(leader.expand(2)).toBeNull();
  });

  test.each([
    ["fenced", { fenced: true }],
    ["shutting down", { inControlledShutdown: true }],
    ["another incarnation", { epoch: 21 }],
  ])("does not ask for a broker that is %s", (_, change) => {
    const leader = new Leader([1]);
    leader.fetch(2, 0);
    leader.brokers.set(2, { ...leader.brokers.get(2)!, ...change });
    expect(leader.expand(2)).toBeNull();
  });

  test("counts who is to join from the moment that it is asked for", () => {
    const leader = new Leader([1]);
    leader.fetch(2, 0);
    const proposal = leader.expand(2)!;
    leader.nowMs = 1000;
    leader.append(5);
    expect(leader.set.highWatermark).toBe(0);
    leader.set.withdraw(proposal);
    expect(leader.advance()).toBe(5);
  });
});

describe("ReplicaSet.widen", () => {
  test("takes along who has caught up since, and counts it from then on", () => {
    const leader = new Leader([1]);
    leader.fetch(2, 0);
    const proposal = leader.expand(2)!;
    expect(leader.widen(proposal)).toBe(proposal);
    leader.fetch(3, 0);
    const widened = leader.widen(proposal);
    expect(widened).toEqual({
      ...proposal,
      isr: [...proposal.isr, { brokerId: 3, brokerEpoch: 30 }],
    });
    expect(leader.set.proposal).toBe(widened);
    leader.fetch(2, 0);
    leader.nowMs = 1000;
    leader.append(5);
    leader.fetch(2, 5);
    expect(leader.set.highWatermark).toBe(0);
    leader.fetch(3, 5);
    expect(leader.set.highWatermark).toBe(5);
  });

  test("leaves the members as they were known: one that has restarted since may lack what it had", () => {
    const leader = new Leader([1], { startOffset: 6 });
    leader.fetch(2, 6);
    const proposal = leader.expand(2)!;
    leader.brokers.get(2)!.epoch = 21;
    leader.fetch(2, 0, 21);
    leader.fetch(3, 6);
    expect(leader.widen(proposal).isr).toEqual([
      { brokerId: 1, brokerEpoch: 10 },
      { brokerId: 2, brokerEpoch: 20 },
      { brokerId: 3, brokerEpoch: 30 },
    ]);
  });

  test.each([
    ["that lacks what is committed", { fetchOffset: 5, change: {} }],
    ["that is fenced", { fetchOffset: 6, change: { fenced: true } }],
    ["of another incarnation", { fetchOffset: 6, change: { epoch: 31 } }],
  ])("takes nobody along %s", (_, { fetchOffset, change }) => {
    const leader = new Leader([1], { startOffset: 6 });
    leader.advance();
    leader.fetch(2, 6);
    const proposal = leader.expand(2)!;
    leader.fetch(3, fetchOffset);
    leader.brokers.set(3, { ...leader.brokers.get(3)!, ...change });
    expect(leader.widen(proposal)).toBe(proposal);
  });

  test("lets nobody join where others are to leave, or what was proposed is over", () => {
    const leader = new Leader([1, 2]);
    leader.append(1);
    leader.nowMs = 1000;
    const shrinking = leader.shrink()!;
    leader.fetch(3, 1);
    expect(leader.widen(shrinking)).toBe(shrinking);
    leader.set.withdraw(shrinking);
    const expansion = leader.expand(3)!;
    leader.fetch(2, 1);
    leader.set.withdraw(expansion);
    expect(leader.widen(expansion)).toBe(expansion);
    expect(leader.set.proposal).toBeNull();
  });
});

describe("ReplicaSet.proposeShrinking", () => {
  test("asks to leave out who is silent while it lacks records, and counts it until that is written", () => {
    const leader = new Leader([1, 2, 3]);
    leader.fetch(2, 0);
    leader.fetch(3, 0);
    leader.nowMs = 1000;
    expect(leader.shrink()).toBeNull();
    leader.append(1);
    leader.fetch(3, 1);
    expect(idsOf(leader.shrink())).toEqual([1, 3]);
    expect(leader.advance()).toBe(0);
    leader.set.update(image([1, 3], 1), leader.nowMs);
    expect(leader.set.proposal).toBeNull();
    expect(leader.advance()).toBe(1);
  });

  test("asks to leave out who fetches and does not catch up", () => {
    const leader = new Leader([1, 2]);
    leader.append(1);
    for (; leader.nowMs <= LIMITS.maxLagMs; leader.nowMs += 10) {
      expect(leader.shrink()).toBeNull();
      leader.append(10);
      leader.fetch(2, 0);
    }
    expect(idsOf(leader.shrink())).toEqual([1]);
  });

  test("keeps who is always one fetch behind", () => {
    const leader = new Leader([1, 2]);
    for (; leader.nowMs <= 10 * LIMITS.maxLagMs; leader.nowMs += 10) {
      leader.fetch(2, leader.endOffset);
      leader.append(10);
      expect(leader.shrink()).toBeNull();
    }
  });

  test("gives a new leader's followers time to find it", () => {
    const leader = new Leader([1, 2]);
    leader.append(1);
    leader.nowMs = LIMITS.maxSilenceMs;
    expect(leader.shrink()).toBeNull();
    leader.nowMs++;
    expect(idsOf(leader.shrink())).toEqual([1]);
  });
});

describe("ReplicaSet.update", () => {
  test("ignores words that are older than known ones, and keeps a proposal through the same", () => {
    const leader = new Leader([1]);
    leader.fetch(2, 0);
    const proposal = leader.expand(2);
    leader.set.update(image([1], 0), 0);
    expect(leader.set.proposal).toBe(proposal);
    leader.set.update(image([1, 2], 2), 0);
    leader.set.update(image([1], 1), 0);
    expect(leader.set.isr).toEqual([1, 2]);
  });
});

describe("ReplicaSet.noteFetch", () => {
  test("refuses who is no replica, and incarnations of the past", () => {
    const leader = new Leader([1, 2]);
    expect(leader.fetch(4, 0)).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    expect(leader.fetch(2, 0, 30)).toBe(ErrorCode.NONE);
    expect(leader.fetch(2, 0, 20)).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  });
});

describe("ReplicaSet", () => {
  test("never commits what a member of an ISR that may be in force lacks, in random lives", () => {
    for (let seed = 0; seed < 300; seed++) live(seed);
  });
});

/** The controller writes proposals late, or something else; the twin asks each ISR that may be in force. */
function live(seed: number): void {
  const random = new SimRandom(seed);
  const below = (bound: number) => random.uint32() % bound;
  const leader = new Leader([1, 2, 3]);
  const synced = new Map([[2, 0], [3, 0]]);
  let written = image([1, 2, 3]);
  let proposal: IsrProposal | null = null;
  let before = 0;
  for (let step = 0; step < 200; step++) {
    leader.nowMs += below(20);
    const id = 2 + below(2);
    switch (below(8)) {
      case 0:
        leader.append(below(5), { isSynced: below(2) === 0 });
        break;
      case 1:
        leader.syncedOffset += below(leader.endOffset - leader.syncedOffset + 1);
        leader.advance();
        break;
      case 2:
      case 3: {
        const has = synced.get(id)!;
        synced.set(id, has + below(leader.endOffset - has + 1));
        leader.fetch(id, synced.get(id)!);
        proposal = leader.expand(id) ?? proposal;
        break;
      }
      case 4:
        proposal = leader.shrink() ?? proposal;
        break;
      case 5:
        // Written, and not heard of yet.
        if (proposal?.partitionEpoch !== written.partitionEpoch) break;
        written = image(proposal.isr.map(({ brokerId }) => brokerId), written.partitionEpoch + 1);
        break;
      case 6:
        leader.set.update(written, leader.nowMs);
        break;
      case 7:
        // Before it is sent.
        if (proposal !== null && proposal === leader.set.proposal) {
          proposal = leader.widen(proposal);
        }
        break;
    }
    leader.advance();
    const now = leader.set.highWatermark;
    expect(now).toBeGreaterThanOrEqual(before);
    if (now > before) {
      expect(now).toBeLessThanOrEqual(leader.syncedOffset);
      const members = new Set([...written.isr, ...leader.set.isr]);
      for (const member of members) {
        if (member !== 1) expect(synced.get(member)!).toBeGreaterThanOrEqual(now);
      }
    }
    before = now;
  }
}
