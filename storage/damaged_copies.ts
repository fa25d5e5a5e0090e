/**
 * Damaged logs in whose place new ones were begun, of one log directory: kept until the new ones have everything.
 *
 *     orders-0.<unique id>-stray/       a name that Kafka keeps its hands off
 *       .weir-damaged                   whose it was: what lies under such a name without it, somebody else set aside
 *
 * At most one a partition: the first is the one that was in sync.
 */

import { readSmallText, textBytes } from "./checkpoint.ts";
import { type Disk, DiskError } from "./platform.ts";
import type { TopicPartition, Uuid } from "../protocol/types.ts";

/** In the directory of a damaged log. */
export const DAMAGED_FILE = ".weir-damaged";

interface DamagedCopy {
  readonly topicId: Uuid;
  readonly path: string;
}

/** The damaged logs of one directory. */
export class DamagedCopies {
  /** By `topic-partition`. */
  readonly #copies = new Map<string, DamagedCopy>();

  /** Finds those that an earlier run has left under names that end with `suffix`. Errors: DiskError. */
  constructor(disk: Disk, directory: string, suffix: string) {
    for (const { name, kind } of disk.list(directory)) {
      if (kind !== "directory" || !name.endsWith(suffix)) continue;
      const path = `${directory}/${name}`;
      const mark = readMark(disk, path);
      if (mark !== null) this.#copies.set(mark.name, { topicId: mark.topicId, path });
    }
  }

  /** Where that of a partition lies, or undefined. */
  pathOf(name: string, topicId: Uuid): string | undefined {
    const copy = this.#copies.get(name);
    return copy?.topicId === topicId ? copy.path : undefined;
  }

  /** True when a copy is kept under this name, of whichever topic. */
  has(name: string): boolean {
    return this.#copies.has(name);
  }

  /** Notes one. */
  add(name: string, copy: DamagedCopy): void {
    this.#copies.set(name, copy);
  }

  /** Forgets one. */
  delete(name: string): void {
    this.#copies.delete(name);
  }

  /** All of them. */
  *entries(): Iterable<readonly [topicPartition: TopicPartition, topicId: Uuid]> {
    for (const [name, { topicId }] of this.#copies) {
      const dash = name.lastIndexOf("-");
      yield [{ topic: name.slice(0, dash), partition: Number(name.slice(dash + 1)) }, topicId];
    }
  }
}

/** What says whose a damaged log was. */
export function damagedMark(name: string, topicId: Uuid): Uint8Array {
  return textBytes(`partition: ${name}\ntopic_id: ${topicId}\n`);
}

function readMark(disk: Disk, path: string): { name: string; topicId: Uuid } | null {
  try {
    const text = readSmallText(disk, `${path}/${DAMAGED_FILE}`) ?? "";
    const found = /^partition: (\S+)\ntopic_id: (\S{22})$/m.exec(text);
    return found === null ? null : { name: found[1]!, topicId: found[2] as Uuid };
  } catch (failure) {
    if (!(failure instanceof DiskError)) throw failure;
    return null;
  }
}
