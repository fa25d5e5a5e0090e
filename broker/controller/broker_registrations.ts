/**
 * What it means in records that a broker comes, goes, is fenced, is unfenced or shuts down; and that a
 * controller makes itself known.
 *
 * A broker that registers is fenced: it holds replicas and serves nobody. It is unfenced once it has applied
 * its own registration. Whatever takes a broker out of service moves the leadership of its partitions in the
 * same batch, so that nobody sees one without the other.
 *
 * Pure: an image and what happened in; records, or a refusal, out.
 *
 * Source: Kafka's ClusterControlManager and ReplicationControlManager; KIP-631, KIP-858 (directories),
 * KIP-919 (controllers), KIP-966 (unclean shutdown).
 */

import { ErrorCode } from "../../protocol/errors.ts";
import { DirectoryId, type Uuid } from "../../protocol/types.ts";
import { SUPPORTED_FEATURES } from "./feature_changes.ts";
import {
  hasInIsr,
  isElrEnabled,
  isLeaderless,
  planLeaderAndIsrChanges,
  type TopicRules,
} from "./leader_election.ts";
import type {
  BrokerEndpoint,
  BrokerImage,
  FeatureRanges,
  MetadataImage,
} from "./metadata_image.ts";
import type { MetadataRecord } from "./metadata_records.ts";
import { duplicatesOf, type Refusal } from "./topic_changes.ts";

/** In `BrokerRegistrationChangeRecord.fenced`. */
const FencingChange = { unfence: -1, fence: 1 } as const;
/** In `BrokerRegistrationChangeRecord.inControlledShutdown`. */
const IN_CONTROLLED_SHUTDOWN = 1;
/** The level of `metadata.version` in a cluster that says nothing of it. */
const OLDEST_METADATA_VERSION = 1;

/** A broker that announces itself to the controller. */
export interface RegistrationRequest {
  readonly brokerId: number;
  readonly clusterId: string;
  /** New with every start of the broker. */
  readonly incarnationId: Uuid;
  readonly endpoints: readonly BrokerEndpoint[];
  readonly features: FeatureRanges;
  readonly rack: string | null;
  readonly logDirs: readonly Uuid[];
  /** The epoch that its directories were last written under, all of it still there; −1 when unknown. */
  readonly previousBrokerEpoch: number;
}

/** What the answer rests on besides the image. */
export interface RegistrationContext {
  readonly rules: TopicRules;
  /** The epoch of a broker that is new, the offset of the batch that will hold its registration. */
  readonly nextEpoch: number;
  /** True when the broker of this id was heard of within its session. */
  readonly hasValidSession: boolean;
}

/** A registration that may be written. */
export interface PlannedRegistration {
  readonly records: readonly MetadataRecord[];
  readonly brokerEpoch: number;
  /** False for a broker that registers once more what is running already. */
  readonly isNewIncarnation: boolean;
}

/** Plans one BrokerRegistration request. */
export function planRegistration(
  image: MetadataImage,
  request: RegistrationRequest,
  context: RegistrationContext,
): PlannedRegistration | Refusal {
  const { brokerId, incarnationId } = request;
  const existing = image.brokers.get(brokerId);
  const isNewIncarnation = existing?.incarnationId !== incarnationId;
  const refusal = refuseClusterId(image, request) ??
    (isNewIncarnation && context.hasValidSession && !isSuccessor(existing, request)
      ? duplicateRegistration()
      : null) ??
    refuseDirectories(image, request) ??
    refuseFeatures(image, request.features);
  if (refusal !== null) return refusal;
  const brokerEpoch = isNewIncarnation ? context.nextEpoch : existing!.epoch;
  const features = [...request.features].map(([name, { lowest, highest }]) => (
    { name, minSupportedVersion: lowest, maxSupportedVersion: highest }
  ));
  const registration: MetadataRecord = {
    type: "RegisterBrokerRecord",
    value: {
      brokerId,
      incarnationId,
      brokerEpoch,
      endPoints: request.endpoints,
      features,
      rack: request.rack,
      fenced: isNewIncarnation || existing!.fenced,
      inControlledShutdown: !isNewIncarnation && existing!.inControlledShutdown,
      logDirs: request.logDirs,
      cordonedLogDirs: existing?.cordonedLogDirs.filter((id) => request.logDirs.includes(id)) ?? [],
    },
  };
  const isClean = existing !== undefined && existing.epoch === request.previousBrokerEpoch;
  const ended = isNewIncarnation ? endOf(image, context.rules, brokerId, isClean) : [];
  return { records: [...ended, registration], brokerEpoch, isNewIncarnation };
}

