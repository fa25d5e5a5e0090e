/**
 * This broker as the controller knows it: it registers, shows that it lives, and asks to be let go.
 *
 *     registering ──accepted──→ fenced ──caught up, and the heartbeat wants it──→ unfenced
 *          ↑                      ↑                                                  │ shutDown
 *          └── unknown again ─────┴──────── silent for a session ────────────────────┤
 *                                                                  leads nothing ←── leaving
 *
 * Heartbeats go to whichever node is the active controller; one that is not answered is sent again after the
 * interval, for ever. The broker epoch that the registration gave is what other requests of this broker name.
 *
 * Invariants: one request at a time is under way; nothing is sent after `close`.
 *
 * Source: KIP-631, Kafka's BrokerLifecycleManager.
 */

import { ApiKey } from "../protocol/api_keys.ts";
import { ErrorCode, errorMessage, errorName } from "../protocol/errors.ts";
import type { Decoded, Encodable, Message } from "../protocol/schema.ts";
import {
  brokerHeartbeatRequest,
  brokerHeartbeatResponse,
} from "../protocol/schemas/broker_heartbeat.ts";
import {
  brokerRegistrationRequest,
  brokerRegistrationResponse,
} from "../protocol/schemas/broker_registration.ts";
import type { Uuid } from "../protocol/types.ts";
import type { Clock, Logger, Random, Timer } from "../storage/platform.ts";
import type { Call } from "./peers/call.ts";
import type { BrokerEndpoint, FeatureRanges } from "./controller/metadata_image.ts";
import { NetworkError } from "./network.ts";

const REGISTRATION: Call<typeof brokerRegistrationRequest, typeof brokerRegistrationResponse> = {
  key: ApiKey.BrokerRegistration,
  request: brokerRegistrationRequest,
  response: brokerRegistrationResponse,
  lowest: 2,
  highest: 4,
};
const HEARTBEAT: Call<typeof brokerHeartbeatRequest, typeof brokerHeartbeatResponse> = {
  key: ApiKey.BrokerHeartbeat,
  request: brokerHeartbeatRequest,
  response: brokerHeartbeatResponse,
  lowest: 1,
  highest: 2,
};
/** A registration that was refused for now is tried again after this, and as much again by chance. */
const REGISTRATION_BACKOFF_MS = 100;
/** Refusals that no patience helps against: the operator has to change something. */
const FATAL: readonly number[] = [
  ErrorCode.INCONSISTENT_CLUSTER_ID,
  ErrorCode.INVALID_REGISTRATION,
  ErrorCode.UNSUPPORTED_VERSION,
];
/** The controller knows another broker under this id and epoch, or none. */
const UNKNOWN_TO_CONTROLLER: readonly number[] = [
  ErrorCode.STALE_BROKER_EPOCH,
  ErrorCode.BROKER_ID_NOT_REGISTERED,
];

/** The way to the active controller, wherever it is. */
export interface ControllerCalls {
  /** Errors: rejects with NetworkError alone. */
  call<Q extends Message, A extends Message>(
    call: Call<Q, A>,
    body: Encodable<Q>,
    options: { readonly timeoutMs: number },
  ): Promise<Decoded<A>>;
}

/** What a broker says of itself when it registers. */
export interface Announcement {
  readonly endpoints: readonly BrokerEndpoint[];
  readonly features: FeatureRanges;
  readonly rack: string | null;
  readonly logDirs: readonly Uuid[];
  /** The epoch under which all that it had acknowledged is still there; −1, or left out, where that is not certain. */
  readonly previousBrokerEpoch?: number;
}

/** What the lifecycle needs. */
export interface BrokerLifecycleOptions {
  readonly nodeId: number;
  readonly clusterId: string;
  /** New with every start. */
  readonly incarnationId: Uuid;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly channel: ControllerCalls;
  readonly heartbeatIntervalMs: () => number;
  /** Null while this broker does not know yet what to say of itself. */
  readonly announcement: () => Announcement | null;
  /** The last offset of the metadata that this broker has applied. */
  readonly metadataOffset: () => number;
  readonly offlineLogDirs: () => readonly Uuid[];
  readonly cordonedLogDirs: () => readonly Uuid[];
  /** Called when the cluster does not want this broker. */
  readonly onRefused: (message: string) => void;
}

/** Where this broker stands. */
export class BrokerLifecycle {
  readonly #options: BrokerLifecycleOptions;
  #brokerEpoch = -1;
  #isFenced = true;
  #wantsFence = true;
  #wantsShutDown = false;
  #mayGo = false;
  #isClosed = false;
  #isBusy = false;
  #timer: Timer | null = null;
  /** Told at each change. */
  #waiters: (() => void)[] = [];

  constructor(options: BrokerLifecycleOptions) {
    this.#options = options;
  }

  /** Begins to register, and goes on until `close`. */
  start(): void {
    this.#soon(0);
  }

  /** The epoch of the registration; −1 before the first. */
  get brokerEpoch(): number {
    return this.#brokerEpoch;
  }
  /** True while the controller lets this broker lead nothing and shows it to nobody. */
  get isFenced(): boolean {
    return this.#isFenced;
  }

