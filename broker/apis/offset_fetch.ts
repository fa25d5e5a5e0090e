/**
 * OffsetFetch (key 9), versions 1–10: the committed offsets of groups.
 *
 * - v2: null topics are all that the group has; an error for the group. v3: throttle time.
 * - v5: leader epochs (KIP-320). v6: flexible. v7: `requireStable` (KIP-447).
 * - v8: many groups at once (KIP-709). v9: member id and epoch (KIP-848). v10: topics by id (KIP-848).
 *
 * A group that is being loaded is COORDINATOR_LOAD_IN_PROGRESS, never "no offset".
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  type OffsetFetchRequest,
  offsetFetchRequest,
  offsetFetchResponse,
} from "../../protocol/schemas/offset_fetch.ts";
import { leaderEpoch, offset, type Uuid, ZERO_UUID } from "../../protocol/types.ts";
import type { Controller } from "../controller/controller.ts";
import type { MetadataImage } from "../controller/metadata_image.ts";
import type { FetchedOffset, FetchedTopic, GroupCoordinator } from "../groups/coordinator.ts";
import { type Api, defineApi } from "./api.ts";

/** The first version that can carry an error for the whole group. */
const GROUP_ERROR_VERSION = 2;
const BATCH_VERSION = 8;
const TOPIC_ID_VERSION = 10;

interface Subsystems {
  readonly controller: Controller;
  readonly groupCoordinator: GroupCoordinator;
}

interface WantedTopic {
  readonly topic: string;
  readonly topicId: Uuid;
  readonly partitions: readonly number[];
}

interface Group {
  readonly groupId: string;
  readonly memberId: string | null;
  readonly memberEpoch: number;
  readonly topics: readonly WantedTopic[] | null;
}

interface GroupAnswer {
  readonly error: ErrorCode;
  readonly topics: readonly FetchedTopic[];
}

/** Answers OffsetFetch. */
export function offsetFetchApi({ controller, groupCoordinator }: Subsystems): Api {
  return defineApi({
    key: ApiKey.OffsetFetch,
    request: offsetFetchRequest,
    response: offsetFetchResponse,
    versions: { lowest: 1, highest: 10 },
    handle(request, { apiVersion }) {
      const image = controller.image();
      const fetch = (group: Group): GroupAnswer => {
        const fetched = groupCoordinator.fetchOffsets(
          group.groupId,
          group.topics,
          request.requireStable,
          group,
        );
        return { error: fetched.error, topics: "topics" in fetched ? fetched.topics : [] };
      };
      if (apiVersion >= BATCH_VERSION) {
        return {
          ...unused,
          groups: request.groups.map((group) => (
            apiVersion >= TOPIC_ID_VERSION
              ? fetchById(group, image, fetch)
              : fetchByName(group, image, fetch)
          )),
        };
      }
      return fetchOne(request, image, fetch, apiVersion);
    },
  });
}

type RequestGroup = OffsetFetchRequest["groups"][number];
type GroupResponse = NonNullable<Encodable<typeof offsetFetchResponse>["groups"]>[number];

/** What older versions say of who asks. */
const NO_MEMBER = { memberId: null, memberEpoch: -1 };

/** Fields of the versions that are not asked for. */
const unused = { throttleTimeMs: 0, topics: [], errorCode: ErrorCode.NONE, groups: [] };

function fetchOne(
  request: OffsetFetchRequest,
  image: MetadataImage,
  fetch: (group: Group) => GroupAnswer,
  apiVersion: number,
): Encodable<typeof offsetFetchResponse> {
  const topics = request.topics?.map(({ name, partitionIndexes }) => ({
    topic: name,
    topicId: image.topicByName(name)?.id ?? ZERO_UUID,
    partitions: partitionIndexes,
  })) ?? null;
  const { error, topics: fetched } = fetch({
    groupId: request.groupId,
    ...NO_MEMBER,
    topics,
  });
  // Version 1 has no place for the group's error but the partitions.
  const answered = error === ErrorCode.NONE
    ? fetched
    : apiVersion < GROUP_ERROR_VERSION
    ? topics?.map((topic) => withoutOffsets(topic, error)) ?? []
    : [];
  return {
    ...unused,
    errorCode: error,
    topics: answered.map(({ topic, partitions }) => ({
      name: topic,
      partitions: partitions.map(encodablePartition),
    })),
  };
}

function fetchByName(
  group: RequestGroup,
  image: MetadataImage,
  fetch: (group: Group) => GroupAnswer,
): GroupResponse {
  const { groupId, memberId, memberEpoch } = group;
  const topics = group.topics?.map(({ name, partitionIndexes }) => ({
    topic: name,
    topicId: image.topicByName(name)?.id ?? ZERO_UUID,
    partitions: partitionIndexes,
  })) ?? null;
  const { error, topics: fetched } = fetch({ groupId, memberId, memberEpoch, topics });
  return { groupId, errorCode: error, topics: fetched.map(encodableTopic) };
}

/** Topics that are not known by their id are answered as such, or left out where all were asked for. */
function fetchById(
  group: RequestGroup,
  image: MetadataImage,
  fetch: (group: Group) => GroupAnswer,
): GroupResponse {
  const { groupId, memberId, memberEpoch } = group;
  const wanted = group.topics?.map(({ topicId, partitionIndexes }) => ({
    topic: image.topicById(topicId)?.name ?? "",
    topicId,
    partitions: partitionIndexes,
  })) ?? null;
  const known = wanted?.filter(({ topic }) => topic !== "") ?? null;
  const { error, topics: fetched } = fetch({
    groupId,
    memberId,
    memberEpoch,
    topics: known,
  });
  if (error !== ErrorCode.NONE) return { groupId, errorCode: error, topics: [] };
  if (wanted === null) {
    const named = fetched.flatMap((topic) => {
      const topicId = image.topicByName(topic.topic)?.id;
      return topicId === undefined ? [] : [{ ...topic, topicId }];
    });
    return { groupId, errorCode: ErrorCode.NONE, topics: named.map(encodableTopic) };
  }
  const unknown = wanted.filter(({ topic }) => topic === "")
    .map((topic) => withoutOffsets(topic, ErrorCode.UNKNOWN_TOPIC_ID));
  return {
    groupId,
    errorCode: ErrorCode.NONE,
    topics: [...fetched, ...unknown].map(encodableTopic),
  };
}

function withoutOffsets(wanted: WantedTopic, error: ErrorCode): FetchedTopic {
  return {
    ...wanted,
    partitions: wanted.partitions.map((partition) => ({
      partition,
      offset: offset(-1),
      leaderEpoch: leaderEpoch(-1),
      metadata: "",
      error,
    })),
  };
}

function encodableTopic({ topic, topicId, partitions }: FetchedTopic) {
  return { name: topic, topicId, partitions: partitions.map(encodablePartition) };
}

function encodablePartition(fetched: FetchedOffset) {
  return {
    partitionIndex: fetched.partition,
    committedOffset: fetched.offset,
    committedLeaderEpoch: fetched.leaderEpoch,
    metadata: fetched.metadata,
    errorCode: fetched.error,
  };
}
