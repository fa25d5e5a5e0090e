/**
 * The metrics of controller, quorum and replication: names and sentences, over what the subsystems say when somebody
 * scrapes. Kafka's names, in our spelling.
 */

import type { Controller } from "../controller/controller.ts";
import type { PartitionImage } from "../controller/metadata_image.ts";
import type { Partition, ReplicationBytes } from "../partitions/partition.ts";
import type { ReplicaManager } from "../partitions/replica_manager.ts";
import { ClusterMeter } from "./cluster_meter.ts";
import type { Metrics } from "./metrics.ts";

/** Every state that a replica of the metadata log can be in, as Kafka names them. */
const QUORUM_STATES = [
  "leader",
  "candidate",
  "prospective",
  "voted",
  "follower",
  "unattached",
  "observer",
  "resigned",
] as const;

/** Shows the cluster as the metadata tells it, and the quorum that keeps it. Returns: what ends it. */
export function showCluster(metrics: Metrics, controller: Controller, nodeId: number): () => void {
  const meter = new ClusterMeter(nodeId);
  const stop = controller.subscribe((image, changes) => meter.note(image, changes));
  const image = () => controller.image();
  const fencedCount = () => [...image().brokers.values()].filter(({ fenced }) => fenced).length;
  const gauges: readonly (readonly [string, string, () => number])[] = [
    [
      "active_controller",
      "1 on the active controller, 0 on all others.",
      () => Number(controller.isActive),
    ],
    ["global_topics", "Topics of the cluster.", () => image().topicCount],
    ["global_partitions", "Partitions of the cluster.", () => meter.partitionCount],
    [
      "offline_partitions",
      "Partitions of the cluster that have no leader.",
      () => meter.offlineCount,
    ],
    [
      "preferred_replica_imbalance",
      "Partitions of the cluster that another than their first replica leads.",
      () => meter.imbalanceCount,
    ],
    [
      "reassigning_partitions",
      "Partitions of the cluster that are being moved.",
      () => meter.reassigningCount,
    ],
    ["active_brokers", "Brokers that take part.", () => image().brokers.size - fencedCount()],
    ["fenced_brokers", "Brokers that are registered and take no part.", fencedCount],
    [
      "metadata_offset",
      "Offset of the last record of the metadata that this node has applied.",
      () => image().offset,
    ],
  ];
  for (const [name, help, read] of gauges) metrics.gauge(`weir_${name}`, help, read);
  const counters: readonly (readonly [string, string, () => number])[] = [
    ["leader_elections", "Times that a partition got another leader.", () => meter.leaderElections],
    [
      "unclean_leader_elections",
      "Times that a partition got a leader that need not have had all records.",
      () => meter.uncleanLeaderElections,
    ],
    [
      "isr_shrinks",
      "Times that a replica left the ISR of a partition that this node leads.",
      () => meter.isrShrinks,
    ],
    [
      "isr_expands",
      "Times that a replica joined the ISR of a partition that this node leads.",
      () => meter.isrExpands,
    ],
  ];
  for (const [name, help, read] of counters) metrics.counter(`weir_${name}_total`, help, read);
  showQuorum(metrics, controller, nodeId);
  return stop;
}

function showQuorum(metrics: Metrics, { quorum }: Controller, nodeId: number): void {
  const { raft } = quorum;
  const state = () => {
    if (raft.role === "follower" && raft.voters.get(nodeId) === undefined) return "observer";
    return raft.role === "unattached" && raft.voted !== null ? "voted" : raft.role;
  };
  metrics.labelledGauge(
    "weir_quorum_state",
    "1 for the state that this node is in, in the quorum that keeps the metadata.",
    "state",
    () => QUORUM_STATES.map((name) => [name, Number(state() === name)]),
  );
  const gauges: readonly (readonly [string, string, () => number])[] = [
    ["leader_id", "Node that leads the quorum; -1 when none is known.", () => quorum.leaderId],
    ["epoch", "Epoch of the quorum.", () => raft.epoch],
    ["high_watermark", "Offset up to which the metadata is committed.", () => quorum.highWatermark],
    [
      "log_end_offset",
      "Offset that the next record of the metadata gets.",
      () => quorum.logEndOffset,
    ],
    ["voters", "Controllers that vote.", () => raft.voters.size],
    [
      "observers",
      "Nodes that follow the metadata without a vote; on the leader.",
      () => quorum.describe()?.observers.length ?? 0,
    ],
    ["max_voter_lag", "Records that the voter furthest behind lacks; on the leader.", () => {
      const voters = quorum.describe()?.voters ?? [];
      return voters.reduce(
        (lag, { endOffset }) => Math.max(lag, quorum.logEndOffset - Math.max(0, endOffset)),
        0,
      );
    }],
  ];
  for (const [name, help, read] of gauges) metrics.gauge(`weir_quorum_${name}`, help, read);
}

