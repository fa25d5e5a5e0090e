/**
 * What creating, deleting and growing topics means in records: Kafka's checks in Kafka's order.
 *
 * Pure: an image and a request in; records to write, and an answer for each topic, out. A request is
 * answered topic by topic: one that is refused does not hold up the others.
 *
 * Source: Kafka's ReplicationControlManager and Topic; the messages are close to Kafka's, since people
 * search for them.
 */

import { ErrorCode, errorMessage } from "../../protocol/errors.ts";
import { DirectoryId, type Uuid, ZERO_UUID } from "../../protocol/types.ts";
import type { Random } from "../../storage/platform.ts";
import type { MetadataImage, TopicImage } from "./metadata_image.ts";
import { ConfigResourceType } from "./metadata_image.ts";
import type { MetadataRecord } from "./metadata_records.ts";
import { isActive } from "./partition_changes.ts";
import { placeReplicas } from "./placement.ts";
import { METADATA_TOPIC } from "./quorum.ts";
import { randomUuid } from "../../storage/random_uuid.ts";

/** The longest name whose directory, with its suffixes, every file system takes. */
const MAX_TOPIC_NAME_LENGTH = 249;
/** The most partitions that one request may make, as in Kafka: what one atomic batch holds. */
export const MAX_PARTITIONS_PER_REQUEST = 10_000;
const TOPIC_NAME_PATTERN = /^[a-zA-Z0-9._-]+$/;
const MANUAL_ASSIGNMENT = "The manual partition assignment includes";
const INITIAL_LEADER_EPOCH = 0;
const INITIAL_PARTITION_EPOCH = 0;

/** What went wrong with one thing of a request. */
export interface Refusal {
  readonly error: ErrorCode;
  readonly message: string;
}

/** A topic to be made. */
export interface NewTopic {
  readonly name: string;
  /** −1 for the default; also where `assignments` says it. */
  readonly partitionCount: number;
  /** −1 for the default; also where `assignments` says it. */
  readonly replicationFactor: number;
  /** Replicas by hand; empty for placement by the controller. */
  readonly assignments: readonly ManualAssignment[];
  readonly configs: readonly NewConfig[];
}

/** The replicas of one partition, the preferred leader first. */
export interface ManualAssignment {
  readonly partition: number;
  readonly replicas: readonly number[];
}

/** A setting of a topic to be made. */
export interface NewConfig {
  readonly name: string;
  readonly value: string | null;
}

/** A topic that was made, or would have been with validateOnly. */
export interface CreatedTopic {
  readonly error: typeof ErrorCode.NONE;
  readonly name: string;
  /** With validateOnly an id that no topic will have. */
  readonly topicId: Uuid;
  readonly partitionCount: number;
  readonly replicationFactor: number;
  /** The settings of its own. */
  readonly configs: ReadonlyMap<string, string>;
}

/** An answer for one topic of a request. */
export type TopicResult<Done> = Done | (Refusal & { readonly name: string });

/** What the answers rest on besides the image. */
export interface TopicEnvironment {
  readonly defaultPartitionCount: number;
  readonly defaultReplicationFactor: number;
  readonly random: Random;
  /** Why the topic cannot have these settings; null when it can. */
  readonly refuseConfigs: (
    topic: string,
    configs: ReadonlyMap<string, string>,
  ) => Refusal | null;
}

/** Records to write as one batch, and the answers for when they are committed. */
export interface Plan<Result> {
  readonly records: readonly MetadataRecord[];
  readonly results: readonly Result[];
}

/** Why `name` cannot be a topic's; null when it can. */
export function invalidTopicName(name: string): string | null {
  if (name === "") return "Topic name is invalid: the empty string is not allowed";
  if (name === "." || name === "..") return `Topic name is invalid: '${name}' is not allowed`;
  if (name.length > MAX_TOPIC_NAME_LENGTH) {
    return `Topic name is invalid: the length of '${name}' is longer than the max allowed length ` +
      MAX_TOPIC_NAME_LENGTH;
  }
  if (!TOPIC_NAME_PATTERN.test(name)) {
    return `Topic name is invalid: '${name}' contains one or more characters other than ASCII ` +
      "alphanumerics, '.', '_' and '-'";
  }
  return null;
}

