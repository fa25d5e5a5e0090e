/**
 * The classic group's machine against random events: what must hold after every one of them.
 *
 * A failure names its seed; the events of a seed are always the same.
 */

import { expect, test } from "bun:test";
import assert from "node:assert/strict";
import {
  ClassicGroup,
  type GroupEffect,
  type GroupMetadata,
  type MemberClaim,
  type Now,
} from "../../../broker/groups/classic_group.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { timestampMs } from "../../../protocol/types.ts";
import { SimRandom } from "../../sim/sim_random.ts";

const SEED_COUNT = 400;
const EVENT_COUNT = 250;
const PROTOCOLS = ["range", "sticky", "rr"];
const INSTANCES = ["i1", "i2", "i3"];

class Chaos {
  readonly #random: SimRandom;
  readonly #settings;
  #nowMs = 0;
  #group: ClassicGroup;
  #requestCount = 0;
  /** Requests that were not answered yet. */
  readonly #open = new Set<number>();
  /** Member ids that were ever heard of. */
  readonly #memberIds: string[] = ["nobody"];
  readonly #appends = new Map<number, GroupMetadata>();
  #committed: GroupMetadata | null = null;
  #committedGeneration = 0;

  constructor(seed: number) {
    this.#random = new SimRandom(seed);
    this.#settings = {
      maxSize: this.#random.chance(0.3) ? 3 : 100,
      initialRebalanceDelayMs: this.#random.chance(0.5) ? 0 : 3000,
    };
    this.#group = new ClassicGroup("g", this.#settings, this.#now());
  }

  run(): void {
    for (let event = 0; event < EVENT_COUNT; event++) {
      this.#step();
      this.#check();
    }
    this.#apply(this.#group.die(ErrorCode.NOT_COORDINATOR, this.#now()));
    assert.equal(this.#open.size, 0, "a request was never answered");
  }

  #step(): void {
    const random = this.#random;
    const draw = random.below(100);
    const group = this.#group;
    if (draw < 30) this.#join();
    else if (draw < 50) this.#sync();
    else if (draw < 60) group.heartbeat(this.#claim(), this.#now());
    else if (draw < 65) group.checkOffsetCommit(this.#claim(), random.chance(0.2), this.#now());
    else if (draw < 72) {
      const { memberId, groupInstanceId } = this.#claim();
      const leaving = [{
        memberId: random.chance(0.2) ? "" : memberId,
        groupInstanceId,
        reason: null,
      }];
      this.#apply(group.leave(leaving, this.#now()).effects);
    } else if (draw < 85) this.#settleAppend();
    else if (draw < 98) this.#advance(random.below(random.chance(0.2) ? 60_000 : 4_000));
    else this.#restart();
  }

  #join(): void {
    const random = this.#random;
    const requestId = ++this.#requestCount;
    this.#open.add(requestId);
    const isNew = random.chance(0.4);
    const offered = PROTOCOLS.filter(() => random.chance(0.8));
    const newMemberId = `m${requestId}`;
    const claim = this.#claim();
    this.#memberIds.push(newMemberId);
    this.#apply(this.#group.join({
      requestId,
      memberId: isNew ? "" : claim.memberId,
      newMemberId,
      groupInstanceId: claim.groupInstanceId,
      clientId: "c",
      clientHost: "/h",
      sessionTimeoutMs: 6_000 + random.below(20_000),
      rebalanceTimeoutMs: 1_000 + random.below(30_000),
      protocolType: random.chance(0.98) ? "consumer" : "connect",
      protocols: offered.map((name) => ({ name, metadata: new Uint8Array([random.below(2)]) })),
      requiresKnownMemberId: random.chance(0.5),
      supportsSkippingAssignment: random.chance(0.5),
      reason: null,
    }, this.#now()));
  }

  #sync(): void {
    const requestId = ++this.#requestCount;
    this.#open.add(requestId);
    const assignments = new Map(
      this.#group.members().map(({ memberId }) => [memberId, new Uint8Array([1])]),
    );
    const request = { ...this.#claim(), protocolType: null, protocolName: null };
    this.#apply(this.#group.sync({ requestId, ...request, assignments }, this.#now()));
  }

  /** Mostly a member that is there with the present generation, sometimes a stale or foreign claim. */
  #claim(): MemberClaim {
    const random = this.#random;
    const members = this.#group.members();
    const member = members.length > 0 && random.chance(0.85) ? random.pick(members) : null;
    const memberId = member?.memberId ?? random.pick(this.#memberIds);
    const ownInstance = member?.groupInstanceId ?? null;
    return {
      memberId,
      groupInstanceId: random.chance(0.85)
        ? ownInstance
        : random.chance(0.5)
        ? null
        : random.pick(INSTANCES),
      generationId: this.#group.generationId - (random.chance(0.1) ? 1 : 0),
    };
  }

  /** Appends are committed in their order; when one fails, so do all that follow. */
  #settleAppend(): void {
    const first = this.#appends.entries().next().value;
    if (first === undefined) return;
    const [appendId, metadata] = first;
    this.#appends.delete(appendId);
    const failed = this.#random.chance(0.1);
    if (!failed) {
      this.#committed = metadata;
      assert(metadata.generationId >= this.#committedGeneration, "the log goes back");
      this.#committedGeneration = metadata.generationId;
    }
    const error = failed ? ErrorCode.NOT_COORDINATOR : ErrorCode.NONE;
    this.#apply(this.#group.appended(appendId, error, this.#now()));
  }

  #advance(byMs: number): void {
    const endMs = this.#nowMs + byMs;
    for (let count = 0; this.#group.nextDeadlineMs <= endMs; count++) {
      assert(count < 10_000, "time does not get on");
      this.#nowMs = Math.max(this.#nowMs, this.#group.nextDeadlineMs);
      this.#apply(this.#group.tick(this.#now()));
    }
    this.#nowMs = endMs;
  }

  /** The broker stops: everyone hears of it, and the group comes back from what was committed. */
  #restart(): void {
    this.#apply(this.#group.die(ErrorCode.NOT_COORDINATOR, this.#now()));
    assert.equal(this.#open.size, 0, "a request was never answered");
    this.#appends.clear();
    this.#group = this.#committed === null
      ? new ClassicGroup("g", this.#settings, this.#now())
      : ClassicGroup.restore("g", this.#committed, this.#settings, this.#now());
    this.#apply(this.#group.enforceMaxSize(this.#now()));
  }

  #apply(effects: readonly GroupEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === "append") this.#appends.set(effect.appendId, effect.metadata);
      if (effect.kind !== "joinAnswer" && effect.kind !== "syncAnswer") continue;
      assert(this.#open.delete(effect.requestId), `request ${effect.requestId} answered twice`);
      if (effect.kind === "joinAnswer" && effect.answer.error === ErrorCode.NONE) {
        assert.equal(effect.answer.generationId, this.#group.generationId);
        assert(
          effect.answer.members.length === 0 || effect.answer.leader === effect.answer.memberId,
        );
      }
    }
  }

  #check(): void {
    const group = this.#group;
    const members = group.members();
    const ids = members.map(({ memberId }) => memberId);
    const instances = members.flatMap(({ groupInstanceId }) => groupInstanceId ?? []);
    assert.equal(new Set(instances).size, instances.length, "an instance id has two members");
    if (group.leader !== null) assert(ids.includes(group.leader), "the leader is no member");
    switch (group.state) {
      case "Empty":
        assert.equal(members.length, 0);
        break;
      case "CompletingRebalance":
      case "Stable":
        assert(members.length > 0 && group.leader !== null && group.protocolName !== null);
        break;
      default:
    }
    // Somebody who waits is never left without a deadline that ends the wait.
    const canHang = this.#open.size > 0 && this.#appends.size === 0;
    assert(!canHang || group.nextDeadlineMs < Infinity, `${group.state}: nothing ends the wait`);
  }

  #now(): Now {
    return { monotonicMs: this.#nowMs, wallMs: timestampMs(1_000_000 + this.#nowMs) };
  }
}

test("ClassicGroup: random events keep its invariants, and every request is answered once", () => {
  for (let seed = 1; seed <= SEED_COUNT; seed++) {
    expect(() => new Chaos(seed).run(), `seed ${seed}`).not.toThrow();
  }
});