/**
 * True for a broker that goes on where the registered one has ended: it knows that registration, and holds all of its
 * directories, which no two processes can. Where that is so the other one is dead, however lately it was heard.
 */
function isSuccessor(
  existing: BrokerImage | undefined,
  { previousBrokerEpoch, logDirs }: RegistrationRequest,
): boolean {
  return existing !== undefined && existing.epoch === previousBrokerEpoch &&
    existing.logDirs.length > 0 && existing.logDirs.every((id) => logDirs.includes(id));
}

/** Why a broker, a controller or a node as such cannot belong to this cluster. */
function refuseClusterId(
  { clusterId }: MetadataImage,
  request: RegistrationRequest,
): Refusal | null {
  if (request.clusterId === clusterId) return null;
  return {
    error: ErrorCode.INCONSISTENT_CLUSTER_ID,
    message: `Expected cluster ID ${clusterId}, but got cluster ID ${request.clusterId}`,
  };
}

function duplicateRegistration(): Refusal {
  return {
    error: ErrorCode.DUPLICATE_BROKER_REGISTRATION,
    message: "Another broker is registered with that broker id.",
  };
}

function refuseDirectories(
  image: MetadataImage,
  { brokerId, logDirs }: RegistrationRequest,
): Refusal | null {
  const invalid = (message: string) => ({ error: ErrorCode.INVALID_REGISTRATION, message });
  if (logDirs.length === 0) return invalid("No directories specified in request");
  const reserved: readonly Uuid[] = Object.values(DirectoryId);
  if (logDirs.some((id) => reserved.includes(id))) {
    return invalid("Reserved directory ID in request");
  }
  if (duplicatesOf(logDirs).size > 0) return invalid("Duplicate directory ID in request");
  for (const other of image.brokers.values()) {
    if (other.id === brokerId) continue;
    const shared = other.logDirs.find((id) => logDirs.includes(id));
    if (shared === undefined) continue;
    return invalid(`Broker ${other.id} is already registered with directory ${shared}`);
  }
  return null;
}

/**
 * The broker must work at every level that is in force; what it does not name it knows at 0. What Apache Kafka has
 * put in force and this version does not know is nobody's to judge: the start has warned of it.
 */
function refuseFeatures(image: MetadataImage, features: FeatureRanges): Refusal | null {
  for (const name of new Set([...features.keys(), ...image.features.keys()])) {
    if (!features.has(name) && !SUPPORTED_FEATURES.has(name)) continue;
    const unset = name === "metadata.version" ? OLDEST_METADATA_VERSION : 0;
    const level = image.features.get(name) ?? unset;
    const { lowest, highest } = features.get(name) ?? { lowest: 0, highest: 0 };
    if (lowest <= level && level <= highest) continue;
    return {
      error: ErrorCode.UNSUPPORTED_VERSION,
      message:
        `Unable to register because the broker does not support finalized version ${level} of ` +
        `${name}. The broker wants a version between ${lowest} and ${highest}, inclusive.`,
    };
  }
  return null;
}

/** What the end of the incarnation before this one leaves to be put in order. */
function endOf(
  image: MetadataImage,
  rules: TopicRules,
  brokerId: number,
  isClean: boolean,
): MetadataRecord[] {
  if (isClean || !isElrEnabled(image)) {
    return planLeaderAndIsrChanges(image, rules, { removed: brokerId }, hasInIsr(brokerId));
  }
  return planLeaderAndIsrChanges(
    image,
    rules,
    { uncleanShutdown: brokerId },
    ({ isr, elr }) => isr.includes(brokerId) || elr.includes(brokerId),
  );
}

/** A broker is not to lead or to be in any ISR until it is unfenced. `limit`: partitions that change at once. */
export function planFencing(
  image: MetadataImage,
  rules: TopicRules,
  { id: brokerId, epoch: brokerEpoch }: BrokerImage,
  limit = Infinity,
): MetadataRecord[] {
  return [
    ...planLeaderAndIsrChanges(image, rules, { removed: brokerId }, hasInIsr(brokerId), limit),
    {
      type: "BrokerRegistrationChangeRecord",
      value: { brokerId, brokerEpoch, fenced: FencingChange.fence },
    },
  ];
}

/** A broker takes part from now on, and leads what waits for it. */
export function planUnfencing(
  image: MetadataImage,
  rules: TopicRules,
  { id: brokerId, epoch: brokerEpoch, inControlledShutdown }: BrokerImage,
  limit = Infinity,
): MetadataRecord[] {
  // One that was on its way down before it was fenced still is.
  const change = inControlledShutdown ? {} : { added: brokerId };
  return [
    {
      type: "BrokerRegistrationChangeRecord",
      value: { brokerId, brokerEpoch, fenced: FencingChange.unfence },
    },
    ...planLeaderAndIsrChanges(image, rules, change, isLeaderless, limit),
  ];
}

