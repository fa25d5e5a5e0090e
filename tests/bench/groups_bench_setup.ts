/** What the benchmarks of groups begin with: a topic, and coordinators that answer. */

import { partitionForKey } from "../../broker/coordination/led_shards.ts";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import { createTopicsRequest, createTopicsResponse } from "../../protocol/schemas/create_topics.ts";
import {
  findCoordinatorRequest,
  findCoordinatorResponse,
} from "../../protocol/schemas/find_coordinator.ts";
import { metadataRequest, metadataResponse } from "../../protocol/schemas/metadata.ts";
import { offsetFetchRequest, offsetFetchResponse } from "../../protocol/schemas/offset_fetch.ts";
import type { Uuid } from "../../protocol/types.ts";
import type { RunningBroker } from "../compat/harness.ts";
import { Wire } from "../compat/wire.ts";

const LOOK_MS = 5;
const PATIENCE_MS = 120_000;
const METADATA_VERSION = 12;
/** `offsets.topic.num.partitions`. */
export const OFFSETS_PARTITIONS = 50;

/** The name of a group by its number. */
export function groupName(index: number): string {
  return `group-${index}`;
}

/** Creates a topic of one replica. Returns: its id. */
export async function createBenchTopic(
  { bootstrap }: Pick<RunningBroker, "bootstrap">,
  name: string,
  numPartitions: number,
): Promise<Uuid> {
  const wire = await Wire.connect(bootstrap);
  const { topics } = await wire.send(createTopicsRequest, createTopicsResponse, 7, {
    topics: [{ name, numPartitions, replicationFactor: 1, assignments: [], configs: [] }],
    timeoutMs: PATIENCE_MS,
    validateOnly: false,
  });
  const { errorCode, errorMessage } = topics[0]!;
  if (errorCode !== ErrorCode.NONE && errorCode !== ErrorCode.TOPIC_ALREADY_EXISTS) {
    throw new Error(`${errorName(errorCode)}: ${errorMessage}`);
  }
  const body = { topics: [{ name }], allowAutoTopicCreation: false };
  const metadata = await wire.send(metadataRequest, metadataResponse, METADATA_VERSION, body);
  wire.close();
  return metadata.topics[0]!.topicId;
}

/** The first groups by their numbers that lie in different partitions of `__consumer_offsets`. */
export function groupsApart(groups: number): string[] {
  const names = Array.from({ length: groups }, (_, index) => groupName(index));
  const byPartition = new Map(
    names.toReversed().map((name) => [partitionForKey(name, OFFSETS_PARTITIONS), name]),
  );
  return [...byPartition.values()];
}

/** Asks for offsets of the groups until each one's coordinator answers. Returns: the first offset of each, by group. */
export async function whenCoordinated(
  { bootstrap }: Pick<RunningBroker, "bootstrap">,
  names: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const wire = await Wire.connect(bootstrap);
  await wire.send(findCoordinatorRequest, findCoordinatorResponse, 4, {
    coordinatorKeys: [...names],
  });
  const offsets = new Map<string, number>();
  const deadlineMs = performance.now() + PATIENCE_MS;
  let left = [...names];
  while (left.length > 0) {
    if (performance.now() > deadlineMs) {
      throw new Error(`Cannot measure groups: the coordinators of ${left.length} do not answer`);
    }
    const answer = await wire.send(offsetFetchRequest, offsetFetchResponse, 9, {
      groups: left.map((groupId) => ({ groupId, topics: null })),
      requireStable: false,
    });
    for (const { groupId, errorCode, topics } of answer.groups) {
      if (errorCode !== ErrorCode.NONE) continue;
      offsets.set(groupId, topics[0]?.partitions[0]?.committedOffset ?? -1);
    }
    left = left.filter((name) => !offsets.has(name));
    if (left.length > 0) await Bun.sleep(LOOK_MS);
  }
  wire.close();
  return offsets;
}
