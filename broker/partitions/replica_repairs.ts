/**
 * Replicas that are damaged: each leaves the in-sync replicas, is thrown away, and is filled anew by the leader.
 *
 *     sound ──damage is found──→ damaged ──"it is LOST": the controller agrees──→ given up ──made anew──→ fetching
 *       ↑                          │ ↑                                                                      │
 *       │      nobody else may lead ┘ └── the partition has changed: asked again                             │
 *       └──────────────────────────── in the ISR again: what was set aside is removed ──────────────────────┘
 *
 * What the replica holds goes only after the controller has written that it has left the ISR, that another one leads,
 * and a new leader epoch with it; as the last one that may have what was acknowledged it stays as it is, and
 * serves what can be read. A replica that is given up asks its leader for nothing until it has been made anew, so
 * that nothing it had is taken for what it has. What is written down is the metadata's word alone: a start in the midst of
 * it goes on from there. Why: docs/decisions/0041.
 */

import { ErrorCode, errorName } from "../../protocol/errors.ts";
import { DirectoryId } from "../../protocol/types.ts";
import type { LogDamage } from "../../storage/log.ts";
import type { Clock, Logger, Timer } from "../../storage/platform.ts";
import type { PartitionImage } from "../controller/metadata_image.ts";
import type { DirectoryAssigner } from "./directory_assigner.ts";
import type { Partition } from "./partition.ts";

/** Until the controller is asked again, where it did not answer. */
const RETRY_MS = 1_000;
/** Between two repairs of one partition: a disk that damages whatever is written must not be filled for ever. */
const REST_MS = 60_000;

/** What repairs work with. */
export interface ReplicaRepairsOptions {
  readonly nodeId: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly assigner: Pick<DirectoryAssigner, "assign">;
  /** Throws away what the replica holds, and makes it anew. */
  readonly beginAnew: (partition: Partition) => void;
  /** Removes what was kept of the replica. */
  readonly dropDamaged: (partition: Partition) => void;
}

/** The repairs of a node. */
export class ReplicaRepairs {
  readonly #options: ReplicaRepairsOptions;
  /** Those whose loss is being told, or will be again. */
  readonly #asking = new Map<Partition, Timer | null>();
  /** The state of the partition in which it could not be given up. */
  readonly #refused = new WeakMap<Partition, PartitionImage>();
  /** Told that they are damaged, and stay as they are. */
  readonly #told = new WeakSet<Partition>();
  /** When the repair of a partition began last, by its name. Of the last hour, or so. */
  readonly #begunMs = new Map<string, number>();
  #count = 0;
  #isClosed = false;

  constructor(options: ReplicaRepairsOptions) {
    this.#options = options;
  }

  /** Replicas that were given up since the start. */
  get count(): number {
    return this.#count;
  }

  /** Looks what is to be done. To be called whenever a partition has changed, or its log is found damaged. */
  look(partition: Partition): void {
    if (this.#isClosed) return;
    if (partition.isGivenUp) return this.#begin(partition);
    const { log: { damage }, image } = partition;
    if (damage !== null) return this.#ask(partition, damage);
    // Retention, or a truncation, may have taken it away.
    partition.isUnderRepair = false;
    if (image.isr.includes(this.#options.nodeId)) this.#options.dropDamaged(partition);
  }

  /** It is not here any more. */
  forget(partition: Partition): void {
    this.#asking.get(partition)?.cancel();
    this.#asking.delete(partition);
  }

  /** Begins nothing any more. */
  close(): void {
    this.#isClosed = true;
    for (const timer of this.#asking.values()) timer?.cancel();
    this.#asking.clear();
  }

  #begin(partition: Partition): void {
    const { clock, logger, beginAnew } = this.#options;
    this.forget(partition);
    this.#count++;
    logger.warn(
      "Damaged replica is given up, and fetched anew from the leader",
      fieldsOf(partition, partition.log.damage),
    );
    const nowMs = clock.monotonicMs();
    for (const [name, atMs] of this.#begunMs) {
      if (nowMs - atMs > REST_MS) this.#begunMs.delete(name);
    }
    this.#begunMs.set(partition.log.name, nowMs);
    beginAnew(partition);
  }

  #ask(partition: Partition, damage: LogDamage): void {
    const { image } = partition;
    if (image.replicas.length === 1 || this.#asking.has(partition)) return;
    const restMs = (this.#begunMs.get(partition.log.name) ?? -Infinity) + REST_MS -
      this.#options.clock.monotonicMs();
    const hasOthers = [...image.isr, ...image.elr].some((id) => id !== this.#options.nodeId);
    if (!hasOthers || this.#refused.get(partition) === image) return this.#stays(partition, damage);
    partition.isUnderRepair = true;
    if (restMs > 0) return this.#lookLater(partition, restMs);
    this.#asking.set(partition, null);
    void this.#giveUp(partition, damage);
  }

  async #giveUp(partition: Partition, damage: LogDamage): Promise<void> {
    const { assigner, logger } = this.#options;
    const { topicId, partition: index, image } = partition;
    const directoryId = DirectoryId.LOST;
    const error = await assigner.assign({ topicId, partition: index, directoryId });
    if (!this.#asking.has(partition)) return;
    this.#asking.delete(partition);
    if (error === ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE) {
      this.#refused.set(partition, image);
      // What has changed meanwhile may be what was missing.
      if (partition.image === image) this.#stays(partition, damage);
      else this.look(partition);
      return;
    }
    if (error !== ErrorCode.NONE) {
      const fields = { ...fieldsOf(partition, damage), error: errorName(error) };
      logger.debug("Damaged replica is not given up yet", fields);
    }
    // The metadata is about to say so; or to have said something else since.
    this.#lookLater(partition, RETRY_MS);
  }

  #lookLater(partition: Partition, delayMs: number): void {
    if (this.#isClosed) return;
    const timer = this.#options.clock.timer(delayMs, () => {
      this.#asking.delete(partition);
      this.look(partition);
    });
    this.#asking.set(partition, timer);
  }

  #stays(partition: Partition, damage: LogDamage): void {
    partition.isUnderRepair = false;
    if (this.#told.has(partition)) return;
    this.#told.add(partition);
    this.#options.logger.warn(
      "Damaged replica stays as it is: no other one is known to have every record; bring another in-sync " +
        "replica of the partition back, and it is repaired",
      fieldsOf(partition, damage),
    );
  }
}

function fieldsOf({ log, image }: Partition, damage: LogDamage | null) {
  const { leader, isr } = image;
  return {
    partition: log.name,
    ...(damage !== null && damage.offset >= 0 && { offset: damage.offset }),
    directory: log.directory,
    leader,
    isr,
    ...(damage !== null && { found: damage.found }),
  };
}
