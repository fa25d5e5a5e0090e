/**
 * Random lives of one broker's machine beside a controller that moves, answers late or not at all, fences, forgets
 * and takes somebody else for it; then everything is well again, and so must the broker be.
 */

import assert from "node:assert/strict";
import { describe, expect, test } from "bun:test";
import {
  BrokerState,
  type LifecycleAnswer,
  type LifecycleEffect,
  LifecycleMachine,
  type LifecycleSettings,
} from "../../broker/lifecycle_machine.ts";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import type { Uuid } from "../../protocol/types.ts";
import { SimRandom } from "../sim/sim_random.ts";

const SETTINGS = {
  heartbeatIntervalMs: 300,
  sessionTimeoutMs: 1_500,
  registrationTimeoutMs: 60_000,
  directoryTimeoutMs: 30_000,
};
/** How long the driver waits for the answer to a heartbeat, and to a registration. */
const HEARTBEAT_TIMEOUT_MS = 750;
const REGISTRATION_TIMEOUT_MS = 30_000;
/** For how long a controller may say nothing to one that wants to go. */
const SILENCE_MS = 1_000;
/** Requests in a second: at most one each 50 ms while it waits to be let go, and what events ask for besides. */
const MAX_REQUESTS_A_SECOND = 25;
const LIVES = 400;

type Request = Extract<LifecycleEffect, { readonly type: "register" | "heartbeat" }>;

interface Registration {
  epoch: number;
  isOurs: boolean;
  isFenced: boolean;
  isShuttingDown: boolean;
  heardMs: number;
}

/** What is to happen at a time. */
interface Event {
  readonly atMs: number;
  readonly run: () => void;
}

class World {
  readonly #random: SimRandom;
  readonly #machine: LifecycleMachine;
  readonly trace: string[] = [];
  #nowMs = 0;
  #events: Event[] = [];
  #isHealed = false;
  // The controller, and the way to it.
  #offset = 10;
  #registration: Registration | null = null;
  /** When it last heard a heartbeat. */
  #heardMs = -Infinity;
  #offlineDirs = new Set<Uuid>();
  #cordoned: readonly Uuid[] = [];
  /** Probabilities of this life. */
  readonly #lost: number;
  readonly #late: number;
  #isGone = false;
  /** Since when every request has been heard and answered in time. */
  #healthyMs = 0;
  // The broker.
  #inFlight: Request | null = null;
  #sentMs: number[] = [];
  #isReady = false;
  #metadataOffset = 0;
  #offline: Uuid[] = [];
  #wantCordoned: readonly Uuid[] = [];
  #acceptedEpoch = -1;
  #mayHeartbeat = false;
  #failedMs = -Infinity;
  /** When the controller's last good answer came. */
  #contactMs = -Infinity;
  #stopMs = -1;
  /** As it was told last. */
  #mayGo = false;
  #isOver = false;
  #isFatal = false;
  #wasUnfencedBy: LifecycleAnswer | null = null;
  caughtUpCount = 0;
  isUnfenced = false;

