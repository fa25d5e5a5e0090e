/** Where a follower's log parts from the leader's: found in steps, for any two logs that Raft can leave. */

import { expect, test } from "bun:test";
import { RaftLog } from "../../../broker/controller/raft_log.ts";
import { SimRandom } from "../../sim/sim_random.ts";

/** The epoch of each record. */
type Epochs = readonly number[];

function entriesOf(epochs: Epochs, startOffset: number) {
  return epochs.flatMap((epoch, i) =>
    i >= startOffset && (i === startOffset || epochs[i - 1] !== epoch)
      ? [{ epoch, startOffset: i }]
      : []
  );
}

function logOf(epochs: Epochs, startOffset: number): RaftLog {
  const snapshotId = startOffset === 0
    ? null
    : { offset: startOffset, epoch: epochs[startOffset - 1]! };
  const entries = entriesOf(epochs, startOffset);
  return new RaftLog({ startOffset, endOffset: epochs.length, epochs: entries, snapshotId });
}

function rising(from: number, count: number, step: () => number): number[] {
  let epoch = from;
  return Array.from({ length: count }, () => epoch += step());
}

/** Two logs with a common start; an epoch has one leader, so that no other epoch is in both behind it. */
function twoLogs(random: SimRandom): { leader: number[]; follower: number[]; common: number } {
  const shared = rising(1, random.below(8), () => random.pick([0, 0, 1]));
  const last = shared.at(-1) ?? 0;
  // Odd ones are the leader's, even ones the follower's.
  const tail = (parity: number) => {
    const first = last + 2 + ((last + parity) % 2);
    return rising(first, random.below(6), () => random.pick([0, 0, 2]));
  };
  const more = Array.from({ length: last === 0 ? 0 : random.below(3) }, () => last);
  const isFollowerLonger = random.chance(0.5);
  return {
    leader: [...shared, ...(isFollowerLonger ? [] : more), ...tail(1)],
    follower: [...shared, ...(isFollowerLonger ? more : []), ...tail(0)],
    common: shared.length,
  };
}

test("RaftLog.check: leads a follower to the end of what both have, or to a snapshot", () => {
  const random = new SimRandom(4);
  const seen = { valid: 0, snapshot: 0 };
  for (let round = 0; round < 20_000; round++) {
    const { leader, follower, common } = twoLogs(random);
    const startOffset = random.chance(0.5) ? 0 : random.below(leader.length + 1);
    const [leaderLog, followerLog] = [logOf(leader, startOffset), logOf(follower, 0)];
    let position = leaderLog.check(followerLog.end);
    for (let step = 0; position.kind === "diverging"; step++) {
      expect(step).toBeLessThan(20);
      const own = followerLog.endOf(position.end.epoch);
      const cut = own.epoch === position.end.epoch
        ? Math.min(own.offset, position.end.offset)
        : own.offset;
      expect(cut).toBeGreaterThanOrEqual(0);
      expect(cut).toBeLessThan(followerLog.endOffset);
      followerLog.truncateTo(cut);
      position = leaderLog.check(followerLog.end);
    }
    seen[position.kind]++;
    const kept = follower.slice(0, followerLog.endOffset);
    const text = `${leader} from ${startOffset}, ${follower}`;
    if (position.kind === "valid") {
      expect([text, kept]).toEqual([text, leader.slice(0, kept.length)]);
    } // Nothing that both have and the leader could have gone on from is fetched anew.
    else {expect([text, common < startOffset || common === 0 || kept.length === 0]).toEqual([
        text,
        true,
      ]);}
  }
  expect(seen.valid).toBeGreaterThan(1_000);
  expect(seen.snapshot).toBeGreaterThan(1_000);
});

test("RaftLog.truncateTo: back to a snapshot leaves its epoch and no later one", () => {
  for (const snapshotId of [{ offset: 0, epoch: 0 }, { offset: 7, epoch: 2 }]) {
    const { offset } = snapshotId;
    const epochs = [{ epoch: 3, startOffset: offset }];
    const log = new RaftLog({ startOffset: offset, endOffset: offset + 2, epochs, snapshotId });
    log.truncateTo(offset);
    expect(log.end).toEqual(snapshotId);
    log.append(2, offset + 1);
    expect(log.end).toEqual({ offset: offset + 1, epoch: 2 });
  }
});