function refuse(error: ErrorCode, message: string): Refusal {
  return { error, message };
}

/** Values that occur more than once. */
export function duplicatesOf<T>(values: Iterable<T>): Set<T> {
  const seen = new Set<T>();
  const duplicates = new Set<T>();
  for (const value of values) {
    if (seen.has(value)) duplicates.add(value);
    seen.add(value);
  }
  return duplicates;
}

/** Plans the topics of one CreateTopics request. */
export function planCreateTopics(
  image: MetadataImage,
  topics: readonly NewTopic[],
  environment: TopicEnvironment,
): Plan<TopicResult<CreatedTopic>> {
  const duplicates = duplicatesOf(topics.map((topic) => topic.name));
  const unifiedNames = new Set<string>();
  const records: MetadataRecord[] = [];
  const results = new Map<string, TopicResult<CreatedTopic>>();
  if (partitionsAskedFor(topics, environment) > MAX_PARTITIONS_PER_REQUEST) {
    for (const { name } of topics) results.set(name, { name, ...tooManyPartitions() });
    return { records: [], results: [...results.values()] };
  }
  for (const topic of topics) {
    const { name } = topic;
    if (duplicates.has(name)) {
      results.set(name, { name, ...refuse(ErrorCode.INVALID_REQUEST, "Duplicate topic name.") });
      continue;
    }
    const unified = name.replaceAll(".", "_");
    const refusal = refuseTopicName(image, name) ??
      (unifiedNames.has(unified)
        ? refuse(
          ErrorCode.INVALID_TOPIC_EXCEPTION,
          `Topic '${name}' collides with another topic of the same request.`,
        )
        : null);
    const planned = refusal ?? planTopic(image, topic, environment);
    if ("message" in planned) {
      results.set(name, { name, ...planned });
      continue;
    }
    unifiedNames.add(unified);
    // Pushed one by one: a spread of 10,000 arguments is a deep stack.
    for (const record of planned.records) records.push(record);
    results.set(name, planned.created);
  }
  return { records, results: [...results.values()] };
}

function refuseTopicName(image: MetadataImage, name: string): Refusal | null {
  if (name === METADATA_TOPIC) {
    return refuse(
      ErrorCode.INVALID_REQUEST,
      `Creation of internal topic ${METADATA_TOPIC} is prohibited.`,
    );
  }
  const invalid = invalidTopicName(name);
  if (invalid !== null) return refuse(ErrorCode.INVALID_TOPIC_EXCEPTION, invalid);
  if (image.topicByName(name) !== undefined) {
    return refuse(ErrorCode.TOPIC_ALREADY_EXISTS, `Topic '${name}' already exists.`);
  }
  const colliding = image.collidingTopicName(name);
  if (colliding !== undefined) {
    return refuse(
      ErrorCode.INVALID_TOPIC_EXCEPTION,
      `Topic '${name}' collides with existing topic: ${colliding}`,
    );
  }
  return null;
}

function planTopic(
  image: MetadataImage,
  topic: NewTopic,
  environment: TopicEnvironment,
): Refusal | { records: MetadataRecord[]; created: CreatedTopic } {
  const configs = checkedConfigs(topic, environment);
  if ("error" in configs) return configs;
  const placed = topic.assignments.length > 0
    ? manualAssignments(image, topic)
    : placedAssignments(image, topic, environment);
  if ("error" in placed) return placed;
  let topicId = randomUuid(environment.random);
  while (image.topicById(topicId) !== undefined) topicId = randomUuid(environment.random);
  const records: MetadataRecord[] = [
    { type: "TopicRecord", value: { name: topic.name, topicId } },
  ];
  for (const [name, value] of configs) {
    records.push({
      type: "ConfigRecord",
      value: {
        resourceType: ConfigResourceType.topic,
        resourceName: topic.name,
        name,
        value,
      },
    });
  }
  for (const [partition, replicas] of placed.entries()) {
    records.push(partitionRecord(image, topicId, partition, replicas));
  }
  const created = {
    error: ErrorCode.NONE,
    name: topic.name,
    topicId,
    partitionCount: placed.length,
    replicationFactor: placed[0]!.length,
    configs,
  };
  return { records, created };
}

