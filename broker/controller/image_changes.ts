/**
 * What is different between two images that no records lead from one to the other: a snapshot has come in the
 * place of records that this node has never seen.
 */

import type {
  BrokerImage,
  ChangedPartition,
  ConfigResource,
  MetadataChanges,
  MetadataImage,
  TopicImage,
} from "./metadata_image.ts";

const RESOURCE_TYPES = ["topic", "broker", "brokerLogger", "clientMetrics", "group"] as const;

/** What was created, deleted and changed from `before` to `after`. */
export function imageChanges(before: MetadataImage, after: MetadataImage): MetadataChanges {
  const createdTopics: TopicImage[] = [];
  const changedPartitions: ChangedPartition[] = [];
  for (const topic of after.topics()) {
    const old = before.topicById(topic.id);
    if (old === undefined) createdTopics.push(topic);
    else changedPartitions.push(...partitionChanges(old, topic));
  }
  return {
    createdTopics,
    deletedTopics: [...before.topics()].filter(({ id }) => after.topicById(id) === undefined),
    changedPartitions,
    changedConfigs: configChanges(before, after),
    changedBrokers: brokerChanges(before.brokers, after.brokers),
    changedFeatures: [...new Set([...before.features.keys(), ...after.features.keys()])]
      .filter((name) => before.features.get(name) !== after.features.get(name)),
  };
}

/** Partitions are never taken away. */
function partitionChanges(before: TopicImage, topic: TopicImage): ChangedPartition[] {
  return topic.partitions.flatMap((after, i): ChangedPartition[] => {
    const old = before.partitions[i];
    if (old === undefined) return [{ topic, before: null, after }];
    return old.partitionEpoch === after.partitionEpoch ? [] : [{ topic, before: old, after }];
  });
}

function configChanges(before: MetadataImage, after: MetadataImage): ConfigResource[] {
  return RESOURCE_TYPES.flatMap((type) => {
    const names = new Set([
      ...before.configuredResources(type),
      ...after.configuredResources(type),
    ]);
    return [...names].filter((name) =>
      !isSame(before.configs(type, name), after.configs(type, name))
    )
      .map((name) => ({ type, name }));
  });
}

function isSame(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}

/** A registration that is another has another epoch; what else changes of one is few fields. */
function brokerChanges(
  before: ReadonlyMap<number, BrokerImage>,
  after: ReadonlyMap<number, BrokerImage>,
): number[] {
  return [...new Set([...before.keys(), ...after.keys()])].filter((id) => {
    const [old, now] = [before.get(id), after.get(id)];
    return old === undefined || now === undefined || old.epoch !== now.epoch ||
      old.fenced !== now.fenced || old.inControlledShutdown !== now.inControlledShutdown ||
      String(old.logDirs) !== String(now.logDirs) ||
      String(old.cordonedLogDirs) !== String(now.cordonedLogDirs);
  });
}