/** What one look at the partitions of this broker gives. */
interface ReplicationSample {
  readonly held: number;
  readonly led: number;
  readonly underReplicated: number;
  readonly underMinIsr: number;
  readonly atMinIsr: number;
  /** Records between what a follower has and what is committed at its leader. */
  readonly maxLag: number;
}

/** A partition, as far as it is looked at. */
type ReplicatedPartition = Pick<Partition, "isLeader" | "followerLag" | "effectiveMinIsr"> & {
  readonly image: Pick<PartitionImage, "replicas" | "addingReplicas" | "isr">;
};

/** Looks at every open partition: numbers only, a millisecond for ten thousand. */
export function replicationSample(partitions: Iterable<ReplicatedPartition>): ReplicationSample {
  const sample = { held: 0, led: 0, underReplicated: 0, underMinIsr: 0, atMinIsr: 0, maxLag: 0 };
  for (const partition of partitions) {
    sample.held++;
    sample.maxLag = Math.max(sample.maxLag, partition.followerLag);
    if (!partition.isLeader) continue;
    sample.led++;
    const { replicas, addingReplicas, isr } = partition.image;
    // Replicas that are on their way are not missing.
    if (isr.length < replicas.length - addingReplicas.length) sample.underReplicated++;
    if (isr.length < partition.effectiveMinIsr) sample.underMinIsr++;
    else if (isr.length === partition.effectiveMinIsr) sample.atMinIsr++;
  }
  return sample;
}

const REPLICATION_GAUGES: readonly {
  readonly name: string;
  readonly help: string;
  readonly value: (sample: ReplicationSample) => number;
}[] = [
  { name: "held_partitions", help: "Partitions that this broker holds.", value: (it) => it.held },
  { name: "led_partitions", help: "Partitions that this broker leads.", value: (it) => it.led },
  {
    name: "under_replicated_partitions",
    help: "Partitions that this broker leads, and whose ISR lacks a replica.",
    value: (it) => it.underReplicated,
  },
  {
    name: "under_min_isr_partitions",
    help: "Partitions that this broker leads, and whose ISR is below min.insync.replicas.",
    value: (it) => it.underMinIsr,
  },
  {
    name: "at_min_isr_partitions",
    help: "Partitions that this broker leads, and whose ISR is at min.insync.replicas.",
    value: (it) => it.atMinIsr,
  },
  {
    name: "replica_fetcher_max_lag",
    help: "Committed records that the replica of this broker that is furthest behind lacks.",
    value: (it) => it.maxLag,
  },
];

/** Shows how this broker's partitions are replicated. */
export function showReplication(
  metrics: Metrics,
  { replicaManager, bytes }: {
    readonly replicaManager: Pick<ReplicaManager, "partitions">;
    readonly bytes: Readonly<ReplicationBytes>;
  },
): void {
  const read = metrics.perScrape(() => replicationSample(replicaManager.partitions()));
  for (const { name, help, value } of REPLICATION_GAUGES) {
    metrics.gauge(`weir_${name}`, help, () => value(read()));
  }
  metrics.counter(
    "weir_replication_received_bytes_total",
    "Bytes of records that this broker has fetched from leaders.",
    () => bytes.received,
  );
  metrics.counter(
    "weir_replication_sent_bytes_total",
    "Bytes of records that this broker has given to followers.",
    () => bytes.sent,
  );
}
