/**
 * The requests that the stories of the differential test are made of.
 *
 * `state.topic` names the topic of a story; `keep` puts what later requests need (topic ids, session ids,
 * member ids) beside it. What only prepares is repeated until it succeeds, since a broker may answer
 * CreateTopics before the partitions can be used.
 */

import { buildBatch, type NewBatch } from "../../protocol/records.ts";
import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";
import { createTopicsRequest, createTopicsResponse } from "../../protocol/schemas/create_topics.ts";
import { deleteGroupsRequest, deleteGroupsResponse } from "../../protocol/schemas/delete_groups.ts";
import {
  describeConfigsRequest,
  describeConfigsResponse,
} from "../../protocol/schemas/describe_configs.ts";
import { fetchRequest, fetchResponse } from "../../protocol/schemas/fetch.ts";
import {
  findCoordinatorRequest,
  findCoordinatorResponse,
} from "../../protocol/schemas/find_coordinator.ts";
import { heartbeatRequest, heartbeatResponse } from "../../protocol/schemas/heartbeat.ts";
import { joinGroupRequest, joinGroupResponse } from "../../protocol/schemas/join_group.ts";
import { listGroupsRequest, listGroupsResponse } from "../../protocol/schemas/list_groups.ts";
import { listOffsetsRequest, listOffsetsResponse } from "../../protocol/schemas/list_offsets.ts";
import { offsetCommitRequest, offsetCommitResponse } from "../../protocol/schemas/offset_commit.ts";
import { offsetFetchRequest, offsetFetchResponse } from "../../protocol/schemas/offset_fetch.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import { syncGroupRequest, syncGroupResponse } from "../../protocol/schemas/sync_group.ts";
import { type Uuid, ZERO_UUID } from "../../protocol/types.ts";
import { encodeSubscription } from "../broker/groups/members.ts";

/** What a story remembers between its requests. */
export type State = Record<string, unknown> & { topic?: unknown };

/** One request of a story. */
export interface Step {
  readonly title: string;
  readonly request: Message;
  readonly response: Message;
  /** The request, or null to leave the step out. */
  readonly value: (state: State, version: number) => object | null;
  readonly keep?: (state: State, answer: never) => void;
  /** False for requests that only prepare: at the highest version, again until no error is left, never compared. */
  readonly compare?: boolean;
  /** Asked again until this holds, where a broker applies what it has acknowledged a moment later. */
  readonly until?: (answer: never) => boolean;
  /** True for a request that waits for others: it gets a connection of its own, and its answer is taken at the end. */
  readonly isBackground?: boolean;
  /** True where the answers of those must be there first. */
  readonly isAfterBackground?: boolean;
  /** How long Kafka may take to act on what it has acknowledged, where no request tells. */
  readonly settleMs?: number;
  /** Part of the answer to compare. */
  readonly pick?: (answer: never, state: State) => unknown;
}

/** A title, the API under test, and the requests; played once for every version of that API that has all of it. */
export type Story = readonly [
  title: string,
  apiKey: number,
  steps: readonly Step[],
  lowestVersion?: number,
];

/** One request of a story, with the types of its API. */
export function step<Req extends Message, Res extends Message>(
  title: string,
  request: Req,
  response: Res,
  value: (state: State, version: number) => Encodable<Req> | null,
  more: {
    keep?: (state: State, answer: Decoded<Res>) => void;
    pick?: (answer: Decoded<Res>, state: State) => unknown;
    until?: (answer: Decoded<Res>) => boolean;
    isBackground?: boolean;
    isAfterBackground?: boolean;
    compare?: boolean;
    settleMs?: number;
  } = {},
): Step {
  return { title, request, response, value, ...more } as unknown as Step;
}

