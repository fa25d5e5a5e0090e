/**
 * What is wrong with a cluster, worst first, in sentences: what it is, what it means, where to look.
 *
 * From its metadata alone, so that it can be told whenever any broker answers.
 */

import type { DescribeClusterResponse } from "../../../protocol/schemas/describe_cluster.ts";
import type { MetadataResponse } from "../../../protocol/schemas/metadata.ts";
import { formatTopicPartition } from "../../../protocol/types.ts";
import { Calls } from "../../client/calls.ts";
import { type KafkaClient, throwOnError } from "../../client/kafka_client.ts";
import { formatCounted } from "./format.ts";

/** Names that are told of many that have the same trouble. */
const NAMED = 5;

/** Something that somebody should look at. */
export interface Finding {
  readonly level: "warn" | "bad";
  /** A sentence without its full stop. */
  readonly what: string;
  /** Which, where it is about partitions. */
  readonly names: string;
  readonly advice: string;
}

/** A broker as the cluster knows it. */
export interface BrokerState {
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
  readonly rack: string | null;
  /** Registered, but not taking part: it is down, cut off, or starting. */
  readonly isFenced: boolean;
  readonly leaderCount: number;
  readonly replicaCount: number;
  /** Replicas on it that are not in sync. */
  readonly laggingCount: number;
}

/** How a cluster is. */
export interface Health {
  readonly clusterId: string;
  readonly controllerId: number;
  readonly brokers: readonly BrokerState[];
  readonly topicCount: number;
  readonly userTopicCount: number;
  readonly partitionCount: number;
  readonly findings: readonly Finding[];
}

/** Metadata of all topics. Errors: KafkaError, NetworkError. */
export async function askMetadata(client: KafkaClient): Promise<MetadataResponse> {
  return await client.retry(() => client.metadata(null));
}

/** Asks any broker. Errors: KafkaError, NetworkError. */
export async function askHealth(
  client: KafkaClient,
  metadataOf: (client: KafkaClient) => Promise<MetadataResponse>,
): Promise<Health> {
  const metadata = await metadataOf(client);
  const cluster = await client.ask(Calls.describeCluster, {
    includeClusterAuthorizedOperations: false,
    endpointType: 1,
    includeFencedBrokers: true,
  });
  throwOnError(cluster.errorCode, cluster.errorMessage);
  return healthOf(metadata, cluster);
}

/** What two answers say. */
export function healthOf(metadata: MetadataResponse, cluster: DescribeClusterResponse): Health {
  const partitions = metadata.topics.flatMap(({ name, partitions }) =>
    partitions.map((partition) => ({ ...partition, topic: name ?? "" }))
  );
  const brokers = cluster.brokers
    .map(({ brokerId, host, port, rack, isFenced }): BrokerState => {
      const held = partitions.filter(({ replicaNodes }) => replicaNodes.includes(brokerId));
      return {
        nodeId: brokerId,
        host,
        port,
        rack,
        isFenced,
        leaderCount: held.filter(({ leaderId }) => leaderId === brokerId).length,
        replicaCount: held.length,
        laggingCount: held.filter(({ isrNodes }) => !isrNodes.includes(brokerId)).length,
      };
    })
    .sort((a, b) => a.nodeId - b.nodeId);
  return {
    clusterId: cluster.clusterId,
    controllerId: cluster.controllerId,
    brokers,
    topicCount: metadata.topics.length,
    userTopicCount: metadata.topics.filter(({ isInternal }) => !isInternal).length,
    partitionCount: partitions.length,
    findings: findingsOf(partitions, brokers),
  };
}

type TopicPartitionMetadata = MetadataResponse["topics"][number]["partitions"][number] & {
  readonly topic: string;
};

function findingsOf(
  partitions: readonly TopicPartitionMetadata[],
  brokers: readonly BrokerState[],
): Finding[] {
  const offline = partitions.filter(({ leaderId }) => leaderId < 0);
  const down = brokers.filter(({ isFenced }) => isFenced);
  const behind = partitions.filter(({ leaderId, isrNodes, replicaNodes }) =>
    leaderId >= 0 && isrNodes.length < replicaNodes.length
  );
  const findings: Finding[] = [];
  if (offline.length > 0) {
    findings.push({
      level: "bad",
      what: formatCounted(offline.length, "partition has", "partitions have") + " no leader",
      names: named(offline),
      advice: "Nothing can be written to them or read from them until one of the brokers that " +
        `were in sync is back: ${holders(offline)}.`,
    });
  }
  if (down.length > 0) {
    const ids = down.map(({ nodeId }) => nodeId).join(", ");
    findings.push({
      level: "bad",
      what: down.length === 1 ? `Broker ${ids} is down` : `Brokers ${ids} are down`,
      names: "",
      advice:
        "Registered, and fenced: the process has ended, is cut off from the controllers, or " +
        "is still starting. See its log, and /readyz on its HTTP port.",
    });
  }
  if (behind.length > 0) {
    findings.push({
      level: "warn",
      what: `${formatCounted(behind.length, "partition has", "partitions have")} ` +
        "replicas that are not in sync",
      names: named(behind),
      advice: down.length > 0
        ? "They catch up by themselves when the broker is back."
        : `The followers on ${followersBehind(behind)} are catching up, or their disks are slow.`,
    });
  }
  return findings;
}

function named(partitions: readonly TopicPartitionMetadata[]): string {
  const names = partitions.slice(0, NAMED).map(({ topic, partitionIndex }) =>
    formatTopicPartition(topic, partitionIndex)
  );
  return names.join(", ") + (partitions.length > NAMED ? " …" : "");
}

function holders(partitions: readonly TopicPartitionMetadata[]): string {
  return brokersText(partitions.flatMap(({ isrNodes }) => isrNodes));
}

function followersBehind(partitions: readonly TopicPartitionMetadata[]): string {
  return brokersText(
    partitions.flatMap(({ replicaNodes, isrNodes }) =>
      replicaNodes.filter((id) => !isrNodes.includes(id))
    ),
  );
}

function brokersText(ids: readonly number[]): string {
  const distinct = [...new Set(ids)].sort((a, b) => a - b);
  return `broker ${distinct.join(", ")}`;
}

/** The state of a cluster in one sentence. */
export function verdictOf({ brokers, partitionCount, findings }: Health): {
  readonly level: "good" | "warn" | "bad";
  readonly text: string;
} {
  const [worst] = findings;
  if (worst !== undefined) {
    const level = findings.some((finding) => finding.level === "bad") ? "bad" : "warn";
    return { level, text: `${worst.what}.` };
  }
  const who = brokers.length === 1 ? "The broker is up" : `All ${brokers.length} brokers are up`;
  const what = partitionCount === 0 ? "" : ", and every partition is in sync";
  return { level: "good", text: `${who}${what}.` };
}