function partitionsAskedFor(
  topics: readonly NewTopic[],
  { defaultPartitionCount }: TopicEnvironment,
): number {
  let count = 0;
  for (const { assignments, partitionCount } of topics) {
    if (assignments.length > 0) count += assignments.length;
    else count += partitionCount === -1 ? defaultPartitionCount : Math.max(0, partitionCount);
  }
  return count;
}

function tooManyPartitions(): Refusal {
  return refuse(
    ErrorCode.POLICY_VIOLATION,
    "Excessively large number of partitions per request.",
  );
}

function checkedConfigs(
  topic: NewTopic,
  environment: TopicEnvironment,
): Refusal | ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const withoutValue: string[] = [];
  for (const { name, value } of topic.configs) {
    if (value === null) withoutValue.push(name);
    else values.set(name, value);
  }
  if (withoutValue.length > 0) {
    return refuse(
      ErrorCode.INVALID_CONFIG,
      `Null value not supported for topic configs: ${withoutValue.join(",")}`,
    );
  }
  return environment.refuseConfigs(topic.name, values) ?? values;
}

/** The replicas of every partition, or why not. */
type Assignments = Refusal | readonly (readonly number[])[];

function placedAssignments(
  image: MetadataImage,
  topic: NewTopic,
  environment: TopicEnvironment,
): Assignments {
  if (topic.replicationFactor < -1 || topic.replicationFactor === 0) {
    return refuse(
      ErrorCode.INVALID_REPLICATION_FACTOR,
      "Replication factor must be larger than 0, or -1 to use the default value.",
    );
  }
  if (topic.partitionCount < -1 || topic.partitionCount === 0) {
    return refuse(
      ErrorCode.INVALID_PARTITIONS,
      "Number of partitions was set to an invalid non-positive value.",
    );
  }
  const partitionCount = topic.partitionCount === -1
    ? environment.defaultPartitionCount
    : topic.partitionCount;
  const replicationFactor = topic.replicationFactor === -1
    ? environment.defaultReplicationFactor
    : topic.replicationFactor;
  return place(image, { partitionCount, replicationFactor }, environment.random);
}

function place(
  image: MetadataImage,
  request: { readonly partitionCount: number; readonly replicationFactor: number },
  random: Random,
): Assignments {
  // One that shuts down takes no new partitions, nor one with no directory that does (KIP-1066).
  const brokers = [...image.brokers.values()].filter((broker) => {
    const { inControlledShutdown, logDirs, cordonedLogDirs } = broker;
    if (inControlledShutdown) return false;
    return logDirs.length === 0 || logDirs.some((id) => !cordonedLogDirs.includes(id));
  });
  const placement = placeReplicas(brokers, request, random);
  if (placement.ok) return placement.assignments;
  return refuse(
    ErrorCode.INVALID_REPLICATION_FACTOR,
    `Unable to replicate the partition ${request.replicationFactor} time(s): ${placement.reason}`,
  );
}

function manualAssignments(image: MetadataImage, topic: NewTopic): Assignments {
  if (topic.replicationFactor !== -1) {
    return refuse(
      ErrorCode.INVALID_REQUEST,
      "A manual partition assignment was specified, but replication factor was not set to -1.",
    );
  }
  if (topic.partitionCount !== -1) {
    return refuse(
      ErrorCode.INVALID_REQUEST,
      "A manual partition assignment was specified, but numPartitions was not set to -1.",
    );
  }
  const byPartition = new Map<number, readonly number[]>();
  for (const { partition, replicas } of topic.assignments) {
    if (byPartition.has(partition)) {
      return refuse(
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        `Found multiple manual partition assignments for partition ${partition}`,
      );
    }
    const expected = byPartition.values().next().value?.length ?? null;
    const refusal = refuseAssignment(image, { partition, replicas }, expected);
    if (refusal !== null) return refusal;
    byPartition.set(partition, replicas);
  }
  const assignments = Array.from({ length: byPartition.size }, (_, i) => byPartition.get(i));
  if (!assignments.every((replicas) => replicas !== undefined)) {
    return refuse(
      ErrorCode.INVALID_REPLICA_ASSIGNMENT,
      "partitions should be a consecutive 0-based integer sequence",
    );
  }
  return assignments;
}