/** Name of the story's topic. */
export const topicOf = (state: State) => state["topic"] as string;
/** Id of the story's topic; zero before it is made. */
export const idOf = (state: State) => (state["topicId"] ?? ZERO_UUID) as Uuid;
/** Bytes of a text. */
export const bytesOf = (text: string) => new TextEncoder().encode(text);
/** Name of the story's group. */
export const groupOf = (state: State) => `group-${topicOf(state)}`;
/** A topic id that no broker has given out. */
export const UNKNOWN_ID = "8TSpTSmVSLi-_jcVmYLDkg" as Uuid;

/** Makes the story's topic, keeps its id, and waits until all its partitions can be used. */
export function makeTopic(configs: Record<string, string> = {}, numPartitions = 1): Step[] {
  return [
    step("make the topic", createTopicsRequest, createTopicsResponse, (state) => ({
      topics: [{
        name: topicOf(state),
        numPartitions,
        replicationFactor: 1,
        assignments: [],
        configs: Object.entries(configs).map(([name, value]) => ({ name, value })),
      }],
      timeoutMs: 30_000,
    }), {
      compare: false,
      keep: (state, answer) => state["topicId"] = answer.topics[0]!.topicId,
    }),
    step("wait for its partitions", listOffsetsRequest, listOffsetsResponse, (state) => ({
      replicaId: -1,
      isolationLevel: 0,
      topics: [{
        name: topicOf(state),
        partitions: Array.from({ length: numPartitions }, (_, partitionIndex) => ({
          partitionIndex,
          currentLeaderEpoch: -1,
          timestamp: -1,
        })),
      }],
      timeoutMs: 1000,
    }), { compare: false }),
  ];
}

/** A batch of these values, at times 10 ms apart, without keys. */
export function batch(values: readonly string[], more: Partial<NewBatch> = {}): Uint8Array {
  const start = 1_700_000_000_000;
  return buildBatch({
    records: values.map((value, i) => ({
      key: null,
      value: bytesOf(value),
      timestamp: start + 10 * i,
    })),
    ...more,
  });
}

/** A Produce request of one batch. */
export function produce(
  title: string,
  records: () => Uint8Array | null,
  { acks = -1, partition = 0, topic, compare = true, id }: {
    acks?: number;
    partition?: number;
    topic?: string;
    compare?: boolean;
    id?: Uuid;
  } = {},
): Step {
  return step(title, produceRequest, produceResponse, (state) => ({
    transactionalId: null,
    acks,
    timeoutMs: 10_000,
    topicData: [{
      name: topic ?? topicOf(state),
      topicId: id ?? (topic === undefined ? idOf(state) : UNKNOWN_ID),
      partitionData: [{ index: partition, records: records() }],
    }],
  }), { compare });
}

/** Three records a request, `count` times. */
export const fill = (count = 3) =>
  Array.from(
    { length: count },
    (_, i) => produce(`fill ${i}`, () => batch([`a${i}`, `b${i}`, `c${i}`]), { compare: false }),
  );

/** A copy with one byte flipped. */
export function corrupt(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at]! ^= 0xff;
  return copy;
}

/** What a Fetch asks for besides the first offset of partition 0. */
export interface FetchOptions {
  fetchOffset?: number;
  partition?: number;
  currentLeaderEpoch?: number;
  lastFetchedEpoch?: number;
  sessionId?: number | "kept";
  sessionEpoch?: number;
  partitionMaxBytes?: number;
  maxBytes?: number;
  topic?: string;
  withoutTopics?: boolean;
  isolationLevel?: number;
}

