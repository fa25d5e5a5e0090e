/**
 * The life of a broker in its cluster, as a pure state machine: when it registers, sends a heartbeat, takes
 * itself for fenced, and may go.
 *
 *                    registered, and its own metadata            a heartbeat is answered
 *                    has got as far as the registration          "not fenced"
 *       starting ───────────────────────────────────→ recovery ──────────────────────→ running
 *          ↑ │                                          ↑ │                              │ │
 *          │ │          the controller does not know    │ │      fenced, or not known    │ │ a stop begins
 *          └─┴────────── this registration any more ────┴─┴──────────────────────────────┘ ↓
 *                                                                     pending controlled shutdown
 *       shutting down ←── the controller lets it go, or has been silent for a second ──────┘
 *
 * One request is under way at a time. What should be said meanwhile is said when that one is answered; what is
 * not answered is said again after a pause that doubles. A broker that has heard nothing for a session takes
 * itself for fenced: by then the controller has given to others what it led. Well before that its lease is over
 * (`broker_lease.ts`): it does not act on leaderships that it may have lost without hearing of it.
 *
 * Pure: time is an argument, requests and news are returned values, chance only spreads the pauses.
 *
 * Source: Kafka's BrokerLifecycleManager; KIP-631, KIP-858 (directories), KIP-966 (previous broker epoch).
 * There a broker whose registration is gone goes on asking until somebody restarts it; here it registers anew.
 */

import assert from "node:assert/strict";
import { ErrorCode, errorName } from "../protocol/errors.ts";
import type { Uuid } from "../protocol/types.ts";
import type { Random } from "../storage/platform.ts";
import { leaseMs } from "./controller/broker_lease.ts";

/** The states, with the numbers that Kafka's metric `BrokerState` gives them. */
export const BrokerState = {
  starting: 1,
  recovery: 2,
  running: 3,
  pendingControlledShutdown: 6,
  shuttingDown: 7,
} as const;
/** One of them. */
export type BrokerState = typeof BrokerState[keyof typeof BrokerState];

/** The first pause after a request that came to nothing. */
const FIRST_BACKOFF_MS = 100;
/** Pauses are up to this much shorter, so that brokers do not ask at the same moment. */
const BACKOFF_SPREAD = 0.2;
/** Time between two questions whether it may go. */
const SHUTDOWN_POLL_MS = 50;
/** A controller that has said nothing for so long while the broker wants to go will not let it go in good order. */
const SHUTDOWN_SILENCE_MS = 1_000;
/** A stop waits for so long at least, whenever the controller was heard of last. */
const SHUTDOWN_PATIENCE_MS = 500;
const UINT32_RANGE = 2 ** 32;

/** Answers to a registration that no waiting changes, and what is to be done. */
const FATAL_ERRORS: ReadonlyMap<ErrorCode, string> = new Map([
  [
    ErrorCode.INCONSISTENT_CLUSTER_ID,
    "it belongs to another cluster; check the controllers' addresses, and the cluster.id in meta.properties of log.dirs",
  ],
  [
    ErrorCode.INVALID_REGISTRATION,
    "the log of the active controller says why; check node.id, and that no directory of log.dirs is a copy of another " +
    "broker's",
  ],
  [
    ErrorCode.UNSUPPORTED_VERSION,
    "the cluster works at a level of a feature that this version does not; the log of the active controller says " +
    'which. Start a version that does: "kafka-features describe" shows the levels in force',
  ],
]);
/** Answers to a heartbeat by which this registration is not the newest, or is none. */
const FORGOTTEN_ERRORS: ReadonlySet<ErrorCode> = new Set([
  ErrorCode.STALE_BROKER_EPOCH,
  ErrorCode.BROKER_ID_NOT_REGISTERED,
]);

