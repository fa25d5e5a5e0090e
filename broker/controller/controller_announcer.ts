/**
 * Makes this controller known to the active one, so that tools can be told where all of them are.
 *
 *     image without this incarnation ──→ ControllerRegistration ──→ image with it
 *           ↑                                   └── refused, no answer: again after a while
 *           └── somebody else's registration has taken its place
 *
 * Invariants: one request at a time is under way; nothing is sent after `close`.
 *
 * Source: KIP-919, Kafka's ControllerRegistrationManager.
 */

import { ErrorCode, errorName } from "../../protocol/errors.ts";
import type { Uuid } from "../../protocol/types.ts";
import type { Clock, Logger, Timer } from "../../storage/platform.ts";
import { NetworkError } from "../network.ts";
import type { Controller } from "./controller.ts";
import { ControllerCalls } from "./controller_calls.ts";
import type { ControllerChannel } from "./controller_channel.ts";
import type { BrokerEndpoint, FeatureRanges, MetadataImage } from "./metadata_image.ts";

const RETRY_MS = 1_000;
const TIMEOUT_MS = 5_000;

/** What the announcer needs. */
export interface ControllerAnnouncerOptions {
  readonly nodeId: number;
  /** New with every start. */
  readonly incarnationId: Uuid;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly controller: Pick<Controller, "subscribe" | "image">;
  readonly channel: ControllerChannel;
  readonly endpoints: readonly BrokerEndpoint[];
  readonly features: FeatureRanges;
}

/** Announces this controller until it is closed. */
export class ControllerAnnouncer {
  readonly #options: ControllerAnnouncerOptions;
  readonly #unsubscribe: () => void;
  #isSending = false;
  #isClosed = false;
  #timer: Timer | null = null;

  constructor(options: ControllerAnnouncerOptions) {
    this.#options = options;
    this.#unsubscribe = options.controller.subscribe(() => this.#look());
  }

  /** Sends nothing any more. */
  close(): void {
    this.#isClosed = true;
    this.#unsubscribe();
    this.#timer?.cancel();
  }

  #look(): void {
    const isBusy = this.#isSending || this.#timer !== null || this.#isClosed;
    if (!isBusy && this.#isMissingIn(this.#options.controller.image())) this.#soon(0);
  }

  /** A cluster without features has no metadata yet. */
  #isMissingIn({ controllers, features }: MetadataImage): boolean {
    const { nodeId, incarnationId } = this.#options;
    return features.size > 0 && controllers.get(nodeId)?.incarnationId !== incarnationId;
  }

  #soon(delayMs: number): void {
    this.#timer = this.#options.clock.timer(delayMs, () => {
      this.#timer = null;
      void this.#send();
    });
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    const isDone = await this.#announce();
    this.#isSending = false;
    if (!isDone && !this.#isClosed) this.#soon(RETRY_MS);
    else this.#look();
  }

  async #announce(): Promise<boolean> {
    const { nodeId, incarnationId, channel, endpoints, features, logger } = this.#options;
    try {
      const { errorCode } = await channel.call(ControllerCalls.controllerRegistration, {
        controllerId: nodeId,
        incarnationId,
        zkMigrationReady: false,
        listeners: endpoints.map((endpoint) => ({ ...endpoint })),
        features: [...features].map(([name, { lowest, highest }]) => (
          { name, minSupportedVersion: lowest, maxSupportedVersion: highest }
        )),
      }, { timeoutMs: TIMEOUT_MS });
      if (errorCode === ErrorCode.NONE) return true;
      const error = errorName(errorCode as ErrorCode);
      logger.warn("The active controller does not take this one's registration", { error });
    } catch (failure) {
      if (!(failure instanceof NetworkError)) throw failure;
    }
    return false;
  }
}