/** A Fetch request of at most one partition, which waits for nothing. */
export function fetchStep(title: string, options: FetchOptions = {}): Step {
  return step(title, fetchRequest, fetchResponse, (state) => ({
    maxWaitMs: 0,
    isolationLevel: options.isolationLevel ?? 0,
    minBytes: 0,
    maxBytes: options.maxBytes ?? 1 << 20,
    sessionId: options.sessionId === "kept"
      ? (state["sessionId"] ?? 0) as number
      : options.sessionId ?? 0,
    sessionEpoch: options.sessionEpoch ?? -1,
    topics: options.withoutTopics === true ? [] : [{
      topic: options.topic ?? topicOf(state),
      topicId: options.topic === undefined ? idOf(state) : UNKNOWN_ID,
      partitions: [{
        partition: options.partition ?? 0,
        fetchOffset: options.fetchOffset ?? 0,
        currentLeaderEpoch: options.currentLeaderEpoch ?? -1,
        lastFetchedEpoch: options.lastFetchedEpoch ?? -1,
        partitionMaxBytes: options.partitionMaxBytes ?? 1 << 20,
      }],
    }],
    forgottenTopicsData: [],
  }), {
    keep: (state, answer) => {
      if (answer.sessionId !== 0) state["sessionId"] = answer.sessionId;
    },
  });
}

/** A ListOffsets request of one partition. */
export function listOffsets(
  title: string,
  timestamp: number,
  more: { partition?: number; epoch?: number; topic?: string } = {},
): Step {
  return step(title, listOffsetsRequest, listOffsetsResponse, (state) => ({
    replicaId: -1,
    isolationLevel: 0,
    topics: [{
      name: more.topic ?? topicOf(state),
      partitions: [{
        partitionIndex: more.partition ?? 0,
        currentLeaderEpoch: more.epoch ?? -1,
        timestamp,
      }],
    }],
    timeoutMs: 1000,
  }));
}

/** A topic as CreateTopics takes it. */
export const newTopic = (name: string, more: object = {}) => ({
  name,
  numPartitions: 1,
  replicationFactor: 1,
  assignments: [],
  configs: [],
  ...more,
});

/** A CreateTopics request. */
export function createTopics(
  title: string,
  topics: (topic: string) => ReturnType<typeof newTopic>[],
  validateOnly = false,
): Step {
  return step(title, createTopicsRequest, createTopicsResponse, (state) => ({
    topics: topics(topicOf(state)),
    timeoutMs: 30_000,
    validateOnly,
  }));
}

/** A DescribeConfigs request of one resource. */
export function configsOf(
  resourceType: number,
  name: (state: State) => string,
  keys: string[] | null = null,
): Step {
  return step("describe", describeConfigsRequest, describeConfigsResponse, (state) => ({
    resources: [{ resourceType, resourceName: name(state), configurationKeys: keys }],
    includeSynonyms: false,
  }));
}

/** A consumer's subscription to nothing, version 0, with this as its user data. */
export const subscription = (userData: string) =>
  encodeSubscription({ userData: bytesOf(userData) });

/** A JoinGroup request; the member id that comes back is kept. */
export function join(title: string, more: Partial<Encodable<typeof joinGroupRequest>> = {}): Step {
  return step(title, joinGroupRequest, joinGroupResponse, (state) => ({
    groupId: groupOf(state),
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 10_000,
    memberId: (state["memberId"] ?? "") as string,
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: subscription("first") }],
    ...more,
  }), {
    keep: (state, answer) => {
      if (answer.memberId !== "") state["memberId"] = answer.memberId;
    },
    pick: ({ leader, memberId, ...answer }) => ({
      ...answer,
      leads: leader === memberId,
      // In no order.
      members: answer.members.map(({ metadata, groupInstanceId }) => ({
        metadata: Buffer.from(metadata).toString("hex"),
        groupInstanceId,
      })).toSorted((a, b) => a.metadata < b.metadata ? -1 : 1),
    }),
  });
}

/** A SyncGroup request in which the leader gives everything to itself. */
export function sync(
  title: string,
  generationId = 1,
  memberId?: string,
  more: Partial<Encodable<typeof syncGroupRequest>> = {},
): Step {
  return step(title, syncGroupRequest, syncGroupResponse, (state) => ({
    groupId: groupOf(state),
    generationId,
    memberId: memberId ?? state["memberId"] as string,
    protocolType: "consumer",
    protocolName: "range",
    assignments: [{ memberId: state["memberId"] as string, assignment: bytesOf("mine") }],
    ...more,
  }));
}

