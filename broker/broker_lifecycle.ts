/**
 * This broker as its cluster knows it: carries out what `lifecycle_machine.ts` decides.
 *
 *     clock, metadata, directories, stop ──→ LifecycleMachine ──→ requests to the active controller
 *                                                  ↑ └──────────→ caught up, unfenced, let go, given up
 *                                                  └── answers ──┘
 *
 * Invariants: one request is under way at a time, and one timer; after `stop` nothing is sent and nobody is told.
 *
 * Source: Kafka's BrokerLifecycleManager; KIP-631.
 */

import { ErrorCode, errorName } from "../protocol/errors.ts";
import type { Uuid } from "../protocol/types.ts";
import type { LogDirectories } from "../storage/log_directories.ts";
import type { Clock, Logger, Random, Timer } from "../storage/platform.ts";
import { randomUuid } from "../storage/random_uuid.ts";
import type { Controller } from "./controller/controller.ts";
import { ControllerCalls } from "./controller/controller_calls.ts";
import type { ControllerChannel } from "./controller/controller_channel.ts";
import type { BrokerEndpoint, FeatureRanges } from "./controller/metadata_image.ts";
import {
  BrokerState,
  type LifecycleAnswer,
  type LifecycleEffect,
  LifecycleMachine,
  type LifecycleSettings,
} from "./lifecycle_machine.ts";
import { NetworkError } from "./network.ts";

/** How long a registration may take; a controller that moves meanwhile is followed. */
const REGISTRATION_REQUEST_TIMEOUT_MS = 30_000;

/** The same of a stop: what holds up the answer holds up the end of the process. What was asked is done even so. */
const SHUTDOWN_ANSWER_MS = 400;

/** What a broker says of itself when it registers, besides its log directories. */
export interface Announcement {
  readonly endpoints: readonly BrokerEndpoint[];
  readonly features: FeatureRanges;
  readonly rack: string | null;
}

/** What the lifecycle works with. */
export interface BrokerLifecycleOptions {
  readonly nodeId: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings: LifecycleSettings;
  readonly announcement: Announcement;
  readonly channel: Pick<ControllerChannel, "call">;
  readonly controller: Pick<Controller, "image" | "subscribe">;
  readonly logDirectories: Pick<
    LogDirectories,
    | "clusterId"
    | "online"
    | "states"
    | "noteBrokerEpoch"
  >;
  /**
   * The epoch under which all that an incarnation before this one had acknowledged is still there; −1 where that is
   * not certain. Asked at each registration until one is taken: the metadata tells it.
   */
  readonly previousBrokerEpoch: () => number;
  /** Called once when the broker cannot go on and should be stopped. */
  readonly onFailure: (message: string) => void;
}

/** Somebody waits for the broker to come so far, and the broker cannot. */
export class LifecycleError extends Error {
  override name = "LifecycleError";
}

/** The life of this broker in its cluster. */
export class BrokerLifecycle {
  readonly #options: BrokerLifecycleOptions;
  readonly #incarnationId: Uuid;
  readonly #machine: LifecycleMachine;
  readonly #caughtUp = Promise.withResolvers<void>();
  readonly #unfenced = Promise.withResolvers<void>();
  readonly #letGo = Promise.withResolvers<void>();
  #timer: Timer | null = null;
  #timerMs = Infinity;
  #request: Promise<void> | null = null;
  #problem = "";
  #unsubscribe: (() => void) | null = null;
  #isStopped = false;

