/**
 * The features of a cluster: which levels this version can work at, and how the level in force is moved.
 *
 * Every node announces what it can do when it registers, and a level is only put in force that all of them can
 * work at (KIP-584). Levels go up freely; down only when asked for by name, and `metadata.version` not where
 * that would lose what is in the metadata already.
 *
 * Pure: an image and a request in; records, or a refusal of all of it, out.
 *
 * Source: Kafka's FeatureControlManager and QuorumFeatures; KIP-584, KIP-778, KIP-1022.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import { ELR_FEATURE, type TopicRules } from "./leader_election.ts";
import { MAX_KRAFT_VERSION } from "./raft.ts";
import { ConfigResourceType, type FeatureRanges, type MetadataImage } from "./metadata_image.ts";
import type { MetadataRecord } from "./metadata_records.ts";
import type { Refusal } from "./topic_changes.ts";

/** The feature that stands for the kinds and versions of records in the metadata log. */
export const METADATA_VERSION_FEATURE = "metadata.version";
/** The feature that stands for the version of the transaction protocol (KIP-890). */
export const TRANSACTION_VERSION_FEATURE = "transaction.version";
/** The feature that stands for groups of the consumer protocol (KIP-848). */
export const GROUP_VERSION_FEATURE = "group.version";
/** The feature that stands for voters in the metadata log. */
export const KRAFT_VERSION_FEATURE = "kraft.version";
/** The records that we write and read: metadata.version 4.3-IV0. */
const METADATA_VERSION = 30;
/** The lowest level in which a level of features is a record at all (3.3-IV3). */
const OLDEST_METADATA_VERSION = 7;

/** Features that this version knows, with the levels it can work at; what it announces of itself. */
export const SUPPORTED_FEATURES: FeatureRanges = new Map([
  [METADATA_VERSION_FEATURE, { lowest: METADATA_VERSION, highest: METADATA_VERSION }],
  [ELR_FEATURE, { lowest: 0, highest: 1 }],
  [TRANSACTION_VERSION_FEATURE, { lowest: 0, highest: 2 }],
  [GROUP_VERSION_FEATURE, { lowest: 0, highest: 1 }],
]);

/** How a level may move. The last one asks for a loss of metadata, which nobody grants. */
export type UpgradeType = "upgrade" | "safeDowngrade" | "unsafeDowngrade" | "unknown";

/** A level that a feature is to have; 0 switches it off. */
export interface FeatureUpdate {
  readonly feature: string;
  readonly level: number;
  readonly upgradeType: UpgradeType;
}

/**
 * Why the quorum cannot go over to a level of `kraft.version`; null when it may, or has it. It is in no record of the
 * image: its records, and the voters that come with them, are the quorum's own.
 */
export function refuseKraftVersion(
  { feature, level, upgradeType }: FeatureUpdate,
  current: number,
): Refusal | null {
  const invalid = (why: string) => ({
    error: ErrorCode.INVALID_UPDATE_VERSION,
    message: `Invalid update version ${level} for feature ${feature}. ${why}`,
  });
  if (upgradeType === "unknown") {
    return invalid("The controller does not support the given upgrade type.");
  }
  if (level < 0 || level > MAX_KRAFT_VERSION) {
    return invalid(`Local controller only supports versions 0-${MAX_KRAFT_VERSION}`);
  }
  if (level < current) return invalid("Can't downgrade the version of this feature.");
  return level > current && upgradeType !== "upgrade"
    ? invalid("Can't downgrade to a newer version.")
    : null;
}

/** The records that put the first levels in force, those of a new cluster. */
export function firstFeatures(image: MetadataImage, rules: TopicRules): MetadataRecord[] {
  return [...SUPPORTED_FEATURES].flatMap(([feature, { highest: level }]) =>
    recordsOf(image, feature, level, rules)
  );
}

