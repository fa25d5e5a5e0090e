/**
 * What the cluster is: topics, partitions, brokers, settings, features, as the metadata log says.
 *
 * An image never changes. `MetadataDelta` takes records one by one, on top of an image, and makes the next
 * image plus the list of what is different, which is what subscribers act on. The work is proportional to
 * the change: maps are persistent (`persistent_map.ts`), and a topic that is not touched is the same object
 * in both images.
 *
 *     image ──→ MetadataDelta ──replay(record)…──→ apply(provenance) ──→ next image + MetadataChanges
 *
 * The image is a replay of the log and of nothing else: no clock, no configuration of this process.
 */

import assert from "node:assert/strict";
import { WireError } from "../../protocol/bytes.ts";
import {
  type LeaderEpoch,
  leaderEpoch,
  type Offset,
  offset,
  type ProducerId,
  producerId,
  type TimestampMs,
  timestampMs,
  type Uuid,
  ZERO_UUID,
} from "../../protocol/types.ts";
import type { DecodedMetadataRecord, MetadataRecordType } from "./metadata_records.ts";
import { PersistentMap } from "./persistent_map.ts";

/** One partition. `directories[i]` is the log directory of `replicas[i]`. */
export interface PartitionImage {
  readonly partition: number;
  readonly replicas: readonly number[];
  readonly directories: readonly Uuid[];
  readonly isr: readonly number[];
  readonly removingReplicas: readonly number[];
  readonly addingReplicas: readonly number[];
  /** Eligible leader replicas (KIP-966): were in the ISR when it fell below the minimum. */
  readonly elr: readonly number[];
  readonly lastKnownElr: readonly number[];
  /** −1 when no replica may lead. */
  readonly leader: number;
  /** 0 recovered, 1 recovering from an unclean election. */
  readonly leaderRecoveryState: number;
  readonly leaderEpoch: LeaderEpoch;
  /** Grows with every change of the partition. */
  readonly partitionEpoch: number;
}

/** One topic; a partition's index in `partitions` is its number. */
export interface TopicImage {
  readonly name: string;
  readonly id: Uuid;
  readonly partitions: readonly PartitionImage[];
}

/** Where a broker listens. `securityProtocol`: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL. */
export interface BrokerEndpoint {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly securityProtocol: number;
}

/** The levels of features that a node can work at, by name. */
export type FeatureRanges = ReadonlyMap<
  string,
  { readonly lowest: number; readonly highest: number }
>;

/** One registered broker. */
export interface BrokerImage {
  readonly id: number;
  /** The offset of its registration record. */
  readonly epoch: number;
  readonly incarnationId: Uuid;
  readonly endpoints: readonly BrokerEndpoint[];
  readonly features: FeatureRanges;
  readonly rack: string | null;
  readonly fenced: boolean;
  readonly inControlledShutdown: boolean;
  /** The log directories that it can use. */
  readonly logDirs: readonly Uuid[];
  /** Those of them that take no new partitions. */
  readonly cordonedLogDirs: readonly Uuid[];
}

/** One registered controller. */
export interface ControllerImage {
  readonly id: number;
  readonly incarnationId: Uuid;
  readonly endpoints: readonly BrokerEndpoint[];
  readonly features: FeatureRanges;
}

/** Kinds of things that have settings, by Kafka's number of each. */
export const ConfigResourceType = {
  topic: 2,
  broker: 4,
  brokerLogger: 8,
  clientMetrics: 16,
  group: 32,
} as const;
/** Name of a kind of thing that has settings. */
export type ConfigResourceType = keyof typeof ConfigResourceType;

/** A thing that has settings. For brokers the name is the id, "" for the defaults of the whole cluster. */
export interface ConfigResource {
  readonly type: ConfigResourceType;
  readonly name: string;
}

/** The offset that an image reaches, and the epoch and time of the batch that holds it. */
export interface ImageProvenance {
  readonly offset: Offset;
  readonly leaderEpoch: LeaderEpoch;
  readonly timestampMs: TimestampMs;
}

