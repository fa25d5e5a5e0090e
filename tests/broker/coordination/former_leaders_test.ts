/** Until when a new leader of `__consumer_offsets` must take the one before it for its rival. */

import { describe, expect, test } from "bun:test";
import type { PartitionImage } from "../../../broker/controller/metadata_image.ts";
import { FormerLeaders, type KnownBrokers } from "../../../broker/coordination/former_leaders.ts";

const SESSION_MS = 1_500;
const UP = { fenced: false, inControlledShutdown: false };
const BOTH_UP: KnownBrokers = new Map([[1, UP], [2, UP]]);

/** Partition 0, which `leader` leads in an epoch. */
function led(leader: number, leaderEpoch: number): PartitionImage {
  return { partition: 0, leader, leaderEpoch } as PartitionImage;
}

/** What node 1 asks at a time. */
function mayAct(
  former: FormerLeaders,
  nowMs: number,
  { brokers = BOTH_UP, followers = [] }: {
    readonly brokers?: KnownBrokers;
    readonly followers?: readonly number[];
  } = {},
): boolean {
  const isFollowedBy = (id: number) => followers.includes(id);
  return former.mayAct(0, { nowMs, brokers, isFollowedBy });
}

function newFormer(): FormerLeaders {
  return new FormerLeaders({ nodeId: 1, sessionTimeoutMs: SESSION_MS });
}

describe("FormerLeaders.mayAct", () => {
  test("is true of a broker that lost its lead, for a session", () => {
    const former = newFormer();
    former.note({ before: led(2, 4), after: led(1, 5) }, 100);
    expect(mayAct(former, 100)).toBe(true);
    expect(mayAct(former, 99 + SESSION_MS)).toBe(true);
    expect(mayAct(former, 100 + SESSION_MS)).toBe(false);
  });

  test.each([
    ["is fenced", { brokers: new Map([[2, { ...UP, fenced: true }]]) }],
    ["stops in good order", { brokers: new Map([[2, { ...UP, inControlledShutdown: true }]]) }],
    ["follows this node", { followers: [2] }],
  ])("is false of one that %s", (_, knowledge) => {
    const former = newFormer();
    former.note({ before: led(2, 4), after: led(1, 5) }, 100);
    expect(mayAct(former, 101, knowledge)).toBe(false);
  });

  test("remembers a leader over a time without one", () => {
    const former = newFormer();
    former.note({ before: led(2, 4), after: led(-1, 5) }, 100);
    former.note({ before: led(-1, 5), after: led(1, 6) }, 200);
    // It is not registered any more, and may run on without knowing.
    const brokers: KnownBrokers = new Map([[1, UP]]);
    expect(mayAct(former, 200, { brokers })).toBe(true);
    expect(mayAct(former, 100 + SESSION_MS, { brokers })).toBe(false);
  });

  test("is true for a session where leaders were left out", () => {
    const former = newFormer();
    former.note({ before: led(2, 4), after: led(1, 6) }, 100);
    const knowledge = { brokers: new Map([[2, { ...UP, fenced: true }]]), followers: [2] };
    expect(mayAct(former, 101, knowledge)).toBe(true);
    expect(mayAct(former, 100 + SESSION_MS, knowledge)).toBe(false);
  });

  test("is false where this node led before, or another replica changed", () => {
    const former = newFormer();
    former.note({ before: led(1, 4), after: led(1, 5) }, 100);
    former.note({ before: led(2, 5), after: led(2, 5) }, 100);
    former.note({ before: null, after: led(1, 0) }, 100);
    expect(mayAct(former, 100)).toBe(false);
  });
});