  constructor(options: BrokerLifecycleOptions) {
    this.#options = options;
    this.#incarnationId = randomUuid(options.random);
    this.#machine = new LifecycleMachine(options);
    // Whoever waits hears of it; nobody need wait.
    for (const { promise } of [this.#caughtUp, this.#unfenced]) promise.catch(() => undefined);
  }

  /** Begins to register, and shows from then on that this broker lives. */
  start(): void {
    if (this.#isStopped) return;
    this.directoriesChanged();
    this.#unsubscribe = this.#options.controller.subscribe(({ offset }) => {
      this.#perform((nowMs) => this.#machine.noteMetadata(nowMs, offset));
    });
    this.#perform((nowMs) => this.#machine.start(nowMs));
  }

  /** The epoch of the last registration; −1 before the first. */
  get brokerEpoch(): number {
    return this.#machine.brokerEpoch;
  }

  /** Where the broker stands, by Kafka's number. */
  get state(): BrokerState {
    return this.#machine.state;
  }

  /** No other broker acts yet as the leader of what this one leads by its metadata (`broker_lease.ts`). */
  get holdsLease(): boolean {
    return this.#machine.holdsLease(this.#options.clock.monotonicMs());
  }

  /** Why the cluster takes no notice of this broker, in one sentence; null while it takes part. */
  get fencedReason(): string | null {
    const reason = this.#machine.fencedReason(this.#options.clock.monotonicMs());
    return reason === null || this.#problem === "" ? reason : `${reason} (${this.#problem})`;
  }

  /**
   * Resolves once the metadata is known here up to this broker's registration: what an incarnation before this
   * one led is not led any more. Errors: LifecycleError when that will never be.
   */
  get caughtUp(): Promise<void> {
    return this.#caughtUp.promise;
  }

  /** Resolves once the broker takes part for the first time. Errors: LifecycleError when it never will. */
  get unfenced(): Promise<void> {
    return this.#unfenced.promise;
  }

  /** The broker can serve: the controller may unfence it. */
  setReady(): void {
    this.#perform((nowMs) => this.#machine.setReady(nowMs));
  }

  /** Log directories have failed, or take no new partitions, or take them again. */
  directoriesChanged(): void {
    const offline: Uuid[] = [];
    const cordoned: Uuid[] = [];
    for (const { directory, offlineReason, isCordoned } of this.#options.logDirectories.states()) {
      if (directory === null) continue;
      if (offlineReason !== null) offline.push(directory.directoryId);
      else if (isCordoned) cordoned.push(directory.directoryId);
    }
    this.#perform((nowMs) => this.#machine.noteDirectories(nowMs, { offline, cordoned }));
  }

  /**
   * Asks the controller to give to others what is led here.
   *
   * Returns: when it has, when there is nobody to give it to, when the controller is silent for a second, or
   * after `timeoutMs`.
   */
  async controlledShutdown({ timeoutMs }: { readonly timeoutMs: number }): Promise<void> {
    const { controller, nodeId, clock } = this.#options;
    const others = [...controller.image().brokers.values()].filter(({ id }) => id !== nodeId);
    if (others.every(({ fenced }) => fenced)) return;
    this.#perform((nowMs) => this.#machine.beginControlledShutdown(nowMs));
    const late = new AbortController();
    await Promise.race([this.#letGo.promise, clock.sleep(timeoutMs, late.signal)]);
    late.abort();
  }

  /** Sends nothing any more. Returns: when the request under way has ended, which its channel sees to. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#unsubscribe?.();
    this.#end(new LifecycleError("The broker is stopping"));
    await this.#request;
  }

  #end(failure: LifecycleError): void {
    this.#caughtUp.reject(failure);
    this.#unfenced.reject(failure);
    this.#letGo.resolve();
  }

  /** Lets something happen to the machine, and does what follows. */
  #perform(happen: (nowMs: number) => LifecycleEffect[]): void {
    if (this.#isStopped) return;
    for (const effect of happen(this.#options.clock.monotonicMs())) this.#apply(effect);
    this.#arm();
  }

  #apply(effect: LifecycleEffect): void {
    const { logger, onFailure } = this.#options;
    switch (effect.type) {
      case "register":
        this.#request = this.#send(() => this.#register(effect));
        break;
      case "heartbeat":
        this.#request = this.#send(() => this.#beat(effect));
        break;
      case "caughtUp":
        this.#caughtUp.resolve();
        break;
      case "unfenced":
        this.#tell("The broker is unfenced: it takes part", { brokerEpoch: this.brokerEpoch });
        this.#unfenced.resolve();
        break;
      case "fenced":
        logger.warn("The broker is fenced", { reason: effect.reason });
        break;
      case "shutDown":
        this.#tell("The broker may go", { reason: effect.reason });
        this.#letGo.resolve();
        break;
      case "giveUp":
        this.#end(new LifecycleError(effect.reason));
        onFailure(effect.reason);
        break;
    }
  }

  #arm(): void {
    const { nextMs } = this.#machine;
    if (nextMs === this.#timerMs || this.#isStopped) return;
    this.#timer?.cancel();
    this.#timerMs = nextMs;
    if (nextMs === Infinity) return;
    const { clock } = this.#options;
    this.#timer = clock.timer(Math.max(0, nextMs - clock.monotonicMs()), () => {
      this.#timerMs = Infinity;
      this.#perform((nowMs) => this.#machine.tick(nowMs));
    });
  }

  async #send(request: () => Promise<LifecycleAnswer>): Promise<void> {
    let answer: LifecycleAnswer;
    try {
      answer = await request();
    } catch (failure) {
      if (!(failure instanceof NetworkError)) throw failure;
      answer = { type: "lost", reason: failure.message };
    }
    if (this.#isStopped) return;
    this.#report(answer);
    this.#perform((nowMs) => this.#machine.answer(nowMs, answer));
  }

  /** One line for a problem, however often it is met. */
  #report(answer: LifecycleAnswer): void {
    const { logger } = this.#options;
    const problem = answer.type === "lost"
      ? answer.reason
      : answer.type === "refused"
      ? `the controller answers ${errorName(answer.error)}`
      : "";
    if (problem === this.#problem) return;
    this.#problem = problem;
    if (problem === "") logger.info("The controller answers this broker");
    else {logger.warn("The controller does not take this broker's word; it tries again", {
        problem,
      });}
  }

  async #register(
    { lastEpoch }: Extract<LifecycleEffect, { readonly type: "register" }>,
  ): Promise<LifecycleAnswer> {
    const previousBrokerEpoch = lastEpoch >= 0 ? lastEpoch : this.#options.previousBrokerEpoch();
    const { nodeId, announcement, logDirectories } = this.#options;
    const { endpoints, features, rack } = announcement;
    const { errorCode, brokerEpoch } = await this.#options.channel.call(
      ControllerCalls.brokerRegistration,
      {
        brokerId: nodeId,
        clusterId: logDirectories.clusterId,
        incarnationId: this.#incarnationId,
        listeners: endpoints,
        features: [...features].map(([name, { lowest, highest }]) => (
          { name, minSupportedVersion: lowest, maxSupportedVersion: highest }
        )),
        rack,
        logDirs: logDirectories.online().map(({ directoryId }) => directoryId),
        previousBrokerEpoch,
      },
      // Each is written down anew: one that is slow, as its disk is, is better waited for.
      { timeoutMs: REGISTRATION_REQUEST_TIMEOUT_MS },
    );
    if (errorCode !== ErrorCode.NONE) return { type: "refused", error: errorCode as ErrorCode };
    logDirectories.noteBrokerEpoch(brokerEpoch);
    this.#tell("The broker is registered", { brokerEpoch, previousBrokerEpoch });
    return { type: "registered", brokerEpoch };
  }