interface ImageParts {
  readonly clusterId: string;
  readonly provenance: ImageProvenance;
  readonly topicsByName: PersistentMap<TopicImage>;
  readonly topicNamesById: PersistentMap<string>;
  /** Names with "." or "_" in them, by the name with "_" for each: such names share metric names. */
  readonly topicNamesByUnifiedName: PersistentMap<string>;
  readonly brokers: ReadonlyMap<number, BrokerImage>;
  readonly controllers: ReadonlyMap<number, ControllerImage>;
  readonly configs: PersistentMap<ReadonlyMap<string, string>>;
  readonly features: ReadonlyMap<string, number>;
  readonly nextProducerId: ProducerId;
  readonly accessControlIds: ReadonlySet<Uuid>;
  readonly withoutEffect: ReadonlySet<MetadataRecordType>;
}

/** The name with "_" for each ".". */
function unifiedTopicName(name: string): string {
  return name.replaceAll(".", "_");
}

/** True when the name has a character that collides with another in metric names. */
function hasCollisionCharacters(name: string): boolean {
  return name.includes(".") || name.includes("_");
}

const NO_CONFIGS: ReadonlyMap<string, string> = new Map();

function configKey(type: ConfigResourceType, name: string): string {
  return `${type}:${name}`;
}

/** Immutable: the state of the cluster at one offset of the metadata log. */
export class MetadataImage {
  readonly #parts: ImageParts;

  constructor(parts: ImageParts) {
    this.#parts = parts;
  }

  /** The image before the first record. */
  static empty(clusterId: string): MetadataImage {
    return new MetadataImage({
      clusterId,
      provenance: {
        offset: offset(-1),
        leaderEpoch: leaderEpoch(-1),
        timestampMs: timestampMs(-1),
      },
      topicsByName: PersistentMap.empty(),
      topicNamesById: PersistentMap.empty(),
      topicNamesByUnifiedName: PersistentMap.empty(),
      brokers: new Map(),
      controllers: new Map(),
      configs: PersistentMap.empty(),
      features: new Map(),
      nextProducerId: producerId(0),
      accessControlIds: new Set(),
      withoutEffect: new Set(),
    });
  }

  get clusterId(): string {
    return this.#parts.clusterId;
  }
  /** Offset of the last record that is in the image, −1 for none. */
  get offset(): Offset {
    return this.#parts.provenance.offset;
  }
  get provenance(): ImageProvenance {
    return this.#parts.provenance;
  }
  get topicCount(): number {
    return this.#parts.topicsByName.size;
  }
  get brokers(): ReadonlyMap<number, BrokerImage> {
    return this.#parts.brokers;
  }
  /** Controllers that have made themselves known. */
  get controllers(): ReadonlyMap<number, ControllerImage> {
    return this.#parts.controllers;
  }
  /** Finalized feature levels by name; a feature at level 0 is not there. */
  get features(): ReadonlyMap<string, number> {
    return this.#parts.features;
  }
  /** The first producer id that no block holds yet. */
  get nextProducerId(): ProducerId {
    return this.#parts.nextProducerId;
  }
  /** Access control entries that are in force, by id. */
  get accessControlIds(): ReadonlySet<Uuid> {
    return this.#parts.accessControlIds;
  }
  /** Kinds of records that are in the log and that nothing here acts on; they stay in the log. */
  get withoutEffect(): ReadonlySet<MetadataRecordType> {
    return this.#parts.withoutEffect;
  }

  topicByName(name: string): TopicImage | undefined {
    return this.#parts.topicsByName.get(name);
  }

  topicById(id: Uuid): TopicImage | undefined {
    const name = this.#parts.topicNamesById.get(id);
    return name === undefined ? undefined : this.#parts.topicsByName.get(name);
  }

  /** A topic of another name that differs from `name` in nothing but "." and "_". */
  collidingTopicName(name: string): string | undefined {
    const found = this.#parts.topicNamesByUnifiedName.get(unifiedTopicName(name));
    return found === name ? undefined : found;
  }

  /** All topics, in no particular order. */
  topics(): Iterable<TopicImage> {
    return this.#parts.topicsByName.values();
  }

  /** Settings that were set on the resource itself; empty when there are none. */
  configs(type: ConfigResourceType, name: string): ReadonlyMap<string, string> {
    return this.#parts.configs.get(configKey(type, name)) ?? NO_CONFIGS;
  }