/** Plans one UpdateFeatures request: all of it is done, or nothing. */
export function planFeatureUpdates(
  image: MetadataImage,
  updates: readonly FeatureUpdate[],
  rules: TopicRules,
): readonly MetadataRecord[] | Refusal {
  const records: MetadataRecord[] = [];
  // The last one counts of those that name the same feature, as in Kafka.
  for (const update of new Map(updates.map((each) => [each.feature, each])).values()) {
    const problem = problemOf(image, update);
    if (problem !== null) {
      return { error: ErrorCode.INVALID_UPDATE_VERSION, message: problem };
    }
    records.push(...recordsOf(image, update.feature, update.level, rules));
  }
  return records;
}

function recordsOf(
  image: MetadataImage,
  name: string,
  featureLevel: number,
  rules: TopicRules,
): MetadataRecord[] {
  const record: MetadataRecord = { type: "FeatureLevelRecord", value: { name, featureLevel } };
  if (name !== ELR_FEATURE) return [record];
  if (featureLevel === 0) {
    return [
      ...planIsrsWithoutElr(image),
      record,
      { type: "ClearElrRecord", value: { topicName: "" } },
    ];
  }
  // Leaders and controller must mean the same by it: what a node's own file says is not enough.
  return [record, {
    type: "ConfigRecord",
    value: {
      resourceType: ConfigResourceType.broker,
      resourceName: "",
      name: "min.insync.replicas",
      value: String(rules.defaultMinInsyncReplicas(image)),
    },
  }];
}

/** Without eligible leaders no ISR may be empty: who was eligible, or led last, is the ISR. */
function planIsrsWithoutElr(image: MetadataImage): MetadataRecord[] {
  const records: MetadataRecord[] = [];
  for (const { id: topicId, partitions } of image.topics()) {
    for (const { partition: partitionId, isr, elr, lastKnownElr } of partitions) {
      if (isr.length > 0) continue;
      const value = {
        topicId,
        partitionId,
        isr: elr.length > 0 ? elr : lastKnownElr,
        eligibleLeaderReplicas: [],
        lastKnownElr: [],
      };
      records.push({ type: "PartitionChangeRecord", value });
    }
  }
  return records;
}

function problemOf(
  image: MetadataImage,
  { feature, level, upgradeType }: FeatureUpdate,
): string | null {
  const invalid = (why: string) => `Invalid update version ${level} for feature ${feature}. ${why}`;
  if (upgradeType === "unknown") {
    return invalid("The controller does not support the given upgrade type.");
  }
  if (level < 0) return invalid("A feature version cannot be less than 0.");
  const unsupported = whoCannot(image, feature, level);
  if (unsupported !== null) return invalid(unsupported);
  const current = image.features.get(feature) ?? 0;
  if (level < current && upgradeType === "upgrade") {
    return invalid(
      "Can't downgrade the version of this feature without setting the upgrade type to either " +
        "safe or unsafe downgrade.",
    );
  }
  if (level > current && upgradeType !== "upgrade") {
    return invalid("Can't downgrade to a newer version.");
  }
  if (feature === METADATA_VERSION_FEATURE && level < Math.max(current, OLDEST_METADATA_VERSION)) {
    return `Invalid metadata.version ${level}. Refusing to perform the requested downgrade because ` +
      "it might delete metadata information.";
  }
  return null;
}

/** Which node cannot work at the level, in Kafka's words; null when all can. */
function whoCannot(
  image: MetadataImage,
  feature: string,
  level: number,
): string | null {
  const nodes: [string, FeatureRanges][] = [
    ["Local controller", SUPPORTED_FEATURES],
    ...[...image.brokers.values()].map(({ id, features }) =>
      [`Broker ${id}`, features] as [string, FeatureRanges]
    ),
    ...[...image.controllers.values()].map(({ id, features }) =>
      [`Controller ${id}`, features] as [string, FeatureRanges]
    ),
  ];
  for (const [node, features] of nodes) {
    // Another node may know nothing of what is off; we have to know what we are asked for.
    const range = features.get(feature) ?? { lowest: 0, highest: 0 };
    const isKnown = features !== SUPPORTED_FEATURES || features.has(feature);
    if (isKnown && range.lowest <= level && level <= range.highest) continue;
    if (range.highest === 0) return `${node} does not support this feature.`;
    return `${node} only supports versions ${range.lowest}-${range.highest}`;
  }
  return null;
}