/** How the machine is paced. Units: ms. */
export interface LifecycleSettings {
  /** `broker.heartbeat.interval.ms`. */
  readonly heartbeatIntervalMs: number;
  /** `broker.session.timeout.ms`. */
  readonly sessionTimeoutMs: number;
  /** `initial.broker.registration.timeout.ms`. */
  readonly registrationTimeoutMs: number;
  /** `log.dir.failure.timeout.ms`. */
  readonly directoryTimeoutMs: number;
}

/** Log directories, by their ids, as far as the controller is to hear of them. */
export interface DirectoryNews {
  /** Those that have failed since the start. */
  readonly offline: readonly Uuid[];
  /** Those that take no new partitions. */
  readonly cordoned: readonly Uuid[];
}

/** What is to be done, in order. */
export type LifecycleEffect =
  /** `lastEpoch` is that of this process' registration before, −1 where it is the first. */
  | { readonly type: "register"; readonly lastEpoch: number }
  | {
    readonly type: "heartbeat";
    readonly brokerEpoch: number;
    readonly metadataOffset: number;
    readonly wantFence: boolean;
    readonly wantShutDown: boolean;
    readonly offlineLogDirs: readonly Uuid[];
    /** Null where the controller has been told already. */
    readonly cordonedLogDirs: readonly Uuid[] | null;
  }
  /** The metadata is known up to the registration, for the first time. */
  | { readonly type: "caughtUp" }
  | { readonly type: "unfenced" }
  | { readonly type: "fenced"; readonly reason: string }
  /** The stop may go on. */
  | { readonly type: "shutDown"; readonly reason: string }
  /** The broker cannot go on and is to be stopped. */
  | { readonly type: "giveUp"; readonly reason: string };

/** How a request ended. */
export type LifecycleAnswer =
  | { readonly type: "registered"; readonly brokerEpoch: number }
  | {
    readonly type: "heartbeat";
    /** With what it knew when it asked, it may act for a while. */
    readonly isCaughtUp: boolean;
    readonly isFenced: boolean;
    readonly shouldShutDown: boolean;
  }
  | { readonly type: "refused"; readonly error: ErrorCode }
  /** Nobody answered in time. */
  | { readonly type: "lost"; readonly reason: string };

type Heartbeat = Extract<LifecycleEffect, { readonly type: "heartbeat" }>;

/** The life of one process as a broker. */
export class LifecycleMachine {
  readonly #settings: LifecycleSettings;
  readonly #random: Random;
  #effects: LifecycleEffect[] = [];
  #state: BrokerState = BrokerState.starting;
  #isReady = false;
  #isFenced = true;
  #metadataOffset = -1;
  /** Of the last registration; −1 before the first. */
  #brokerEpoch = -1;
  /** False again where the controller does not know the last registration. */
  #isRegistered = false;
  /** When the controller last took something from this registration. */
  #lastContactMs = -Infinity;
  #registerByMs = Infinity;
  #inFlight: Heartbeat | "registration" | null = null;
  #sentMs = -Infinity;
  #leaseEndMs = -Infinity;
  /** When the stop began. */
  #shutdownMs = Infinity;
  #sendAtMs = Infinity;
  /** Something is to be said as soon as the request under way is answered. */
  #isHurried = false;
  #failureCount = 0;
  #offline: readonly Uuid[] = [];
  /** Until when the controller must have heard of a directory. */
  readonly #untold = new Map<Uuid, number>();
  #cordoned: readonly Uuid[] = [];
  /** Null while nobody knows what the controller knows. */
  #toldCordoned: readonly Uuid[] | null = null;

  constructor({ settings, random }: {
    readonly settings: LifecycleSettings;
    readonly random: Random;
  }) {
    this.#settings = settings;
    this.#random = random;
  }

  get state(): BrokerState {
    return this.#state;
  }

  /** The epoch of the last registration; −1 before the first. */
  get brokerEpoch(): number {
    return this.#brokerEpoch;
  }