  /** The resources of a kind that have settings of their own. */
  *configuredResources(type: ConfigResourceType): Generator<string> {
    for (const key of this.#parts.configs.keys()) {
      if (key.startsWith(`${type}:`)) yield key.slice(type.length + 1);
    }
  }

  /** For the delta only. */
  parts(): ImageParts {
    return this.#parts;
  }
}

/** A partition that is not what it was. `before` is null for a partition that was added to its topic. */
export interface ChangedPartition {
  readonly topic: TopicImage;
  readonly before: PartitionImage | null;
  readonly after: PartitionImage;
}

/** What is different between two images; each list is empty when nothing of its kind changed. */
export interface MetadataChanges {
  readonly createdTopics: readonly TopicImage[];
  /** As they were. A topic that was deleted and made again under its name is in both lists. */
  readonly deletedTopics: readonly TopicImage[];
  /** Partitions added to or changed in topics that were there before. */
  readonly changedPartitions: readonly ChangedPartition[];
  readonly changedConfigs: readonly ConfigResource[];
  readonly changedBrokers: readonly number[];
  readonly changedFeatures: readonly string[];
}

/** A topic while records are replayed onto it. */
interface TopicDraft {
  readonly before: TopicImage | null;
  readonly name: string;
  readonly id: Uuid;
  readonly partitions: PartitionImage[];
}

/** Collects records on top of an image, then makes the next image. */
export class MetadataDelta {
  readonly #base: MetadataImage;
  /** Topics touched so far, by id; null for those removed. */
  readonly #topics = new Map<Uuid, TopicDraft | null>();
  readonly #removedTopics: TopicImage[] = [];
  readonly #configs = new Map<string, { resource: ConfigResource; values: Map<string, string> }>();
  readonly #brokers = new Map<number, BrokerImage | null>();
  readonly #features = new Map<string, number>();
  #controllers: ReadonlyMap<number, ControllerImage>;
  #nextProducerId: ProducerId;
  #accessControlIds: ReadonlySet<Uuid>;
  #withoutEffect: ReadonlySet<MetadataRecordType>;

  constructor(base: MetadataImage) {
    this.#base = base;
    this.#controllers = base.controllers;
    this.#nextProducerId = base.nextProducerId;
    this.#accessControlIds = base.accessControlIds;
    this.#withoutEffect = base.withoutEffect;
  }

  /** Takes one record. Errors: an assertion when it does not fit what came before it (a damaged log). */
  replay(record: DecodedMetadataRecord, recordOffset: Offset): void {
    switch (record.type) {
      case "TopicRecord":
        return this.#createTopic(record.value.name, record.value.topicId);
      case "RemoveTopicRecord":
        return this.#removeTopic(record.value.topicId);
      case "PartitionRecord":
        return this.#setPartition(record.value);
      case "PartitionChangeRecord":
        return this.#changePartition(record.value);
      case "ConfigRecord":
        return this.#setConfig(record.value);
      case "RegisterBrokerRecord":
        return this.#registerBroker(record.value);
      case "UnregisterBrokerRecord":
        this.#brokers.set(record.value.brokerId, null);
        return;
      case "FenceBrokerRecord":
        return this.#changeBroker(record.value.id, { fenced: true });
      case "UnfenceBrokerRecord":
        return this.#changeBroker(record.value.id, { fenced: false });
      case "BrokerRegistrationChangeRecord":
        return this.#changeRegistration(record.value);
      case "FeatureLevelRecord":
        this.#features.set(record.value.name, record.value.featureLevel);
        return;
      case "ProducerIdsRecord":
        this.#nextProducerId = producerId(record.value.nextProducerId);
        return;
      case "ClearElrRecord":
        return this.#clearElr(record.value.topicName);
      case "AccessControlEntryRecord":
        this.#accessControlIds = new Set(this.#accessControlIds).add(record.value.id);
        return;
      case "RemoveAccessControlEntryRecord": {
        const removedId = record.value.id;
        this.#accessControlIds = new Set(this.#accessControlIds.difference(new Set([removedId])));
        return;
      }
      case "ClientQuotaRecord":
      case "UserScramCredentialRecord":
      case "RemoveUserScramCredentialRecord":
      case "DelegationTokenRecord":
      case "RemoveDelegationTokenRecord":
        this.#withoutEffect = new Set(this.#withoutEffect).add(record.type);
        return;
      case "RegisterControllerRecord":
        return this.#registerController(record.value);
      case "UnregisterControllerRecord": {
        const { controllerId } = record.value;
        this.#controllers = new Map([...this.#controllers].filter(([id]) => id !== controllerId));
        return;
      }
      case "ZkMigrationStateRecord":
      case "NoOpRecord":
        return;
      case "BeginTransactionRecord":
      case "EndTransactionRecord":
        // We write atomic batches instead; Kafka brackets its bootstrap records with these.
        return;
      case "AbortTransactionRecord":
        throw new WireError(
          `Cannot apply metadata record at offset ${recordOffset}: an aborted metadata transaction, ` +
            "which only Apache Kafka's own controller can undo",
        );
    }
  }

