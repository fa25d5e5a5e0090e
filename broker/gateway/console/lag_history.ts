/**
 * How far groups were behind in the last hours, in a ring for each of a bounded number of groups.
 *
 * This node asks the cluster every half a minute, for as long as it serves. A round that could not be asked leaves a gap,
 * and no round begins before the one before it has ended. Where there are thousands of groups, the list of them alone
 * holds the event loop for too long: it is asked for only while somebody looks.
 */

import type { Clock, Logger, Timer } from "../../../storage/platform.ts";
import { listGroups } from "../../client/groups.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { SampleTimes } from "../../telemetry/sample_times.ts";
import { askGroupLags } from "./group_lags.ts";

/** Time between two rounds. */
export const LAG_INTERVAL_MS = 30_000;
/** Six hours of them. */
const CAPACITY = 720;
/** Groups that are followed; beyond them, those that come first by name. */
const MAX_GROUPS = 200;
/** More groups than these are asked for while somebody looks alone. */
const MAX_LISTED = 2000;
/** So long after a look. */
const WATCHED_MS = 15 * 60_000;

/** Samples of one group, oldest first; null where nothing is known. Units: times in seconds since the epoch. */
export interface LagColumns {
  readonly sinceSeconds: number;
  readonly untilSeconds: number;
  readonly times: readonly number[];
  readonly series: { readonly lag: readonly (number | null)[] };
}

/** What asks, and when. */
export interface LagHistoryOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly client: () => KafkaClient | null;
}

/** Asks from `start` until `stop`. */
export class LagHistory {
  readonly #options: LagHistoryOptions;
  readonly #times = new SampleTimes(CAPACITY);
  readonly #groups = new Map<string, Float64Array>();
  #timer: Timer | null = null;
  #round: Promise<void> = Promise.resolve();
  #isStopped = false;
  #listedCount = 0;
  #watchedUntilMs = -Infinity;

  constructor(options: LagHistoryOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = this.#options.clock.timer(LAG_INTERVAL_MS, () => {
      this.#round = this.#ask();
    });
  }

  /** Resolves when nothing of it runs any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#round;
  }

  /** What is known of a group in the last minutes. */
  columns(group: string, minutes: number): LagColumns {
    this.#noteLook();
    const untilSeconds = this.#options.clock.wallMs() / 1000;
    const sinceSeconds = untilSeconds - minutes * 60;
    const slots = this.#times.since(sinceSeconds);
    const column = this.#groups.get(group);
    const lagAt = (slot: number) => {
      const lag = column?.[slot] ?? NaN;
      return Number.isNaN(lag) ? null : lag;
    };
    return {
      sinceSeconds,
      untilSeconds,
      times: slots.map((slot) => this.#times.at(slot)),
      series: { lag: slots.map(lagAt) },
    };
  }

  /** The groups that were furthest behind at the last look, the worst first. */
  furthest(count: number): readonly { readonly group: string; readonly lag: number }[] {
    this.#noteLook();
    const { newest } = this.#times;
    if (newest === null) return [];
    return [...this.#groups]
      .map(([group, column]) => ({ group, lag: column[newest] ?? 0 }))
      .filter(({ lag }) => lag > 0)
      .sort((a, b) => b.lag - a.lag)
      .slice(0, count);
  }

  #noteLook(): void {
    this.#watchedUntilMs = this.#options.clock.monotonicMs() + WATCHED_MS;
  }

  async #ask(): Promise<void> {
    const { client: currentClient, clock, logger } = this.#options;
    const isWanted = this.#listedCount <= MAX_LISTED || clock.monotonicMs() < this.#watchedUntilMs;
    const client = isWanted ? currentClient() : null;
    if (client !== null) {
      try {
        const listed = await listGroups(client);
        this.#listedCount = listed.length;
        const groups = listed.slice(0, MAX_GROUPS);
        const lags = groups.length === 0 ? [] : await askGroupLags(client, groups);
        this.#keep(new Map(lags.map(({ group, lag }) => [group, lag])));
      } catch (error) {
        // The cluster is in trouble, and says so elsewhere: here it is a gap.
        logger.debug("Cannot ask for the lag of groups", { error });
      }
    }
    if (!this.#isStopped) this.start();
  }

  #keep(lags: ReadonlyMap<string, number>): void {
    const slot = this.#times.add(this.#options.clock.wallMs() / 1000);
    for (const group of this.#groups.keys()) {
      if (!lags.has(group)) this.#groups.delete(group);
    }
    for (const [group, lag] of lags) {
      const column = this.#groups.getOrInsertComputed(
        group,
        () => new Float64Array(CAPACITY).fill(NaN),
      );
      column[slot] = lag;
    }
  }
}
