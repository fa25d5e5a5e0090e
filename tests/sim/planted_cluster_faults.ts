/**
 * Faults planted on purpose, each of which the simulated cluster must notice: if it does not, it looks away.
 *
 * One is a disk that does not do what the broker asks of it, or a member of one of the broker's classes that
 * answers otherwise while the test runs: as if a line of the broker were missing or wrong.
 */

import { Log } from "../../storage/log.ts";
import { PLANTED_FAULTS } from "./planted_faults.ts";
import type { DiskWrapper } from "./storage_world.ts";

/** A fault. */
export interface PlantedClusterFault {
  /** How many nodes it takes to notice it. */
  readonly nodes: number;
  /** The faults of the cluster that bring it out; a mix by seed when left out. */
  readonly faults?: readonly string[];
  /** Made anew for each life. */
  readonly wrap?: () => DiskWrapper;
  /** Changes the broker. Returns: what changes it back. */
  readonly patch?: () => () => void;
}

/** Lets a getter or method of a class be another one. Returns: what changes it back. */
export function patched<T extends object>(
  prototype: T,
  name: keyof T & string,
  change: PropertyDescriptor,
): () => void {
  const before = Object.getOwnPropertyDescriptor(prototype, name)!;
  Object.defineProperty(prototype, name, { ...before, ...change });
  return () => Object.defineProperty(prototype, name, before);
}

/** By what is wrong with the broker. */
export const PLANTED_CLUSTER_FAULTS: Readonly<Record<string, PlantedClusterFault>> = {
  "a sync that is skipped": {
    nodes: 1,
    faults: ["power cut"],
    wrap: PLANTED_FAULTS["a sync that is skipped"]!.plant,
  },
  "what is written is called synced": {
    nodes: 1,
    faults: ["power cut"],
    patch: () =>
      patched(Log.prototype, "syncedOffset", {
        get(this: Log) {
          return this.endOffset;
        },
      }),
  },
};