/** A Heartbeat request. */
export function beat(title: string, generationId: number, memberId?: string): Step {
  return step(title, heartbeatRequest, heartbeatResponse, (state) => ({
    groupId: groupOf(state),
    generationId,
    memberId: memberId ?? state["memberId"] as string,
  }));
}

/** An OffsetCommit request of one partition. */
export function commit(
  title: string,
  generation: number,
  more: {
    memberId?: string;
    metadata?: string | null;
    partition?: number;
    topic?: string;
    offset?: number;
    groupId?: string;
  } = {},
): Step {
  return step(title, offsetCommitRequest, offsetCommitResponse, (state) => ({
    groupId: more.groupId ?? groupOf(state),
    generationIdOrMemberEpoch: generation,
    memberId: more.memberId ?? (state["memberId"] ?? "") as string,
    topics: [{
      name: more.topic ?? topicOf(state),
      topicId: more.topic === undefined ? idOf(state) : UNKNOWN_ID,
      partitions: [{
        partitionIndex: more.partition ?? 0,
        committedOffset: more.offset ?? 2,
        committedMetadata: more.metadata === undefined ? "note" : more.metadata,
      }],
    }],
  }), { pick: (answer) => answer.topics.map(({ partitions }) => partitions) });
}

/** An OffsetFetch request of the story's topic, or of all topics. */
export function committed(title: string, all = false, group?: string): Step {
  return step(title, offsetFetchRequest, offsetFetchResponse, (state, version) => {
    const groupId = group ?? groupOf(state);
    const topics = all
      ? null
      : [{ name: topicOf(state), topicId: idOf(state), partitionIndexes: [0, 7] }];
    if (all && version < 2) return null;
    return version >= 8
      ? { groupId: "", topics: [], groups: [{ groupId, topics }] }
      : { groupId, topics, groups: [] };
  }, {
    pick: ({ topics, groups, errorCode }) => ({
      errorCode,
      partitions: topics.map((topic) => topic.partitions),
      groups: groups.map((g) => ({
        errorCode: g.errorCode,
        partitions: g.topics.map((topic) => topic.partitions),
      })),
    }),
  });
}

/** A ListGroups request, of whose answer the story's group is compared. */
export function listGroups(
  title: string,
  { states = [], types = [] }: { states?: readonly string[]; types?: readonly string[] } = {},
): Step {
  return step(
    title,
    listGroupsRequest,
    listGroupsResponse,
    (_, version) =>
      version < 4 && states.length > 0 || version < 5 && types.length > 0
        ? null
        : { statesFilter: states, typesFilter: types },
    {
      pick: ({ errorCode, groups }, state) => ({
        errorCode,
        groups: groups.filter(({ groupId }) => groupId === groupOf(state)),
      }),
    },
  );
}

/** A DeleteGroups request of the story's group. */
export function deleteGroup(title: string): Step {
  return step(title, deleteGroupsRequest, deleteGroupsResponse, (state) => (
    { groupsNames: [groupOf(state)] }
  ), { pick: ({ results }) => results.map(({ errorCode }) => errorCode) });
}

/** Waits until the group's coordinator answers; the first request of all makes `__consumer_offsets`. */
export const coordinatorReady: readonly Step[] = [
  step("find the coordinator", findCoordinatorRequest, findCoordinatorResponse, (state) => ({
    key: "",
    keyType: 0,
    coordinatorKeys: [groupOf(state)],
  }), { compare: false }),
  step("wait for the coordinator", offsetFetchRequest, offsetFetchResponse, (state) => ({
    groupId: "",
    topics: [],
    groups: [{ groupId: groupOf(state), topics: null }],
  }), { compare: false }),
];

/** One member joins and leads the first generation. */
export const joined: readonly Step[] = [join("ask for a member id"), join("join"), sync("sync")];
