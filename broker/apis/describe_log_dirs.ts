/**
 * DescribeLogDirs (key 35), versions 1–5: the log directory, its disk, and the partitions in it.
 *
 * 2 flexible · 3 a top-level error · 4 total and usable bytes (KIP-827) · 5 whether the directory is
 * cordoned (KIP-1066). Null topics stand for all.
 *
 * Gaps: the total is what the partitions take and what is free.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  describeLogDirsRequest,
  describeLogDirsResponse,
} from "../../protocol/schemas/describe_log_dirs.ts";
import { DiskError } from "../../storage/platform.ts";
import type { LogDirectory } from "../../storage/log_directory.ts";
import type { Config } from "../config/config.ts";
import { METADATA_TOPIC } from "../controller/quorum.ts";
import type { ReplicaManager } from "../partitions/replica_manager.ts";
import { type Api, defineApi } from "./api.ts";

type Answer = Encodable<typeof describeLogDirsResponse>;
type PartitionAnswer = Answer["results"][number]["topics"][number]["partitions"][number];

const OFFLINE = {
  errorCode: ErrorCode.KAFKA_STORAGE_ERROR,
  topics: [],
  totalBytes: -1,
  usableBytes: -1,
};

/** Answers DescribeLogDirs. */
export function describeLogDirsApi(
  { replicaManager, config }: {
    readonly replicaManager: ReplicaManager;
    readonly config: Pick<Config, "isCordoned">;
  },
): Api {
  return defineApi({
    key: ApiKey.DescribeLogDirs,
    request: describeLogDirsRequest,
    response: describeLogDirsResponse,
    versions: { lowest: 1, highest: 5 },
    handle({ topics }) {
      const wanted = topics === null
        ? null
        : new Map(topics.map(({ topic, partitions }) => [topic, new Set(partitions)]));
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        results: replicaManager.logDirectories.states().map(({ path, directory, offlineReason }) =>
          directory === null || offlineReason !== null
            ? { ...OFFLINE, logDir: path, isCordoned: config.isCordoned(path) }
            : describe(directory, wanted, config.isCordoned(path))
        ),
      };
    },
  });
}

function describe(
  directory: LogDirectory,
  wanted: ReadonlyMap<string, ReadonlySet<number>> | null,
  isCordoned: boolean,
): Answer["results"][number] {
  const usableBytes = freeBytes(directory);
  let usedBytes = 0;
  const byTopic = new Map<string, PartitionAnswer[]>();
  for (const { topicPartition: { topic, partition }, sizeBytes } of directory.logs()) {
    usedBytes += sizeBytes;
    if (topic === METADATA_TOPIC) continue;
    if (wanted !== null && !wanted.get(topic)?.has(partition)) continue;
    const answer = {
      partitionIndex: partition,
      partitionSize: sizeBytes,
      offsetLag: 0,
      isFutureKey: false,
    };
    const list = byTopic.get(topic);
    if (list === undefined) byTopic.set(topic, [answer]);
    else list.push(answer);
  }
  return {
    errorCode: ErrorCode.NONE,
    logDir: directory.path,
    topics: [...byTopic].map(([name, partitions]) => ({ name, partitions })),
    totalBytes: usableBytes < 0 ? -1 : usedBytes + usableBytes,
    usableBytes,
    isCordoned,
  };
}

function freeBytes(directory: LogDirectory): number {
  try {
    return directory.freeBytes();
  } catch (failure) {
    if (failure instanceof DiskError) return -1;
    throw failure;
  }
}
