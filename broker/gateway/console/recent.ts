/**
 * An answer of the cluster that several parts of a page show, and several people look at, asked for once.
 *
 * Metadata of thousands of topics take milliseconds to encode and to read: what was asked a second ago is as good.
 */

import type { Clock } from "../../../storage/platform.ts";
import type { MetadataResponse } from "../../../protocol/schemas/metadata.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { askHealth, askMetadata, type Health } from "./health.ts";

/** How old an answer may be. */
const MAX_AGE_MS = 1000;

/** The newest answer to one question. */
export class Recent<T> {
  readonly #clock: Clock;
  readonly #ask: (client: KafkaClient) => Promise<T>;
  #answer: Promise<T> | null = null;
  #askedAtMs = 0;

  constructor(clock: Clock, ask: (client: KafkaClient) => Promise<T>) {
    this.#clock = clock;
    this.#ask = ask;
  }

  /** Errors: those of asking; the next one asks again. */
  async get(client: KafkaClient): Promise<T> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#answer === null || nowMs - this.#askedAtMs > MAX_AGE_MS) {
      this.#askedAtMs = nowMs;
      this.#answer = this.#ask(client);
    }
    const asked = this.#answer;
    try {
      return await asked;
    } catch (error) {
      if (this.#answer === asked) this.#answer = null;
      throw error;
    }
  }

  /** Something was changed: what was known is old. */
  forget(): void {
    this.#answer = null;
  }
}

/** What pages share. */
export class Recents {
  readonly metadata: Recent<MetadataResponse>;
  readonly health: Recent<Health>;

  constructor(clock: Clock) {
    this.metadata = new Recent(clock, askMetadata);
    this.health = new Recent(
      clock,
      (client) => askHealth(client, (client) => this.metadata.get(client)),
    );
  }

  /** Something was changed: what was known is old. */
  forget(): void {
    this.metadata.forget();
    this.health.forget();
  }
}