  /** Of a broker that is alone there is nothing to tell. */
  #tell(message: string, fields: Readonly<Record<string, unknown>>): void {
    const { logger, controller } = this.#options;
    logger[controller.image().brokers.size > 1 ? "info" : "debug"](message, fields);
  }

  async #beat(
    { brokerEpoch, metadataOffset, wantFence, wantShutDown, offlineLogDirs, cordonedLogDirs }:
      Extract<LifecycleEffect, { readonly type: "heartbeat" }>,
  ): Promise<LifecycleAnswer> {
    const { sessionTimeoutMs } = this.#options.settings;
    const { errorCode, isCaughtUp, isFenced, shouldShutDown } = await this.#options.channel.call(
      ControllerCalls.brokerHeartbeat,
      {
        brokerId: this.#options.nodeId,
        brokerEpoch,
        currentMetadataOffset: metadataOffset,
        wantFence,
        wantShutDown,
        offlineLogDirs,
        cordonedLogDirs,
      },
      // An answer that does not come leaves time to ask again within the session.
      { timeoutMs: Math.min(sessionTimeoutMs / 2, wantShutDown ? SHUTDOWN_ANSWER_MS : Infinity) },
    );
    if (errorCode !== ErrorCode.NONE) return { type: "refused", error: errorCode as ErrorCode };
    return { type: "heartbeat", isCaughtUp, isFenced, shouldShutDown };
  }
}
