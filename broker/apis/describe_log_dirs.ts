/**
 * DescribeLogDirs (key 35), versions 1–5: the log directory, its disk, and the partitions in it.
 *
 * 2 flexible · 3 a top-level error · 4 total and usable bytes (KIP-827) · 5 whether the directory is
 * cordoned (KIP-1066). Null topics stand for all.
 *
 * Gaps: one log directory; no directory is ever cordoned.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  type DescribeLogDirsRequest,
  describeLogDirsRequest,
  describeLogDirsResponse,
} from "../../protocol/schemas/describe_log_dirs.ts";
import { DiskError } from "../../storage/platform.ts";
import type { Partition } from "../partitions/partition.ts";
import type { ReplicaManager } from "../partitions/replica_manager.ts";
import { type Api, defineApi } from "./api.ts";

type Answer = Encodable<typeof describeLogDirsResponse>;
type TopicAnswer = Answer["results"][number]["topics"][number];

/** Answers DescribeLogDirs. */
export function describeLogDirsApi(
  { replicaManager }: { readonly replicaManager: ReplicaManager },
): Api {
  return defineApi({
    key: ApiKey.DescribeLogDirs,
    request: describeLogDirsRequest,
    response: describeLogDirsResponse,
    versions: { lowest: 1, highest: 5 },
    handle({ topics }) {
      const { path, offlineReason } = replicaManager.logDirectory;
      const isOffline = offlineReason !== null;
      const usedBytes = sum(replicaManager.partitions());
      const usableBytes = isOffline ? -1 : freeBytes(replicaManager);
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        results: [{
          errorCode: isOffline ? ErrorCode.KAFKA_STORAGE_ERROR : ErrorCode.NONE,
          logDir: path,
          topics: isOffline ? [] : describe(replicaManager, topics),
          totalBytes: usableBytes < 0 ? -1 : usedBytes + usableBytes,
          usableBytes,
          isCordoned: false,
        }],
      };
    },
  });
}

function describe(
  replicaManager: ReplicaManager,
  topics: DescribeLogDirsRequest["topics"],
): TopicAnswer[] {
  const wanted = topics === null
    ? null
    : new Map(topics.map(({ topic, partitions }) => [topic, new Set(partitions)]));
  const byTopic = new Map<string, Partition[]>();
  for (const partition of replicaManager.partitions()) {
    if (wanted !== null && !wanted.get(partition.topic)?.has(partition.partition)) continue;
    const list = byTopic.get(partition.topic);
    if (list === undefined) byTopic.set(partition.topic, [partition]);
    else list.push(partition);
  }
  return [...byTopic].map(([name, partitions]) => ({
    name,
    partitions: partitions.map(({ partition, log }) => ({
      partitionIndex: partition,
      partitionSize: log.sizeBytes,
      offsetLag: 0,
      isFutureKey: false,
    })),
  }));
}

function sum(partitions: Iterable<Partition>): number {
  let bytes = 0;
  for (const { log } of partitions) bytes += log.sizeBytes;
  return bytes;
}

function freeBytes({ logDirectory }: ReplicaManager): number {
  try {
    return logDirectory.freeBytes();
  } catch (failure) {
    if (failure instanceof DiskError) return -1;
    throw failure;
  }
}