/** A broker hands over what it leads before it stops. */
export function planControlledShutdown(
  image: MetadataImage,
  rules: TopicRules,
  { id: brokerId, epoch: brokerEpoch, inControlledShutdown }: BrokerImage,
  limit = Infinity,
): MetadataRecord[] {
  const change: MetadataRecord = {
    type: "BrokerRegistrationChangeRecord",
    value: { brokerId, brokerEpoch, inControlledShutdown: IN_CONTROLLED_SHUTDOWN },
  };
  return [
    ...(inControlledShutdown ? [] : [change]),
    ...planLeaderAndIsrChanges(image, rules, { removed: brokerId }, hasInIsr(brokerId), limit),
  ];
}

/** Plans one UnregisterBroker request. */
export function planUnregistration(
  image: MetadataImage,
  rules: TopicRules,
  brokerId: number,
  limit = Infinity,
): readonly MetadataRecord[] | Refusal {
  const broker = image.brokers.get(brokerId);
  if (broker === undefined) {
    return {
      error: ErrorCode.BROKER_ID_NOT_REGISTERED,
      message: `Broker ID ${brokerId} is not currently registered`,
    };
  }
  return [
    ...planLeaderAndIsrChanges(image, rules, { removed: brokerId }, hasInIsr(brokerId), limit),
    { type: "UnregisterBrokerRecord", value: { brokerId, brokerEpoch: broker.epoch } },
  ];
}

/** Directories of a broker that it cannot use any more: what lies in them is led by others from now on. */
export function planOfflineDirectories(
  image: MetadataImage,
  rules: TopicRules,
  { id: brokerId, epoch: brokerEpoch, logDirs }: BrokerImage,
  offlineLogDirs: readonly Uuid[],
): MetadataRecord[] {
  const lost = logDirs.filter((id) => offlineLogDirs.includes(id));
  if (lost.length === 0) return [];
  const liesThere = hasInIsr(brokerId);
  return [
    ...planLeaderAndIsrChanges(image, rules, { removed: brokerId }, (partition) => {
      const directory = partition.directories[partition.replicas.indexOf(brokerId)];
      return liesThere(partition) && directory !== undefined && lost.includes(directory);
    }),
    {
      type: "BrokerRegistrationChangeRecord",
      value: {
        brokerId,
        brokerEpoch,
        logDirs: logDirs.filter((id) => !offlineLogDirs.includes(id)),
      },
    },
  ];
}

/** Directories of a broker take no new partitions, or take them again; null where nothing is said of it. */
export function planCordons(
  { id: brokerId, epoch: brokerEpoch, cordonedLogDirs: known }: BrokerImage,
  cordonedLogDirs: readonly Uuid[] | null,
): MetadataRecord[] {
  if (cordonedLogDirs === null) return [];
  const isSame = new Set(known).symmetricDifference(new Set(cordonedLogDirs)).size === 0;
  if (isSame) return [];
  const value = { brokerId, brokerEpoch, cordonedLogDirs };
  return [{ type: "BrokerRegistrationChangeRecord", value }];
}

/** Why a request that names this epoch of a broker comes too late; null when it does not. */
export function refuseBrokerEpoch(
  image: MetadataImage,
  brokerId: number,
  brokerEpoch: number,
): Refusal | null {
  const broker = image.brokers.get(brokerId);
  if (broker?.epoch === brokerEpoch) return null;
  return {
    error: ErrorCode.STALE_BROKER_EPOCH,
    message: broker === undefined
      ? `No broker registration found for broker id ${brokerId}`
      : `Expected broker epoch ${broker.epoch}, but got broker epoch ${brokerEpoch}`,
  };
}

/** A controller that announces itself. */
export interface ControllerRegistration {
  readonly controllerId: number;
  readonly incarnationId: Uuid;
  readonly endpoints: readonly BrokerEndpoint[];
  readonly features: FeatureRanges;
}

/** Plans one ControllerRegistration request. */
export function planControllerRegistration(
  { controllerId, incarnationId, endpoints, features }: ControllerRegistration,
): MetadataRecord[] {
  return [{
    type: "RegisterControllerRecord",
    value: {
      controllerId,
      incarnationId,
      zkMigrationReady: false,
      endPoints: endpoints,
      features: [...features].map(([name, { lowest, highest }]) => (
        { name, minSupportedVersion: lowest, maxSupportedVersion: highest }
      )),
    },
  }];
}