  /** The next image and what changed. The delta is not to be used afterwards. */
  apply(provenance: ImageProvenance): { image: MetadataImage; changes: MetadataChanges } {
    const base = this.#base.parts();
    const topics = this.#applyTopics(base);
    const configs = this.#applyConfigs(base.configs);
    const features = new Map(base.features);
    for (const [name, level] of this.#features) {
      if (level === 0) features.delete(name);
      else features.set(name, level);
    }
    const image = new MetadataImage({
      clusterId: base.clusterId,
      provenance,
      topicsByName: topics.byName,
      topicNamesById: topics.namesById,
      topicNamesByUnifiedName: topics.namesByUnifiedName,
      brokers: this.#brokers.size === 0 ? base.brokers : this.#applyBrokers(base.brokers),
      controllers: this.#controllers,
      configs: configs.configs,
      features: this.#features.size === 0 ? base.features : features,
      nextProducerId: this.#nextProducerId,
      accessControlIds: this.#accessControlIds,
      withoutEffect: this.#withoutEffect,
    });
    const changes = {
      createdTopics: topics.created,
      deletedTopics: this.#removedTopics,
      changedPartitions: topics.changedPartitions,
      changedConfigs: configs.changed,
      changedBrokers: [...this.#brokers.keys()],
      changedFeatures: [...this.#features.keys()],
    };
    return { image, changes };
  }

  #applyTopics(base: ImageParts) {
    let { topicsByName: byName, topicNamesById: namesById } = base;
    let { topicNamesByUnifiedName: namesByUnifiedName } = base;
    const created: TopicImage[] = [];
    const changedPartitions: ChangedPartition[] = [];
    // Removals first: a name may have been taken again in the same batch.
    for (const topic of this.#removedTopics) {
      byName = byName.delete(topic.name);
      namesById = namesById.delete(topic.id);
      namesByUnifiedName = namesByUnifiedName.delete(unifiedTopicName(topic.name));
    }
    for (const draft of this.#topics.values()) {
      if (draft === null) continue;
      const topic = { name: draft.name, id: draft.id, partitions: draft.partitions };
      byName = byName.set(topic.name, topic);
      if (draft.before === null) {
        namesById = namesById.set(topic.id, topic.name);
        if (hasCollisionCharacters(topic.name)) {
          namesByUnifiedName = namesByUnifiedName.set(unifiedTopicName(topic.name), topic.name);
        }
        created.push(topic);
        continue;
      }
      for (const after of topic.partitions) {
        const before = draft.before.partitions[after.partition] ?? null;
        if (before !== after) changedPartitions.push({ topic, before, after });
      }
    }
    return { byName, namesById, namesByUnifiedName, created, changedPartitions };
  }

  #applyConfigs(base: ImageParts["configs"]) {
    let configs = base;
    const changed: ConfigResource[] = [];
    for (const [key, { resource, values }] of this.#configs) {
      configs = values.size === 0 ? configs.delete(key) : configs.set(key, values);
      changed.push(resource);
    }
    return { configs, changed };
  }