  /** When `tick` is to be called; Infinity for never. */
  get nextMs(): number {
    if (this.#state === BrokerState.shuttingDown) return Infinity;
    return Math.min(
      this.#inFlight === null ? this.#sendAtMs : Infinity,
      this.#registerByMs,
      this.#state === BrokerState.pendingControlledShutdown ? this.#shutdownEndMs : Infinity,
      ...this.#untold.values(),
    );
  }

  /** Why others take no notice of this broker, in one sentence; null while it takes part. */
  fencedReason(nowMs: number): string | null {
    if (this.#brokerEpoch < 0) return "the broker is fenced: it has not been able to register";
    if (!this.#isRegistered) return "the broker is fenced: it registers anew";
    if (this.#state === BrokerState.starting) {
      return "the broker is fenced: it has not read the metadata up to its registration";
    }
    if (nowMs > this.#sessionEndMs) {
      const seconds = ((nowMs - this.#lastContactMs) / 1000).toFixed(1);
      return `the broker is fenced: no controller has answered for ${seconds} s`;
    }
    return this.#isFenced ? "the broker is fenced" : null;
  }

  /** What the metadata says here of who leads may be acted on: nobody else does yet. */
  holdsLease(nowMs: number): boolean {
    return this.#state === BrokerState.running && nowMs < this.#leaseEndMs;
  }

  /** The process begins. */
  start(nowMs: number): LifecycleEffect[] {
    this.#registerByMs = nowMs + this.#settings.registrationTimeoutMs;
    this.#sendAtMs = nowMs;
    return this.#step(nowMs);
  }

  /** The metadata has been applied up to `offset`. */
  noteMetadata(nowMs: number, offset: number): LifecycleEffect[] {
    const wasCaughtUp = this.#isCaughtUp;
    this.#metadataOffset = offset;
    if (this.#isCaughtUp && !wasCaughtUp && this.#isReady) this.#hurry(nowMs);
    return this.#step(nowMs);
  }

  /** The broker can serve: from now on it wants to be unfenced. */
  setReady(nowMs: number): LifecycleEffect[] {
    if (!this.#isReady) this.#hurry(nowMs);
    this.#isReady = true;
    return this.#step(nowMs);
  }

  /** Log directories have failed, or take no new partitions, or take them again. */
  noteDirectories(nowMs: number, { offline, cordoned }: DirectoryNews): LifecycleEffect[] {
    const failed = offline.filter((id) => !this.#offline.includes(id));
    for (const id of failed) this.#untold.set(id, nowMs + this.#settings.directoryTimeoutMs);
    const isNews = failed.length > 0 || !isSameSet(cordoned, this.#cordoned);
    this.#offline = [...this.#offline, ...failed];
    this.#cordoned = cordoned;
    if (isNews) this.#hurry(nowMs);
    return this.#step(nowMs);
  }

  /** A stop begins: what is led here is to be led by others before it goes on. */
  beginControlledShutdown(nowMs: number): LifecycleEffect[] {
    const isServing = this.#state === BrokerState.running && nowMs <= this.#sessionEndMs;
    if (!isServing) this.#shutDown("the broker is fenced: it leads nothing");
    else {
      this.#state = BrokerState.pendingControlledShutdown;
      this.#shutdownMs = nowMs;
      this.#hurry(nowMs);
    }
    return this.#step(nowMs);
  }

  /** The request under way has ended. */
  answer(nowMs: number, answer: LifecycleAnswer): LifecycleEffect[] {
    const asked = this.#inFlight;
    assert(asked !== null, "an answer to nothing");
    this.#inFlight = null;
    if (this.#state === BrokerState.shuttingDown) return [];
    switch (answer.type) {
      case "registered":
        this.#registered(nowMs, answer.brokerEpoch);
        break;
      case "heartbeat":
        assert(asked !== "registration", "a registration is answered as a heartbeat");
        this.#heard(nowMs, asked, answer);
        break;
      case "refused":
        this.#refused(nowMs, asked, answer.error);
        break;
      case "lost":
        this.#failed(nowMs, asked);
        break;
    }
    return this.#step(nowMs);
  }

  /** Time has gone by. */
  tick(nowMs: number): LifecycleEffect[] {
    return this.#step(nowMs);
  }

  /** When the controller fences this broker at the latest, as far as it knows. */
  get #sessionEndMs(): number {
    return this.#lastContactMs + this.#settings.sessionTimeoutMs;
  }

  /** When nobody is waited for any more, by whom this broker would be let go. */
  get #shutdownEndMs(): number {
    const silentMs = Math.min(SHUTDOWN_SILENCE_MS, this.#settings.sessionTimeoutMs);
    return Math.max(this.#lastContactMs + silentMs, this.#shutdownMs + SHUTDOWN_PATIENCE_MS);
  }

  get #isCaughtUp(): boolean {
    return this.#isRegistered && this.#metadataOffset >= this.#brokerEpoch;
  }

  /** The next request goes out at once, or when the one under way is answered. */
  #hurry(nowMs: number): void {
    this.#isHurried = true;
    if (this.#isRegistered) this.#sendAtMs = Math.min(this.#sendAtMs, nowMs);
  }

  #registered(nowMs: number, brokerEpoch: number): void {
    this.#registerByMs = Infinity;
    this.#isRegistered = true;
    this.#brokerEpoch = brokerEpoch;
    this.#toldCordoned = null;
    this.#succeeded(nowMs, this.#settings.heartbeatIntervalMs);
    if (this.#isReady && this.#isCaughtUp) this.#sendAtMs = nowMs;
  }

  #heard(
    nowMs: number,
    asked: Heartbeat,
    { isCaughtUp, isFenced, shouldShutDown }: Extract<
      LifecycleAnswer,
      { readonly type: "heartbeat" }
    >,
  ): void {
    for (const id of asked.offlineLogDirs) this.#untold.delete(id);
    if (asked.cordonedLogDirs !== null) this.#toldCordoned = asked.cordonedLogDirs;
    if (this.#state === BrokerState.pendingControlledShutdown) {
      this.#succeeded(nowMs, SHUTDOWN_POLL_MS);
      if (shouldShutDown) this.#shutDown("the controller has given to others what was led here");
      return;
    }
    const { heartbeatIntervalMs, sessionTimeoutMs } = this.#settings;
    const wholeLeaseMs = leaseMs(sessionTimeoutMs);
    this.#succeeded(nowMs, Math.min(heartbeatIntervalMs, wholeLeaseMs / 2));
    if (isFenced) {
      this.#fence("the controller has fenced it");
      return;
    }
    if (isCaughtUp) this.#leaseEndMs = this.#sentMs + wholeLeaseMs;
    if (!this.#isFenced) return;
    this.#isFenced = false;
    this.#state = BrokerState.running;
    this.#effects.push({ type: "unfenced" });
  }

  #refused(nowMs: number, asked: Heartbeat | "registration", error: ErrorCode): void {
    const advice = FATAL_ERRORS.get(error);
    if (asked === "registration" && advice !== undefined) {
      this.#giveUp(
        `Cannot register this broker with the controller: ${advice} (${errorName(error)})`,
      );
      return;
    }
    this.#failed(nowMs, asked);
    if (asked === "registration" || !FORGOTTEN_ERRORS.has(error)) return;
    this.#isRegistered = false;
    if (this.#state === BrokerState.pendingControlledShutdown) {
      this.#shutDown("the controller does not know this registration: nothing is led here");
    } else this.#fence("the controller does not know this registration any more");
  }

  #fence(reason: string): void {
    if (this.#isFenced) return;
    this.#isFenced = true;
    this.#state = BrokerState.recovery;
    this.#effects.push({ type: "fenced", reason });
  }

  #succeeded(nowMs: number, nextInMs: number): void {
    this.#failureCount = 0;
    this.#lastContactMs = nowMs;
    this.#sendAtMs = this.#isHurried ? nowMs : nowMs + nextInMs;
  }

  /** A heartbeat that came to nothing may have been heard: the next must come within a session. */
  #failed(nowMs: number, asked: Heartbeat | "registration"): void {
    const { sessionTimeoutMs, heartbeatIntervalMs } = this.#settings;
    const longestMs = asked === "registration" ? sessionTimeoutMs : heartbeatIntervalMs;
    const pauseMs = Math.min(FIRST_BACKOFF_MS * 2 ** this.#failureCount, longestMs);
    this.#failureCount++;
    const spread = BACKOFF_SPREAD * this.#random.uint32() / UINT32_RANGE;
    this.#sendAtMs = nowMs + pauseMs * (1 - spread);
  }

  #shutDown(reason: string): void {
    this.#state = BrokerState.shuttingDown;
    this.#effects.push({ type: "shutDown", reason });
  }

  #giveUp(reason: string): void {
    this.#state = BrokerState.shuttingDown;
    this.#effects.push({ type: "giveUp", reason });
  }

  /** Does what is due. Returns: what has come together since the last call. */
  #step(nowMs: number): LifecycleEffect[] {
    if (this.#state !== BrokerState.shuttingDown) this.#checkDeadlines(nowMs);
    if (this.#state === BrokerState.starting && this.#isCaughtUp) {
      this.#state = BrokerState.recovery;
      this.#effects.push({ type: "caughtUp" });
    }
    if (
      this.#state !== BrokerState.shuttingDown && this.#inFlight === null &&
      nowMs >= this.#sendAtMs
    ) this.#send(nowMs);
    return this.#effects.splice(0);
  }

  #checkDeadlines(nowMs: number): void {
    if (nowMs >= this.#registerByMs) {
      const { registrationTimeoutMs } = this.#settings;
      this.#giveUp(
        `Cannot register this broker: no controller took it within ${registrationTimeoutMs} ms ` +
          "(initial.broker.registration.timeout.ms)",
      );
      return;
    }
    for (const [id, deadlineMs] of this.#untold) {
      if (nowMs < deadlineMs) continue;
      this.#giveUp(
        `Cannot tell the controller that log directory ${id} is offline within ` +
          `${this.#settings.directoryTimeoutMs} ms (log.dir.failure.timeout.ms): others would go on ` +
          "sending clients here for what lay in it",
      );
      return;
    }
    const isPending = this.#state === BrokerState.pendingControlledShutdown;
    if (isPending && nowMs >= this.#shutdownEndMs) {
      this.#shutDown("no controller answers: others lead once they have missed this broker");
    }
  }

  #send(nowMs: number): void {
    this.#sentMs = nowMs;
    this.#sendAtMs = Infinity;
    this.#isHurried = false;
    if (!this.#isRegistered) {
      this.#inFlight = "registration";
      this.#effects.push({ type: "register", lastEpoch: this.#brokerEpoch });
      return;
    }
    const isTold = this.#toldCordoned !== null && isSameSet(this.#toldCordoned, this.#cordoned);
    // What it says may be heard though the answer is lost: nothing is known until one comes.
    if (!isTold) this.#toldCordoned = null;
    this.#inFlight = {
      type: "heartbeat",
      brokerEpoch: this.#brokerEpoch,
      metadataOffset: this.#metadataOffset,
      wantFence: !this.#isReady,
      wantShutDown: this.#state === BrokerState.pendingControlledShutdown,
      offlineLogDirs: this.#offline,
      cordonedLogDirs: isTold ? null : this.#cordoned,
    };
    this.#effects.push(this.#inFlight);
  }
}

function isSameSet(a: readonly Uuid[], b: readonly Uuid[]): boolean {
  return new Set(a).symmetricDifference(new Set(b)).size === 0;
}
