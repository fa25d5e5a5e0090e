/** Settings of one log, under Kafka's topic names in camelCase, with Kafka's defaults. */

/** Settings that the store honours. Units: as the name ends. */
export interface LogConfig {
  readonly segmentBytes: number;
  readonly segmentMs: number;
  /** Most that is taken off `segmentMs`, by chance, so that not all logs roll at once. */
  readonly segmentJitterMs: number;
  readonly indexIntervalBytes: number;
  readonly segmentIndexBytes: number;
  readonly maxMessageBytes: number;
  /** −1 for no limit. */
  readonly retentionMs: number;
  /** −1 for no limit. */
  readonly retentionBytes: number;
  readonly cleanupPolicy: readonly ("delete" | "compact")[];
  readonly messageTimestampType: "CreateTime" | "LogAppendTime";
  readonly messageTimestampBeforeMaxMs: number;
  readonly messageTimestampAfterMaxMs: number;
  readonly compressionType: "producer" | "uncompressed" | "gzip" | "snappy" | "lz4" | "zstd";
  readonly compressionGzipLevel: number;
  readonly compressionZstdLevel: number;
  /** The largest record of a compressed batch. */
  readonly maxDecompressedMessageBytes: number;
  /** The most that a batch may take when decompressed: memory that is held while it is looked at. */
  readonly maxDecompressedBatchBytes: number;
  readonly flushMessages: number;
  readonly flushMs: number;
  readonly fileDeleteDelayMs: number;
  readonly minCompactionLagMs: number;
  readonly maxCompactionLagMs: number;
  readonly deleteRetentionMs: number;
  readonly minCleanableDirtyRatio: number;
  readonly preallocate?: boolean;
}

/** Kafka's own defaults; the bound of a decompressed batch is ours. */
export const DEFAULT_LOG_CONFIG: LogConfig = {
  segmentBytes: 1024 * 1024 * 1024,
  segmentMs: 7 * 24 * 60 * 60 * 1000,
  segmentJitterMs: 0,
  indexIntervalBytes: 4096,
  segmentIndexBytes: 10 * 1024 * 1024,
  maxMessageBytes: 1024 * 1024 + 12,
  retentionMs: 7 * 24 * 60 * 60 * 1000,
  retentionBytes: -1,
  cleanupPolicy: ["delete"],
  messageTimestampType: "CreateTime",
  messageTimestampBeforeMaxMs: Number.MAX_SAFE_INTEGER,
  messageTimestampAfterMaxMs: 60 * 60 * 1000,
  compressionType: "producer",
  compressionGzipLevel: -1,
  compressionZstdLevel: 3,
  maxDecompressedMessageBytes: 2_147_483_639,
  maxDecompressedBatchBytes: 64 * 1024 * 1024,
  flushMessages: Number.MAX_SAFE_INTEGER,
  flushMs: Number.MAX_SAFE_INTEGER,
  fileDeleteDelayMs: 60_000,
  minCompactionLagMs: 0,
  maxCompactionLagMs: Number.MAX_SAFE_INTEGER,
  deleteRetentionMs: 24 * 60 * 60 * 1000,
  minCleanableDirtyRatio: 0.5,
};
