/**
 * Producer ids for this broker: blocks reserved at the controller, dealt out one by one.
 *
 * The next block is fetched when a tenth of this one is left, so that a client waits for the controller
 * once in a broker's life. Ids of a block that is not used up when the broker stops are never used.
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import { type ProducerId, producerId } from "../../protocol/types.ts";
import type { Controller } from "./controller.ts";
import type { Refusal } from "./topic_changes.ts";

/** The share of a block after which the next one is fetched. */
const PREFETCH_AT = 0.9;

/** A producer id that nobody else has, or why there is none now. */
export type NextProducerId =
  | { readonly error: typeof ErrorCode.NONE; readonly producerId: ProducerId }
  | Refusal;

interface Block {
  readonly firstProducerId: number;
  readonly count: number;
}

/** Deals out producer ids. */
export class ProducerIdManager {
  readonly #controller: Pick<Controller, "allocateProducerIds">;
  readonly #nodeId: number;
  #block: Block = { firstProducerId: 0, count: 0 };
  #used = 0;
  /** The block after this one. */
  #spare: Block | null = null;
  /** Resolves to null once `#spare` is there. */
  #fetch: Promise<Refusal | null> | null = null;

  constructor(
    { controller, nodeId }: {
      readonly controller: Pick<Controller, "allocateProducerIds">;
      readonly nodeId: number;
    },
  ) {
    this.#controller = controller;
    this.#nodeId = nodeId;
  }

  /** Takes an id. Waits for the controller only when no block is left. */
  async next(): Promise<NextProducerId> {
    while (this.#used === this.#block.count) {
      if (this.#spare !== null) {
        this.#block = this.#spare;
        this.#spare = null;
        this.#used = 0;
        continue;
      }
      // Many who wait share one fetch; those whom its block does not serve go round again.
      const refusal = await this.#startFetch();
      if (refusal !== null) return refusal;
    }
    const id = producerId(this.#block.firstProducerId + this.#used);
    this.#used++;
    if (this.#spare === null && this.#used >= this.#block.count * PREFETCH_AT) {
      // A failure shows when the block is needed; then it is fetched again.
      void this.#startFetch();
    }
    return { error: ErrorCode.NONE, producerId: id };
  }

  /** Resolves when no fetch is under way. */
  async close(): Promise<void> {
    await this.#fetch;
  }

  #startFetch(): Promise<Refusal | null> {
    this.#fetch ??= this.#fetchBlock().finally(() => {
      this.#fetch = null;
    });
    return this.#fetch;
  }

  async #fetchBlock(): Promise<Refusal | null> {
    assert(this.#spare === null, "a spare block is there already");
    const block = await this.#controller.allocateProducerIds(this.#nodeId);
    if (!("count" in block)) return block;
    this.#spare = block;
    return null;
  }
}