  /** Resolves once it is registered, or closed. */
  async whenRegistered(): Promise<void> {
    while (this.#brokerEpoch < 0 && !this.#isClosed) await this.#changed();
  }

  /** Everything is in place: the controller may unfence this broker. */
  setReady(): void {
    this.#wantsFence = false;
    this.#hurry();
  }

  /** Resolves once the controller has unfenced it, or it is closed. */
  async whenUnfenced(): Promise<void> {
    while (this.#isFenced && !this.#isClosed) await this.#changed();
  }

  /** Something that heartbeats tell has changed: the next one goes now. */
  hurry(): void {
    this.#hurry();
  }

  /**
   * Asks to be let go: what this broker leads moves to others first.
   * Resolves when it leads nothing any more, or after `timeoutMs`. Returns: whether it was let go.
   */
  async shutDown(timeoutMs: number): Promise<boolean> {
    if (this.#brokerEpoch < 0) return false;
    this.#wantsShutDown = true;
    this.#hurry();
    let isLate = false;
    const timer = this.#options.clock.timer(timeoutMs, () => {
      isLate = true;
      this.#tell();
    });
    while (!this.#mayGo && !isLate && !this.#isClosed) await this.#changed();
    timer.cancel();
    return this.#mayGo;
  }

  /** Sends nothing any more. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#tell();
  }

  #changed(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  #tell(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }

  #hurry(): void {
    if (!this.#isBusy && !this.#isClosed) this.#soon(0);
  }

  #soon(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#options.clock.timer(delayMs, () => void this.#turn());
  }

  async #turn(): Promise<void> {
    this.#isBusy = true;
    let delayMs: number;
    try {
      delayMs = this.#brokerEpoch < 0 ? await this.#register() : await this.#beat();
    } catch (failure) {
      if (!(failure instanceof NetworkError)) throw failure;
      // Whoever is the controller next hears of this broker: it has a whole session for that.
      delayMs = this.#brokerEpoch < 0 ? this.#backoffMs() : this.#options.heartbeatIntervalMs();
    }
    this.#isBusy = false;
    if (!this.#isClosed && !this.#mayGo) this.#soon(delayMs);
  }

  #backoffMs(): number {
    return REGISTRATION_BACKOFF_MS + this.#options.random.uint32() % REGISTRATION_BACKOFF_MS;
  }

  /** Returns: when the next turn is. */
  async #register(): Promise<number> {
    const { nodeId, clusterId, incarnationId, channel, heartbeatIntervalMs } = this.#options;
    const announcement = this.#options.announcement();
    if (announcement === null) return this.#backoffMs();
    const { endpoints, features, rack, logDirs, previousBrokerEpoch = -1 } = announcement;
    const answer = await channel.call(REGISTRATION, {
      brokerId: nodeId,
      clusterId,
      incarnationId,
      listeners: endpoints.map((endpoint) => ({ ...endpoint })),
      features: [...features].map(([name, { lowest, highest }]) => (
        { name, minSupportedVersion: lowest, maxSupportedVersion: highest }
      )),
      rack,
      logDirs: [...logDirs],
      previousBrokerEpoch,
    }, { timeoutMs: this.#timeoutMs });
    if (this.#isClosed) return 0;
    if (answer.errorCode === ErrorCode.NONE) {
      this.#brokerEpoch = answer.brokerEpoch;
      this.#isFenced = true;
      this.#options.logger.info("Registered with the controller", {
        brokerEpoch: answer.brokerEpoch,
      });
      this.#tell();
      return Math.min(heartbeatIntervalMs(), REGISTRATION_BACKOFF_MS);
    }
    const name = errorName(answer.errorCode as ErrorCode);
    if (FATAL.includes(answer.errorCode)) {
      const text = errorMessage(answer.errorCode as ErrorCode);
      this.#options.onRefused(`The controller refuses broker ${nodeId}: ${text} (${name})`);
      this.close();
      return 0;
    }
    this.#options.logger.debug("The controller does not take the registration yet", { name });
    return this.#backoffMs();
  }

  /** Returns: when the next turn is. */
  async #beat(): Promise<number> {
    const { nodeId, channel, heartbeatIntervalMs, logger } = this.#options;
    const answer = await channel.call(HEARTBEAT, {
      brokerId: nodeId,
      brokerEpoch: this.#brokerEpoch,
      currentMetadataOffset: this.#options.metadataOffset(),
      wantFence: this.#wantsFence,
      wantShutDown: this.#wantsShutDown,
      offlineLogDirs: [...this.#options.offlineLogDirs()],
      cordonedLogDirs: [...this.#options.cordonedLogDirs()],
    }, { timeoutMs: this.#timeoutMs });
    if (this.#isClosed) return 0;
    if (UNKNOWN_TO_CONTROLLER.includes(answer.errorCode)) {
      logger.warn("The controller does not know this broker any more; it registers anew", {
        error: errorName(answer.errorCode as ErrorCode),
      });
      this.#brokerEpoch = -1;
      this.#isFenced = true;
      return this.#backoffMs();
    }
    if (answer.errorCode !== ErrorCode.NONE) return heartbeatIntervalMs();
    if (this.#isFenced !== answer.isFenced) {
      this.#isFenced = answer.isFenced;
      logger.info(answer.isFenced ? "Fenced by the controller" : "Unfenced by the controller");
    }
    this.#mayGo = this.#wantsShutDown && answer.shouldShutDown;
    this.#tell();
    // What it waits for comes within milliseconds: the metadata that it has not applied yet.
    const isWaiting = (this.#isFenced && !this.#wantsFence) || this.#wantsShutDown;
    return isWaiting
      ? Math.min(heartbeatIntervalMs(), REGISTRATION_BACKOFF_MS)
      : heartbeatIntervalMs();
  }

  /** Well below a session: an answer that does not come must not keep the next heartbeat from going. */
  get #timeoutMs(): number {
    return 2 * Math.max(this.#options.heartbeatIntervalMs(), REGISTRATION_BACKOFF_MS);
  }
}