/** Why these cannot be the replicas of a partition; null when they can. */
export function refuseReplicas(
  image: MetadataImage,
  replicas: readonly number[],
): Refusal | null {
  const invalid = (message: string) => refuse(ErrorCode.INVALID_REPLICA_ASSIGNMENT, message);
  if (replicas.length === 0) return invalid(`${MANUAL_ASSIGNMENT} an empty replica list.`);
  const sorted = replicas.toSorted((a, b) => a - b);
  for (const [i, id] of sorted.entries()) {
    if (!image.brokers.has(id)) {
      return invalid(`${MANUAL_ASSIGNMENT} broker ${id}, but no such broker is registered.`);
    }
    if (i > 0 && sorted[i - 1] === id) {
      return invalid(`${MANUAL_ASSIGNMENT} the broker ${id} more than once.`);
    }
  }
  return null;
}

/** `expectedCount`: the replicas that the other partitions have, null for the first one. */
function refuseAssignment(
  image: MetadataImage,
  { partition, replicas }: ManualAssignment,
  expectedCount: number | null,
): Refusal | null {
  const invalid = (message: string) => refuse(ErrorCode.INVALID_REPLICA_ASSIGNMENT, message);
  const refusal = refuseReplicas(image, replicas);
  if (refusal !== null) return refusal;
  if (expectedCount !== null && replicas.length !== expectedCount) {
    return invalid(
      `${MANUAL_ASSIGNMENT} a partition with ${replicas.length} replica(s), but this is not ` +
        `consistent with previous partitions, which have ${expectedCount} replica(s).`,
    );
  }
  if (!replicas.some((id) => isActive(image.brokers.get(id)))) {
    return invalid(
      `All brokers specified in the manual partition assignment for partition ${partition} are ` +
        "fenced or in controlled shutdown.",
    );
  }
  return null;
}

/** A partition's first record: all replicas that are up are in sync, and the first of them leads. */
function partitionRecord(
  image: MetadataImage,
  topicId: Uuid,
  partitionId: number,
  replicas: readonly number[],
): MetadataRecord {
  const isr = replicas.filter((id) => isActive(image.brokers.get(id)));
  return {
    type: "PartitionRecord",
    value: {
      partitionId,
      topicId,
      replicas,
      isr,
      removingReplicas: [],
      addingReplicas: [],
      leader: isr[0]!,
      leaderEpoch: INITIAL_LEADER_EPOCH,
      partitionEpoch: INITIAL_PARTITION_EPOCH,
      // The broker says where it has put them, once they are there.
      directories: replicas.map(() => DirectoryId.UNASSIGNED),
    },
  };
}

/** A topic to be deleted, by its name or by its id: exactly one of them. */
export type TopicReference =
  | { readonly name: string; readonly id?: undefined }
  | { readonly id: Uuid; readonly name?: undefined };

/** A topic that was deleted, or why not; as much of it as is known. */
export interface DeletedTopic {
  readonly error: ErrorCode;
  readonly message: string | null;
  readonly name: string | null;
  readonly topicId: Uuid;
}

/** Plans the topics of one DeleteTopics request. A topic that is named twice is refused, once. */
export function planDeleteTopics(
  image: MetadataImage,
  references: readonly TopicReference[],
): Plan<DeletedTopic> {
  const records: MetadataRecord[] = [];
  const results = new Map<string, DeletedTopic>();
  const duplicateNames = duplicatesOf(references.flatMap(({ name }) => name ?? []));
  const duplicateIds = duplicatesOf(references.flatMap(({ id }) => id ?? []));
  const idsOfNames = new Map(
    references.flatMap(({ name }) => {
      const id = name === undefined ? undefined : image.topicByName(name)?.id;
      return id === undefined ? [] : [[id, name!] as const];
    }),
  );
  for (const { name, id } of references) {
    const invalid = (message: string): DeletedTopic => ({
      error: ErrorCode.INVALID_REQUEST,
      message,
      name: name ?? idsOfNames.get(id!) ?? null,
      topicId: id ?? ZERO_UUID,
    });
    const found = name === undefined ? image.topicById(id) : image.topicByName(name);
    const key = found === undefined ? `name ${name} id ${id}` : found.id;
    if (name !== undefined && duplicateNames.has(name)) {
      results.set(key, invalid("Duplicate topic name."));
    } else if (id !== undefined && duplicateIds.has(id)) {
      results.set(key, invalid("Duplicate topic id."));
    } else if (id !== undefined && idsOfNames.has(id)) {
      const message = "The provided topic name maps to an ID that was already supplied.";
      results.set(key, invalid(message));
    } else if (found === undefined) {
      const error = name === undefined
        ? ErrorCode.UNKNOWN_TOPIC_ID
        : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
      const message = errorMessage(error);
      results.set(key, { error, message, name: name ?? null, topicId: id ?? ZERO_UUID });
    } else {
      results.set(key, {
        error: ErrorCode.NONE,
        message: null,
        name: found.name,
        topicId: found.id,
      });
    }
  }
  for (const { error, topicId } of results.values()) {
    if (error === ErrorCode.NONE) records.push({ type: "RemoveTopicRecord", value: { topicId } });
  }
  return { records, results: [...results.values()] };
}

