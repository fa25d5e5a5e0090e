/**
 * DescribeLogDirs (key 35), versions 1–5: the log directories, their disks, and the partitions in them, with
 * those that are on their way from one to another.
 *
 * 2 flexible · 3 a top-level error · 4 total and usable bytes (KIP-827) · 5 whether the directory is
 * cordoned (KIP-1066). Null topics stand for all.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  describeLogDirsRequest,
  describeLogDirsResponse,
} from "../../protocol/schemas/describe_log_dirs.ts";
import type { DirectoryState } from "../../storage/log_directories.ts";
import type { Log } from "../../storage/log.ts";
import { DiskError } from "../../storage/platform.ts";
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
  { replicaManager }: { readonly replicaManager: ReplicaManager },
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
        results: replicaManager.logDirectories.states().map((state) =>
          describe(replicaManager, state, wanted)
        ),
      };
    },
  });
}

function describe(
  replicaManager: ReplicaManager,
  { path, directory, offlineReason, isCordoned }: DirectoryState,
  wanted: ReadonlyMap<string, ReadonlySet<number>> | null,
): Answer["results"][number] {
  if (directory === null || offlineReason !== null) {
    return { ...OFFLINE, logDir: path, isCordoned };
  }
  const byTopic = new Map<string, PartitionAnswer[]>();
  const add = (log: Log, isFutureKey: boolean) => {
    const { topicPartition: { topic, partition }, sizeBytes: partitionSize } = log;
    if (topic === METADATA_TOPIC) return;
    if (wanted !== null && !wanted.get(topic)?.has(partition)) return;
    const offsetLag = isFutureKey ? replicaManager.offsetLag(log) : 0;
    const answer = { partitionIndex: partition, partitionSize, offsetLag, isFutureKey };
    const list = byTopic.get(topic);
    if (list === undefined) byTopic.set(topic, [answer]);
    else list.push(answer);
  };
  for (const log of directory.logs()) add(log, false);
  for (const log of directory.futures()) add(log, true);
  return {
    errorCode: ErrorCode.NONE,
    logDir: directory.path,
    topics: [...byTopic].map(([name, partitions]) => ({ name, partitions })),
    totalBytes: orUnknown(() => directory.totalBytes()),
    usableBytes: orUnknown(() => directory.freeBytes()),
    isCordoned,
  };
}

/** −1 for a file system that does not say. */
function orUnknown(read: () => number): number {
  try {
    return read();
  } catch (failure) {
    if (failure instanceof DiskError) return -1;
    throw failure;
  }
}