  #applyBrokers(base: ReadonlyMap<number, BrokerImage>): ReadonlyMap<number, BrokerImage> {
    const brokers = new Map(base);
    for (const [id, broker] of this.#brokers) {
      if (broker === null) brokers.delete(id);
      else brokers.set(id, broker);
    }
    return brokers;
  }

  #createTopic(name: string, id: Uuid): void {
    assert(!this.#topics.has(id) && this.#base.topicById(id) === undefined, `topic id ${id} twice`);
    this.#topics.set(id, { before: null, name, id, partitions: [] });
  }

  #draft(id: Uuid): TopicDraft {
    const known = this.#topics.get(id);
    if (known) return known;
    const before = known === null ? undefined : this.#base.topicById(id);
    assert(before !== undefined, `record for topic id ${id}, which does not exist`);
    const draft = { before, name: before.name, id, partitions: [...before.partitions] };
    this.#topics.set(id, draft);
    return draft;
  }

  #removeTopic(id: Uuid): void {
    const draft = this.#draft(id);
    this.#topics.set(id, null);
    // A topic made and removed within one delta was never seen by anybody.
    if (draft.before !== null) this.#removedTopics.push(draft.before);
    this.#removeConfigs({ type: "topic", name: draft.name });
  }

  #removeConfigs(resource: ConfigResource): void {
    const key = configKey(resource.type, resource.name);
    const hasConfigs = this.#configs.has(key) || this.#base.parts().configs.has(key);
    if (hasConfigs) this.#configs.set(key, { resource, values: new Map() });
  }

  #setPartition(
    record: Extract<DecodedMetadataRecord, { type: "PartitionRecord" }>["value"],
  ): void {
    const { partitions } = this.#draft(record.topicId);
    assert(
      record.partitionId <= partitions.length,
      `partition ${record.partitionId} after ${partitions.length} partitions`,
    );
    partitions[record.partitionId] = {
      partition: record.partitionId,
      replicas: record.replicas,
      directories: record.directories.length === record.replicas.length
        ? record.directories
        : record.replicas.map(() => ZERO_UUID),
      isr: record.isr,
      removingReplicas: record.removingReplicas,
      addingReplicas: record.addingReplicas,
      elr: record.eligibleLeaderReplicas ?? [],
      lastKnownElr: record.lastKnownElr ?? [],
      leader: record.leader,
      leaderRecoveryState: record.leaderRecoveryState,
      leaderEpoch: leaderEpoch(record.leaderEpoch),
      partitionEpoch: record.partitionEpoch,
    };
  }

  #changePartition(
    record: Extract<DecodedMetadataRecord, { type: "PartitionChangeRecord" }>["value"],
  ): void {
    const { partitions } = this.#draft(record.topicId);
    const before = partitions[record.partitionId];
    assert(before !== undefined, `change of partition ${record.partitionId}, which does not exist`);
    partitions[record.partitionId] = changedPartition(before, record);
  }

  /** Forgets the eligible leader replicas of a topic, of all of them for the name "". */
  #clearElr(topicName: string): void {
    const named = topicName === "" ? this.#base.topics() : [this.#base.topicByName(topicName)];
    const ids = new Set([...named].flatMap((topic) => topic === undefined ? [] : [topic.id]));
    for (const draft of this.#topics.values()) {
      if (draft !== null && (topicName === "" || draft.name === topicName)) ids.add(draft.id);
    }
    for (const id of ids) {
      if (this.#topics.get(id) === null) continue;
      const { partitions } = this.#draft(id);
      for (const [index, partition] of partitions.entries()) {
        if (partition.elr.length === 0 && partition.lastKnownElr.length === 0) continue;
        partitions[index] = {
          ...partition,
          elr: [],
          lastKnownElr: [],
          partitionEpoch: partition.partitionEpoch + 1,
        };
      }
    }
  }

  #setConfig(record: Extract<DecodedMetadataRecord, { type: "ConfigRecord" }>["value"]): void {
    const type = configResourceType(record.resourceType);
    assert(type !== null, `setting of resource type ${record.resourceType}, which does not exist`);
    const key = configKey(type, record.resourceName);
    let change = this.#configs.get(key);
    if (change === undefined) {
      const values = new Map(this.#base.configs(type, record.resourceName));
      change = { resource: { type, name: record.resourceName }, values };
      this.#configs.set(key, change);
    }
    if (record.value === null) change.values.delete(record.name);
    else change.values.set(record.name, record.value);
  }

  #registerBroker(
    record: Extract<DecodedMetadataRecord, { type: "RegisterBrokerRecord" }>["value"],
  ): void {
    this.#brokers.set(record.brokerId, {
      id: record.brokerId,
      epoch: record.brokerEpoch,
      incarnationId: record.incarnationId,
      endpoints: record.endPoints,
      features: featureRanges(record.features),
      rack: record.rack,
      fenced: record.fenced,
      inControlledShutdown: record.inControlledShutdown,
      logDirs: record.logDirs,
      cordonedLogDirs: record.cordonedLogDirs ?? [],
    });
  }

  #registerController(
    record: Extract<DecodedMetadataRecord, { type: "RegisterControllerRecord" }>["value"],
  ): void {
    const { controllerId: id, incarnationId, endPoints: endpoints } = record;
    const features = featureRanges(record.features);
    const controller = { id, incarnationId, endpoints, features };
    this.#controllers = new Map(this.#controllers).set(id, controller);
  }

  #changeBroker(id: number, change: Partial<BrokerImage>): void {
    const known = this.#brokers.get(id);
    const before = known === undefined ? this.#base.brokers.get(id) : known;
    assert(before, `change of broker ${id}, which is not registered`);
    this.#brokers.set(id, { ...before, ...change });
  }

  #changeRegistration(
    record: Extract<DecodedMetadataRecord, { type: "BrokerRegistrationChangeRecord" }>["value"],
  ): void {
    // 1 fences, −1 unfences, 0 leaves it as it is (Kafka's BrokerRegistrationFencingChange).
    const { brokerId, fenced, inControlledShutdown, logDirs, cordonedLogDirs } = record;
    this.#changeBroker(brokerId, {
      ...(fenced === 0 ? {} : { fenced: fenced === 1 }),
      ...(inControlledShutdown === 0 ? {} : { inControlledShutdown: inControlledShutdown === 1 }),
      ...(logDirs.length === 0 ? {} : { logDirs }),
      ...(cordonedLogDirs === null ? {} : { cordonedLogDirs }),
    });
  }
}