  constructor(seed: number) {
    this.#random = new SimRandom(seed);
    this.#lost = this.#random.pick([0, 0, 0.1, 0.4]);
    this.#late = this.#random.pick([0, 0.2, 0.6]);
    const random = this.#random.fork("machine");
    this.#machine = new LifecycleMachine({ settings: SETTINGS, random });
    if (this.#random.chance(0.3)) {
      this.#registration = {
        epoch: 7,
        isOurs: false,
        isFenced: this.#random.chance(0.5),
        isShuttingDown: false,
        heardMs: 0,
      };
    }
  }

  live(): void {
    this.#do("start", () => this.#machine.start(this.#nowMs));
    const faultsMs = this.#random.between(2_000, 20_000);
    while (this.#nowMs < faultsMs && !this.#isOver) {
      this.#run(this.#nowMs + this.#random.between(1, 800));
      this.#fault();
    }
    this.#heal();
  }

  // ── time ────────────────────────────────────────────────────────────────────────────────────────

  #run(untilMs: number): void {
    for (;;) {
      const next = this.#events.toSorted((a, b) => a.atMs - b.atMs)[0];
      const tickMs = this.#machine.nextMs;
      const atMs = Math.max(this.#nowMs, Math.min(next?.atMs ?? Infinity, tickMs));
      if (atMs > untilMs) break;
      this.#nowMs = atMs;
      this.#expire();
      if (next !== undefined && next.atMs <= atMs) {
        this.#events = this.#events.filter((event) => event !== next);
        next.run();
      } else this.#do("tick", () => this.#machine.tick(this.#nowMs));
    }
    this.#nowMs = untilMs;
    this.#expire();
  }

  #in(ms: number, run: () => void): void {
    this.#events.push({ atMs: this.#nowMs + ms, run });
  }

  // ── what the machine does ───────────────────────────────────────────────────────────────────────

  #do(what: string, happen: () => LifecycleEffect[]): void {
    const effects = happen();
    this.trace.push(`${this.#nowMs.toFixed(1)} ${what}: ${JSON.stringify(effects)}`);
    assert(!this.#isOver || effects.length === 0 || what === "stop", "it acts after its end");
    for (const effect of effects) this.#apply(effect);
    assert(this.#machine.nextMs > this.#nowMs, "a tick that is due already: it would spin");
    if (this.#isOver) return;
    const isSilent = this.#nowMs - this.#contactMs > SETTINGS.sessionTimeoutMs;
    const isFenced = this.#machine.fencedReason(this.#nowMs) !== null;
    assert(isFenced || (!isSilent && this.isUnfenced), "it does not know that it is fenced");
    assert(!isFenced || isSilent || !this.isUnfenced, "it takes itself for fenced");
    if (!this.#machine.holdsLease(this.#nowMs)) return;
    const endMs = this.#heardMs + SETTINGS.sessionTimeoutMs;
    assert(!isFenced && this.#nowMs < endMs, "its lease outlives its session");
  }

  #apply(effect: LifecycleEffect): void {
    switch (effect.type) {
      case "register":
      case "heartbeat":
        return this.#send(effect);
      case "caughtUp":
        this.caughtUpCount++;
        assert(this.#metadataOffset >= this.#acceptedEpoch, "caught up before its registration");
        assert(this.#acceptedEpoch >= 0);
        return;
      case "unfenced":
        assert(this.#wasUnfencedBy?.type === "heartbeat" && !this.#wasUnfencedBy.isFenced);
        this.isUnfenced = true;
        return;
      case "fenced":
        assert(this.isUnfenced, "fenced twice");
        this.isUnfenced = false;
        return;
      case "shutDown":
        assert(this.#stopMs >= 0, "it goes without having been asked to");
        assert(
          this.#mayGo || !this.isUnfenced || !this.#mayHeartbeat ||
            this.#nowMs >= this.#contactMs + SETTINGS.sessionTimeoutMs ||
            (this.#nowMs >= this.#contactMs + SILENCE_MS && this.#nowMs >= this.#stopMs + 500),
          "it goes while it leads",
        );
        this.#isOver = true;
        return;
      case "giveUp":
        assert(
          this.#isFatal || (this.#acceptedEpoch < 0 && this.#nowMs >= 60_000) ||
            (this.#offline.length > 0 && !(this.#nowMs - this.#healthyMs > 2_000)),
          `it gives up: ${effect.reason}`,
        );
        this.#isOver = true;
    }
  }

  #send(request: Request): void {
    assert(this.#inFlight === null, "two requests under way");
    this.#inFlight = request;
    this.#sentMs = [...this.#sentMs.filter((ms) => ms > this.#nowMs - 1_000), this.#nowMs];
    assert(this.#sentMs.length <= MAX_REQUESTS_A_SECOND, "too many requests");
    assert(
      this.#nowMs - this.#failedMs >= 79 || this.#hurried,
      "again at once, after what came to nothing",
    );
    if (request.type === "heartbeat") {
      assert.equal(request.brokerEpoch, this.#acceptedEpoch, "a heartbeat of another registration");
      assert(this.#mayHeartbeat, "a heartbeat of a registration that is gone");
      assert(request.wantFence === !this.#isReady, "wants to serve before it can");
      assert.equal(request.wantShutDown, this.#stopMs >= 0);
    }
    const isHealthy = this.#isHealed;
    const isLost = this.#isGone || (!isHealthy && this.#random.chance(this.#lost));
    const isHeard = !this.#isGone && (!isLost || this.#random.chance(0.5));
    const isRegister = request.type === "register";
    const timeoutMs = isRegister ? REGISTRATION_TIMEOUT_MS : HEARTBEAT_TIMEOUT_MS;
    const isLate = !isHealthy && this.#random.chance(this.#late);
    const thereMs = isLate ? this.#random.between(1, timeoutMs / 2 - 1) : 1;
    const backMs = isLate ? this.#random.between(1, timeoutMs / 2 - 1) : 1;
    if (isLost) this.#healthyMs = Infinity;
    let answer: LifecycleAnswer = { type: "lost", reason: "lost" };
    if (isHeard) {
      this.#in(thereMs, () => {
        const made = this.#answer(request);
        if (!isLost) answer = made;
      });
    }
    this.#in(isLost ? timeoutMs : thereMs + backMs, () => this.#answered(request, answer));
  }

  #hurried = false;

  #answered(request: Request, answer: LifecycleAnswer): void {
    this.#inFlight = null;
    this.#hurried = false;
    const isFailure = answer.type === "lost" || answer.type === "refused";
    this.#failedMs = isFailure ? this.#nowMs : -Infinity;
    if (isFailure) this.#healthyMs = Infinity;
    else {
      this.#contactMs = this.#nowMs;
      if (this.#healthyMs === Infinity) this.#healthyMs = this.#nowMs;
    }
    if (answer.type === "registered") {
      this.#acceptedEpoch = answer.brokerEpoch;
      this.#mayHeartbeat = true;
    }
    if (answer.type === "refused" && request.type === "heartbeat") {
      const isForgotten = answer.error === ErrorCode.STALE_BROKER_EPOCH ||
        answer.error === ErrorCode.BROKER_ID_NOT_REGISTERED;
      if (isForgotten) this.#mayHeartbeat = false;
    }
    if (answer.type === "refused" && answer.error === ErrorCode.UNSUPPORTED_VERSION) {
      this.#isFatal = true;
    }
    this.#wasUnfencedBy = answer;
    if (answer.type === "heartbeat") this.#mayGo = answer.shouldShutDown;
    const text = answer.type === "refused" ? errorName(answer.error) : answer.type;
    this.#do(`answer ${text}`, () => this.#machine.answer(this.#nowMs, answer));
  }

  // ── the controller ──────────────────────────────────────────────────────────────────────────────

  /** Brokers that have been silent for a session are fenced. */
  #expire(): void {
    const known = this.#registration;
    if (known === null || known.isFenced) return;
    if (this.#nowMs - known.heardMs <= SETTINGS.sessionTimeoutMs) return;
    const isUnexplained = known.isOurs && !this.#isOver &&
      this.#nowMs - this.#healthyMs > 2 * SETTINGS.sessionTimeoutMs;
    assert(!isUnexplained, "it was silent for a session, though everything that it sent was heard");
    known.isFenced = true;
    this.trace.push(`${this.#nowMs.toFixed(1)} the controller fences it`);
  }

  #answer(request: Request): LifecycleAnswer {
    const known = this.#registration;
    const refused = (error: ErrorCode): LifecycleAnswer => ({ type: "refused", error });
    if (!this.#isHealed && this.#random.chance(0.05)) return refused(ErrorCode.NOT_CONTROLLER);
    if (request.type === "register") {
      if (this.#isFatal) return refused(ErrorCode.UNSUPPORTED_VERSION);
      if (known !== null && !known.isOurs && !known.isFenced) {
        return refused(ErrorCode.DUPLICATE_BROKER_REGISTRATION);
      }
      if (known?.isOurs !== true) {
        if (known === null) this.#cordoned = [];
        assert.equal(request.lastEpoch, this.#acceptedEpoch, "its last epoch");
        this.#registration = {
          epoch: this.#append(),
          isOurs: true,
          isFenced: true,
          isShuttingDown: false,
          heardMs: this.#nowMs,
        };
      }
      return { type: "registered", brokerEpoch: this.#registration!.epoch };
    }
    if (known === null) return refused(ErrorCode.BROKER_ID_NOT_REGISTERED);
    if (!known.isOurs || known.epoch !== request.brokerEpoch) {
      return refused(ErrorCode.STALE_BROKER_EPOCH);
    }
    known.heardMs = this.#nowMs;
    this.#heardMs = this.#nowMs;
    for (const id of request.offlineLogDirs) this.#offlineDirs.add(id);
    this.#cordoned = request.cordonedLogDirs ?? this.#cordoned;
    const isCaughtUp = request.metadataOffset >= known.epoch;
    if (request.wantShutDown) {
      // It takes a while until the others know.
      const mayGo = known.isFenced || (known.isShuttingDown && this.#random.chance(0.3));
      known.isShuttingDown = true;
      return { type: "heartbeat", isCaughtUp, isFenced: known.isFenced, shouldShutDown: mayGo };
    }
    const isFenced = request.wantFence || (known.isFenced && !isCaughtUp);
    if (isFenced !== known.isFenced) this.#append();
    known.isFenced = isFenced;
    return { type: "heartbeat", isCaughtUp, isFenced, shouldShutDown: false };
  }

  /** Writes a record, which the broker applies a while later. Returns: its offset. */
  #append(): number {
    const offset = ++this.#offset;
    const delayMs = this.#isHealed ? 2 : this.#random.between(1, this.#random.pick([5, 1_000]));
    this.#in(delayMs, () => this.#applied(offset));
    return offset;
  }

  #applied(offset: number): void {
    if (offset <= this.#metadataOffset) return;
    if (this.#metadataOffset < this.#acceptedEpoch) this.#hurried ||= offset >= this.#acceptedEpoch;
    this.#metadataOffset = offset;
    this.#do(`metadata ${offset}`, () => this.#machine.noteMetadata(this.#nowMs, offset));
  }

  // ── what happens ────────────────────────────────────────────────────────────────────────────────

  #fault(): void {
    const known = this.#registration;
    const kind = this.#random.pick(
      ["ready", "ready", "directory", "cordon", "gone", "forget", "taken", "jump", "write", "stop"],
    );
    this.trace.push(`${this.#nowMs.toFixed(1)} ${kind}`);
    switch (kind) {
      case "ready":
        if (this.caughtUpCount === 0) return;
        this.#isReady = true;
        this.#hurried = true;
        return this.#do("ready", () => this.#machine.setReady(this.#nowMs));
      case "directory":
        for (let count = this.#random.between(1, 3); count > 0; count--) {
          this.#offline = [...this.#offline, `dir${this.#offline.length}` as Uuid];
        }
        return this.#directories();
      case "cordon":
        this.#wantCordoned = this.#random.pick<readonly Uuid[]>([[], ["c1" as Uuid]]);
        return this.#directories();
      case "gone":
        this.#isGone = !this.#isGone && this.#random.chance(0.5);
        if (this.#isGone) this.#healthyMs = Infinity;
        return;
      case "forget":
        if (this.#random.chance(0.5)) this.#registration = null;
        return;
      case "taken":
        if (known === null || !known.isOurs || !this.#random.chance(0.3)) return;
        this.#registration = {
          ...known,
          epoch: this.#append(),
          isOurs: false,
          heardMs: this.#nowMs,
        };
        return;
      case "jump": {
        // The process stood still: what was due comes late.
        this.#nowMs += this.#random.between(1, 10_000);
        this.#healthyMs = Infinity;
        return;
      }
      case "write":
        this.#append();
        return;
      case "stop":
        if (this.#random.chance(0.15)) this.#stop();
    }
  }

  #directories(): void {
    this.#hurried = true;
    const news = { offline: this.#offline, cordoned: this.#wantCordoned };
    this.#do("directories", () => this.#machine.noteDirectories(this.#nowMs, news));
  }

  #stop(): void {
    if (this.#stopMs >= 0 || this.#isOver) return;
    this.#stopMs = this.#nowMs;
    this.#hurried = true;
    this.#do("stop", () => this.#machine.beginControlledShutdown(this.#nowMs));
  }

  /** Everything is well from now on: the broker takes part soon, or has gone. */
  #heal(): void {
    this.trace.push(`${this.#nowMs.toFixed(1)} healed`);
    this.#isHealed = true;
    this.#isGone = false;
    // What was sent before may still take its time.
    this.#run(this.#nowMs + REGISTRATION_TIMEOUT_MS + 100);
    if (this.#isOver) return;
    if (!this.#isReady) {
      this.#isReady = true;
      this.#hurried = true;
      this.#do("ready", () => this.#machine.setReady(this.#nowMs));
    }
    this.#run(this.#nowMs + 5_000);
    if (this.#stopMs >= 0) {
      assert(this.#isOver, "it was not let go");
      return;
    }
    assert.equal(this.#machine.fencedReason(this.#nowMs), null, "not unfenced once all is well");
    assert.equal(this.#machine.state, BrokerState.running);
    assert(this.isUnfenced && !this.#registration!.isFenced && this.#registration!.isOurs);
    assert.equal(this.caughtUpCount, 1);
    assert.deepEqual([...this.#offlineDirs].toSorted(), this.#offline.toSorted(), "offline");
    assert.deepEqual(this.#cordoned, this.#wantCordoned, "cordoned");
    this.#isGone = this.#random.chance(0.5);
    this.#healthyMs = Infinity;
    this.#stop();
    // One that is under way may still be answered.
    const silentMs = SETTINGS.sessionTimeoutMs + HEARTBEAT_TIMEOUT_MS;
    this.#run(this.#nowMs + (this.#isGone ? silentMs : 5_000));
    assert(this.#isOver, "it does not go");
    assert.equal(this.#machine.nextMs, Infinity);
  }
}

const GOOD_ANSWER = {
  type: "heartbeat",
  isCaughtUp: true,
  isFenced: false,
  shouldShutDown: false,
} as const;

/** A machine that takes part, its last heartbeat sent at 5 and answered at 10. */
function running(settings: LifecycleSettings = SETTINGS): LifecycleMachine {
  const random = new SimRandom(1);
  const machine = new LifecycleMachine({ settings, random });
  machine.start(0);
  machine.answer(5, { type: "registered", brokerEpoch: 3 });
  machine.noteMetadata(5, 3);
  machine.setReady(5);
  const effects = machine.answer(10, GOOD_ANSWER);
  assert.deepEqual(effects, [{ type: "unfenced" }]);
  return machine;
}

describe("LifecycleMachine", () => {
  test(`${LIVES} random lives`, () => {
    const seen = { unfenced: 0, over: 0 };
    for (let seed = 1; seed <= LIVES; seed++) {
      const world = new World(seed);
      try {
        world.live();
      } catch (failure) {
        console.error(`seed ${seed}\n${world.trace.slice(-60).join("\n")}`);
        throw failure;
      }
      if (world.isUnfenced) seen.unfenced++;
      else seen.over++;
    }
    // Most get there; some stop before or give up.
    expect(seen.unfenced).toBeGreaterThan(LIVES / 2);
    expect(seen.over).toBeGreaterThan(LIVES / 50);
  });

  test("heartbeats that are heard and whose answers are lost keep the session", () => {
    const machine = running();
    let sentMs = 0;
    for (let count = 0; count < 20; count++) {
      const nowMs = machine.nextMs;
      expect(nowMs - sentMs).toBeLessThan(SETTINGS.sessionTimeoutMs);
      expect(machine.tick(nowMs)).toMatchObject([{ type: "heartbeat" }]);
      sentMs = nowMs;
      machine.answer(nowMs + HEARTBEAT_TIMEOUT_MS, { type: "lost", reason: "" });
    }
  });

  test("a lease counts from when the answered heartbeat was sent, and ends well within the session", () => {
    const machine = running();
    const endMs = 5 + 0.6 * SETTINGS.sessionTimeoutMs;
    expect(machine.holdsLease(endMs - 1)).toBe(true);
    expect(machine.holdsLease(endMs)).toBe(false);
    // The controller knows of something that was taken from this broker, or is not certain of itself.
    const sentMs = machine.nextMs;
    machine.tick(sentMs);
    machine.answer(sentMs + 700, { ...GOOD_ANSWER, isCaughtUp: false });
    expect(machine.holdsLease(endMs)).toBe(false);
    machine.tick(machine.nextMs);
    machine.answer(endMs + 500, GOOD_ANSWER);
    expect(machine.holdsLease(endMs + 500)).toBe(true);
  });

  test("who asks to be let go acts for nobody from then on", () => {
    const machine = running();
    expect(machine.holdsLease(20)).toBe(true);
    machine.beginControlledShutdown(20);
    expect(machine.holdsLease(20)).toBe(false);
  });

  test("a lease is renewed in time whatever the heartbeat interval", () => {
    const settings = { ...SETTINGS, heartbeatIntervalMs: 60_000 };
    const machine = running(settings);
    expect(machine.holdsLease(machine.nextMs + 100)).toBe(true);
  });

  test("a directory that fails while a heartbeat is under way is not told by that one", () => {
    const machine = running();
    const sentMs = machine.nextMs;
    expect(machine.tick(sentMs)).toMatchObject([{ type: "heartbeat", offlineLogDirs: [] }]);
    const news = { offline: ["lost" as Uuid], cordoned: [] };
    expect(machine.noteDirectories(sentMs + 1, news)).toEqual([]);
    expect(machine.answer(sentMs + 2, GOOD_ANSWER)).toMatchObject([
      { type: "heartbeat", offlineLogDirs: ["lost"] },
    ]);
    const deadlineMs = sentMs + 1 + SETTINGS.directoryTimeoutMs;
    expect(machine.nextMs).toBe(deadlineMs);
    expect(machine.tick(deadlineMs)).toMatchObject([{ type: "giveUp" }]);
  });

  test("what takes no new partitions is said again where the answer was lost", () => {
    const machine = running();
    const cordon = (nowMs: number, cordoned: readonly Uuid[]) =>
      machine.noteDirectories(nowMs, { offline: [], cordoned });
    expect(cordon(20, ["c" as Uuid])).toMatchObject([{ cordonedLogDirs: ["c"] }]);
    cordon(21, []);
    machine.answer(770, { type: "lost", reason: "" });
    expect(machine.tick(machine.nextMs)).toMatchObject([{ cordonedLogDirs: [] }]);
  });

  test("a registration that no waiting helps ends it, any other is tried again", () => {
    const errors: readonly [ErrorCode, boolean][] = [
      [ErrorCode.INCONSISTENT_CLUSTER_ID, true],
      [ErrorCode.INVALID_REGISTRATION, true],
      [ErrorCode.UNSUPPORTED_VERSION, true],
      [ErrorCode.DUPLICATE_BROKER_REGISTRATION, false],
      [ErrorCode.NOT_CONTROLLER, false],
      [ErrorCode.KAFKA_STORAGE_ERROR, false],
    ];
    for (const [error, isFatal] of errors) {
      const machine = new LifecycleMachine({
        settings: SETTINGS,
        random: new SimRandom(1),
      });
      machine.start(0);
      const effects = machine.answer(5, { type: "refused", error });
      expect(effects.map(({ type }) => type)).toEqual(isFatal ? ["giveUp"] : []);
      if (isFatal) expect(machine.nextMs).toBe(Infinity);
      else expect(machine.nextMs).toBeWithin(5 + 80, 5 + 101);
    }
  });
});
