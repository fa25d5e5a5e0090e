/**
 * Names of the directories of partitions.
 *
 *     orders-0                              a partition
 *     orders-1.<unique id>-delete           one that waits for its removal; -stray, -future: see log_directory.ts
 */

import { formatTopicPartition, type TopicPartition } from "../protocol/types.ts";
import type { Random } from "./platform.ts";

/** After the name of a partition that waits for its removal. */
export const DELETE_SUFFIX = "-delete";
/** After the name of one whose name is another topic's now, or that is damaged. */
export const STRAY_SUFFIX = "-stray";
/** After the name of one on its way here from another directory. */
export const FUTURE_SUFFIX = "-future";
/** A name of the file system has at most 255 bytes. */
const MAX_NAME_BYTES = 255;

/** A name that nobody has for a partition that is moved out of the way or on its way; within what the file system takes. */
export function movedName(name: string, random: Random, ending: string): string {
  let unique = "";
  for (let i = 0; i < 4; i++) unique += random.uint32().toString(16).padStart(8, "0");
  const suffix = `.${unique}${ending}`;
  return name.slice(0, MAX_NAME_BYTES - suffix.length) + suffix;
}

/** `topic-partition`, or null for any other name. */
export function parsePartitionName(name: string): TopicPartition | null {
  const dash = name.lastIndexOf("-");
  const digits = name.slice(dash + 1);
  if (dash <= 0 || !/^(0|[1-9]\d*)$/.test(digits)) return null;
  return { topic: name.slice(0, dash), partition: Number(digits) };
}

/** `topic-partition.<32 hex digits>-future`, or null for any other name. */
export function parseFutureName(name: string): TopicPartition | null {
  const found = /^(.+)\.[0-9a-f]{32}-future$/.exec(name);
  return found === null ? null : parsePartitionName(found[1]!);
}

/** True when the directory of a partition on its way can have a name of its own. */
export function canBeFuture({ topic, partition }: TopicPartition): boolean {
  const name = formatTopicPartition(topic, partition);
  return name.length + 1 + 32 + FUTURE_SUFFIX.length <= MAX_NAME_BYTES;
}
