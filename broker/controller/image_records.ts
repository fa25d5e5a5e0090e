/**
 * An image as the records that make it again: what a snapshot of the metadata holds.
 *
 *     features, brokers, controllers, topics with their partitions, settings, producer ids
 *
 * The order is Kafka's: a reader knows the `metadata.version` first. Records come one by one, so that whoever
 * writes many of them can pause in between; an image never changes meanwhile.
 *
 * Source: KIP-630.
 */

import {
  type BrokerImage,
  ConfigResourceType,
  type ControllerImage,
  type FeatureRanges,
  type MetadataImage,
  type PartitionImage,
  type TopicImage,
} from "./metadata_image.ts";
import type { MetadataRecord } from "./metadata_records.ts";

const METADATA_VERSION = "metadata.version";
/** Nobody in particular has taken the producer ids. */
const NO_BROKER = { brokerId: -1, brokerEpoch: -1 };

/** The records of an image. Applied to the empty image, in any batches, they give an equal one. */
export function* imageRecords(image: MetadataImage): Generator<MetadataRecord, void, void> {
  const features = [...image.features].sort(([a], [b]) =>
    Number(b === METADATA_VERSION) - Number(a === METADATA_VERSION)
  );
  for (const [name, featureLevel] of features) {
    yield { type: "FeatureLevelRecord", value: { name, featureLevel } };
  }
  for (const broker of image.brokers.values()) yield brokerRecord(broker);
  for (const controller of image.controllers.values()) yield controllerRecord(controller);
  for (const topic of image.topics()) {
    yield { type: "TopicRecord", value: { name: topic.name, topicId: topic.id } };
    for (const partition of topic.partitions) yield partitionRecord(topic, partition);
  }
  for (const type of Object.keys(ConfigResourceType) as ConfigResourceType[]) {
    for (const resourceName of image.configuredResources(type)) {
      for (const [name, value] of image.configs(type, resourceName)) {
        const resourceType = ConfigResourceType[type];
        yield { type: "ConfigRecord", value: { resourceType, resourceName, name, value } };
      }
    }
  }
  if (image.nextProducerId > 0) {
    const { nextProducerId } = image;
    yield { type: "ProducerIdsRecord", value: { ...NO_BROKER, nextProducerId } };
  }
}

function brokerRecord(broker: BrokerImage): MetadataRecord {
  return {
    type: "RegisterBrokerRecord",
    value: {
      brokerId: broker.id,
      incarnationId: broker.incarnationId,
      brokerEpoch: broker.epoch,
      endPoints: broker.endpoints,
      features: featureFields(broker.features),
      rack: broker.rack,
      fenced: broker.fenced,
      inControlledShutdown: broker.inControlledShutdown,
      logDirs: broker.logDirs,
      cordonedLogDirs: broker.cordonedLogDirs,
    },
  };
}

function controllerRecord(controller: ControllerImage): MetadataRecord {
  return {
    type: "RegisterControllerRecord",
    value: {
      controllerId: controller.id,
      incarnationId: controller.incarnationId,
      zkMigrationReady: false,
      endPoints: controller.endpoints,
      features: featureFields(controller.features),
    },
  };
}

function featureFields(features: FeatureRanges) {
  return [...features].map(([name, { lowest, highest }]) => (
    { name, minSupportedVersion: lowest, maxSupportedVersion: highest }
  ));
}

function partitionRecord({ id: topicId }: TopicImage, partition: PartitionImage): MetadataRecord {
  const { elr, lastKnownElr } = partition;
  return {
    type: "PartitionRecord",
    value: {
      partitionId: partition.partition,
      topicId,
      replicas: partition.replicas,
      isr: partition.isr,
      removingReplicas: partition.removingReplicas,
      addingReplicas: partition.addingReplicas,
      leader: partition.leader,
      leaderRecoveryState: partition.leaderRecoveryState,
      leaderEpoch: partition.leaderEpoch,
      partitionEpoch: partition.partitionEpoch,
      directories: partition.directories,
      eligibleLeaderReplicas: elr.length === 0 ? null : elr,
      lastKnownElr: lastKnownElr.length === 0 ? null : lastKnownElr,
    },
  };
}