/** A topic that is to have more partitions. */
export interface PartitionIncrease {
  readonly name: string;
  /** How many it is to have in all. */
  readonly partitionCount: number;
  /** Replicas of the new partitions by hand; null for placement by the controller. */
  readonly assignments: readonly (readonly number[])[] | null;
}

/** An increase that was done. */
export interface IncreasedTopic {
  readonly error: typeof ErrorCode.NONE;
  readonly name: string;
}

/** Plans the topics of one CreatePartitions request. */
export function planCreatePartitions(
  image: MetadataImage,
  increases: readonly PartitionIncrease[],
  random: Random,
): Plan<TopicResult<IncreasedTopic>> {
  const duplicates = duplicatesOf(increases.map((increase) => increase.name));
  const records: MetadataRecord[] = [];
  const results = new Map<string, TopicResult<IncreasedTopic>>();
  for (const increase of increases) {
    const { name } = increase;
    if (duplicates.has(name)) {
      results.set(name, { name, ...refuse(ErrorCode.INVALID_REQUEST, "Duplicate topic name.") });
      continue;
    }
    const topic = image.topicByName(name);
    const planned = topic === undefined
      ? refuse(
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        errorMessage(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
      )
      : newPartitions(image, topic, increase, random);
    if ("error" in planned) {
      results.set(name, { name, ...planned });
      continue;
    }
    if (records.length + planned.length > MAX_PARTITIONS_PER_REQUEST) {
      results.set(name, { name, ...tooManyPartitions() });
      continue;
    }
    for (const [i, replicas] of planned.entries()) {
      const partition = topic!.partitions.length + i;
      records.push(partitionRecord(image, topic!.id, partition, replicas));
    }
    results.set(name, { error: ErrorCode.NONE, name });
  }
  return { records, results: [...results.values()] };
}

function newPartitions(
  image: MetadataImage,
  topic: TopicImage,
  { partitionCount, assignments }: PartitionIncrease,
  random: Random,
): Assignments {
  const present = topic.partitions.length;
  if (partitionCount === present) {
    return refuse(ErrorCode.INVALID_PARTITIONS, `Topic already has ${present} partition(s).`);
  }
  if (partitionCount < present) {
    return refuse(
      ErrorCode.INVALID_PARTITIONS,
      `The topic ${topic.name} currently has ${present} partition(s); ${partitionCount} would ` +
        "not be an increase.",
    );
  }
  const additional = partitionCount - present;
  if (additional > MAX_PARTITIONS_PER_REQUEST) return tooManyPartitions();
  const replicationFactor = topic.partitions[0]!.replicas.length;
  if (assignments === null) {
    return place(image, { partitionCount: additional, replicationFactor }, random);
  }
  if (assignments.length !== additional) {
    return refuse(
      ErrorCode.INVALID_REPLICA_ASSIGNMENT,
      `Attempted to add ${additional} additional partition(s), but only ${assignments.length} ` +
        "assignment(s) were specified.",
    );
  }
  for (const [i, replicas] of assignments.entries()) {
    const refusal = refuseAssignment(
      image,
      { partition: present + i, replicas },
      replicationFactor,
    );
    if (refusal !== null) return refusal;
  }
  return assignments;
}
