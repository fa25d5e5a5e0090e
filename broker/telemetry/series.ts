/**
 * The families with a series for each topic, partition, or partition of a group: what a sample of each is, and which
 * lines it becomes.
 */

import type { FamilyType } from "./exposition.ts";

/** One topic of which this broker holds, or held, partitions. Counted since then. */
export interface TopicSample {
  readonly topic: string;
  readonly writtenBytes: number;
  readonly writtenRecords: number;
  readonly readBytes: number;
}

/** One partition that this broker holds. */
export interface PartitionSample {
  readonly topic: string;
  readonly partition: number;
  readonly logStartOffset: number;
  readonly endOffset: number;
  readonly highWatermark: number;
  readonly sizeBytes: number;
  readonly segmentCount: number;
  /** Null unless this broker leads it. */
  readonly led: { readonly replicaCount: number; readonly isrCount: number } | null;
}

/** One partition that a group has committed an offset for. */
export interface OffsetSample {
  readonly group: string;
  readonly topic: string;
  readonly partition: number;
  readonly committedOffset: number;
  /** Records between the committed offset and the high watermark; null where that is not known here. */
  readonly lag: number | null;
}

/** One name with its type, its sentence, and its value of a sample; null for no line. */
export interface Family<Sample> {
  readonly name: string;
  readonly type: FamilyType;
  readonly help: string;
  readonly value: (sample: Sample) => number | null;
}

/** What is said of a topic. */
export const TOPIC_FAMILIES: readonly Family<TopicSample>[] = [
  {
    name: "weir_topic_written_bytes_total",
    type: "counter",
    help: "Bytes of batches that producers wrote.",
    value: (sample) => sample.writtenBytes,
  },
  {
    name: "weir_topic_written_records_total",
    type: "counter",
    help: "Records that producers wrote.",
    value: (sample) => sample.writtenRecords,
  },
  {
    name: "weir_topic_read_bytes_total",
    type: "counter",
    help: "Bytes of batches that consumers were given.",
    value: (sample) => sample.readBytes,
  },
];

/** What is said of a partition. */
export const PARTITION_FAMILIES: readonly Family<PartitionSample>[] = [
  {
    name: "weir_partition_size_bytes",
    type: "gauge",
    help: "Bytes of the partition's segments.",
    value: (sample) => sample.sizeBytes,
  },
  {
    name: "weir_partition_segments",
    type: "gauge",
    help: "Segments of the partition.",
    value: (sample) => sample.segmentCount,
  },
  {
    name: "weir_partition_log_start_offset",
    type: "gauge",
    help: "Offset of the first record.",
    value: (sample) => sample.logStartOffset,
  },
  {
    name: "weir_partition_log_end_offset",
    type: "gauge",
    help: "Offset that the next record gets.",
    value: (sample) => sample.endOffset,
  },
  {
    name: "weir_partition_high_watermark",
    type: "gauge",
    help: "Offset up to which consumers may read.",
    value: (sample) => sample.highWatermark,
  },
  {
    name: "weir_partition_replicas",
    type: "gauge",
    help: "Replicas of the partition, on the broker that leads it.",
    value: ({ led }) => led?.replicaCount ?? null,
  },
  {
    name: "weir_partition_in_sync_replicas",
    type: "gauge",
    help: "Replicas of the partition that are in sync, on the broker that leads it.",
    value: ({ led }) => led?.isrCount ?? null,
  },
];

/** What is said of what a group has committed. */
export const OFFSET_FAMILIES: readonly Family<OffsetSample>[] = [
  {
    name: "weir_group_committed_offset",
    type: "gauge",
    help: "Offset that the group has committed.",
    value: (sample) => sample.committedOffset,
  },
  {
    name: "weir_group_lag",
    type: "gauge",
    help: "Records that the group has not committed yet, where this broker leads the partition.",
    value: (sample) => sample.lag,
  },
];