/** What a change of a partition says; what is left out stays as it is. */
export type PartitionChange = Partial<
  Extract<DecodedMetadataRecord, { type: "PartitionChangeRecord" }>["value"]
>;

/** A partition after a change. Every leader that the change names, the old one too, starts an epoch. */
export function changedPartition(
  before: PartitionImage,
  change: PartitionChange,
): PartitionImage {
  // −2 and −1 are Kafka's "as before".
  const { leader = -2, leaderRecoveryState = -1 } = change;
  const namesLeader = leader !== -2;
  return {
    partition: before.partition,
    replicas: change.replicas ?? before.replicas,
    directories: change.directories ?? before.directories,
    isr: change.isr ?? before.isr,
    removingReplicas: change.removingReplicas ?? before.removingReplicas,
    addingReplicas: change.addingReplicas ?? before.addingReplicas,
    elr: change.eligibleLeaderReplicas ?? before.elr,
    lastKnownElr: change.lastKnownElr ?? before.lastKnownElr,
    leader: namesLeader ? leader : before.leader,
    leaderRecoveryState: leaderRecoveryState === -1
      ? before.leaderRecoveryState
      : leaderRecoveryState,
    leaderEpoch: leaderEpoch(namesLeader ? before.leaderEpoch + 1 : before.leaderEpoch),
    partitionEpoch: before.partitionEpoch + 1,
  };
}

/** The levels of features that a node says it can work at. */
export function featureRanges(
  features: readonly {
    readonly name: string;
    readonly minSupportedVersion: number;
    readonly maxSupportedVersion: number;
  }[],
): FeatureRanges {
  return new Map(
    features.map((
      { name, minSupportedVersion: lowest, maxSupportedVersion: highest },
    ) => [name, { lowest, highest }]),
  );
}

/** The name of Kafka's number of a resource type; null for one that has no settings. */
export function configResourceType(code: number): ConfigResourceType | null {
  for (const [name, value] of Object.entries(ConfigResourceType)) {
    if (value === code) return name as ConfigResourceType;
  }
  return null;
}
