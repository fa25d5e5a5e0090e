/** The log directories of the brokers: their disks, what lies there, and what is on its way between them. */

import { ErrorCode, errorName } from "../../protocol/errors.ts";
import type { Decoded } from "../../protocol/schema.ts";
import type { describeLogDirsResponse } from "../../protocol/schemas/describe_log_dirs.ts";
import type { TopicPartition } from "../../protocol/types.ts";
import { Calls } from "./calls.ts";
import { type KafkaClient, throwOnError } from "./kafka_client.ts";

type Directory = Decoded<typeof describeLogDirsResponse>["results"][number];

/** A replica in a directory. */
export interface LogDirReplica extends TopicPartition {
  readonly bytes: number;
  /** Records that it lacks of what the partition has. */
  readonly offsetLag: number;
}

/** A log directory of a broker. */
export interface LogDir {
  readonly broker: number;
  readonly directory: string;
  readonly state: string;
  readonly partitions: number;
  /** Replicas that move here from another directory of the broker. */
  readonly arriving: readonly LogDirReplica[];
  readonly usedBytes: number;
  /** Null where the broker does not say, as for the next one. */
  readonly freeBytes: number | null;
  readonly sizeBytes: number | null;
}

/** A directory and all replicas in it. */
export interface LogDirContents extends LogDir {
  readonly replicas: readonly LogDirReplica[];
}

/** The directories of all brokers, by their ids. Errors: KafkaError, NetworkError. */
export async function describeLogDirs(client: KafkaClient): Promise<LogDir[]> {
  const contents = await readLogDirs(client);
  return contents.map(({ replicas: _, ...directory }) => directory);
}

/** The same with what lies in each of them. */
export async function readLogDirs(client: KafkaClient): Promise<LogDirContents[]> {
  const { brokers } = await client.retry(() => client.metadata([]));
  const found: LogDirContents[] = [];
  for (const { nodeId } of brokers.toSorted((a, b) => a.nodeId - b.nodeId)) {
    const answer = await client.retry(async () => {
      const broker = await client.broker(nodeId);
      return await broker.request(Calls.describeLogDirs, { topics: null });
    });
    throwOnError(answer.errorCode);
    for (const directory of answer.results) found.push(contentsOf(nodeId, directory));
  }
  return found;
}

function contentsOf(broker: number, directory: Directory): LogDirContents {
  const { logDir, errorCode, isCordoned, topics, totalBytes, usableBytes } = directory;
  const all = topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionIndex, partitionSize, isFutureKey, offsetLag }) => ({
      isFutureKey,
      replica: { topic: name, partition: partitionIndex, bytes: partitionSize, offsetLag },
    }))
  );
  const of = (future: boolean) =>
    all.filter(({ isFutureKey }) => isFutureKey === future).map(({ replica }) => replica);
  const arriving = of(true);
  const replicas = of(false);
  return {
    broker,
    directory: logDir,
    state: errorCode !== ErrorCode.NONE
      ? `offline (${errorName(errorCode)})`
      : isCordoned
      ? "cordoned"
      : "online",
    partitions: replicas.length,
    arriving,
    usedBytes: [...replicas, ...arriving].reduce((sum, { bytes }) => sum + bytes, 0),
    // A broker of before KIP-827 does not say.
    freeBytes: usableBytes < 0 ? null : usableBytes,
    sizeBytes: totalBytes < 0 ? null : totalBytes,
    replicas,
  };
}
