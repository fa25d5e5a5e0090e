/**
 * Whether all that this broker had acknowledged is still there: what it tells the controller when it registers, by
 * naming the epoch that it had before.
 *
 * It decides whether the broker may lead what it had left while the ISR was below `min.insync.replicas` (KIP-966).
 * A broker here syncs before it acknowledges, so that a process which was killed, or a machine that lost power, has
 * lost nothing that counts. Three things say otherwise:
 *
 * - a directory that was registered is not there: replaced, not mounted, failed;
 * - a topic may be acknowledged before it is synced (`flush.messages`, `flush.ms`), and the stop was not clean;
 * - this node does not know its last registration: its copy of the metadata is new, or somebody else used its id;
 *   then a clean stop has left word of it in every directory, as Apache Kafka's does.
 */

import type { Uuid } from "../protocol/types.ts";
import type { Config } from "./config/config.ts";
import { effectiveTopicConfig } from "./config/topic_config.ts";
import type { MetadataImage } from "./controller/metadata_image.ts";

/** What is known of this node before it registers. */
export interface PreviousLife {
  readonly image: MetadataImage;
  readonly config: Config;
  readonly nodeId: number;
  /** The directories that it can use. */
  readonly logDirs: readonly Uuid[];
  /** The epoch in the marks of a clean stop, the same in every directory; −1 where there is none. */
  readonly markedEpoch: number;
}

/** The epoch under which all that is acknowledged is still there; −1 where that is not certain. */
export function previousBrokerEpoch(
  { image, config, nodeId, logDirs, markedEpoch }: PreviousLife,
): number {
  const known = image.brokers.get(nodeId);
  if (known === undefined) return markedEpoch;
  if (known.logDirs.length === 0) return -1;
  if (!known.logDirs.every((id) => logDirs.includes(id))) return -1;
  return markedEpoch >= 0 || !isAnyFlushRelaxed(image, config) ? known.epoch : -1;
}

function isAnyFlushRelaxed(image: MetadataImage, config: Config): boolean {
  if (effectiveTopicConfig(config).isFlushRelaxed) return true;
  for (const topic of image.configuredResources("topic")) {
    const own = image.configs("topic", topic);
    const isNamed = own.has("flush.messages") || own.has("flush.ms");
    if (isNamed && effectiveTopicConfig(config, own).isFlushRelaxed) return true;
  }
  return false;
}
