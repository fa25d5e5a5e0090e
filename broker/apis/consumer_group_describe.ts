/**
 * ConsumerGroupDescribe (key 69), versions 0–1: epochs, members, and assignments of consumer groups (KIP-848).
 *
 * - v1: how a member takes part, by the classic protocol (0) or the consumer protocol (1) (KIP-1099).
 *
 * The answer waits until what it shows is committed. Topics that are gone are left out.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  consumerGroupDescribeRequest,
  consumerGroupDescribeResponse,
} from "../../protocol/schemas/consumer_group_describe.ts";
import type { Controller } from "../controller/controller.ts";
import { GROUP_VERSION_FEATURE } from "../controller/feature_changes.ts";
import type { MetadataImage } from "../controller/metadata_image.ts";
import type { Partitions } from "../groups/assignors/assignor.ts";
import type { ConsumerMemberDescription } from "../groups/consumer_group.ts";
import type { GroupCoordinator } from "../groups/coordinator.ts";
import { allOperations, OPERATIONS_NOT_ASKED } from "../security/authorized_operations.ts";
import { type Api, defineApi } from "./api.ts";

const MemberType = { classic: 0, consumer: 1 } as const;

interface Subsystems {
  readonly controller: Controller;
  readonly groupCoordinator: GroupCoordinator;
}

/** Answers ConsumerGroupDescribe. */
export function consumerGroupDescribeApi({ controller, groupCoordinator }: Subsystems): Api {
  return defineApi({
    key: ApiKey.ConsumerGroupDescribe,
    request: consumerGroupDescribeRequest,
    response: consumerGroupDescribeResponse,
    versions: { lowest: 0, highest: 1 },
    async handle({ groupIds, includeAuthorizedOperations }) {
      const image = controller.image();
      const isEnabled = (image.features.get(GROUP_VERSION_FEATURE) ?? 0) >= 1;
      const groups = await Promise.all(groupIds.map(async (groupId) => {
        if (!isEnabled) return refused(groupId, ErrorCode.UNSUPPORTED_VERSION, null);
        if (groupId === "") return refused(groupId, ErrorCode.INVALID_GROUP_ID, null);
        const group = await groupCoordinator.describeConsumerGroup(groupId);
        if (group.error !== ErrorCode.NONE) return refused(groupId, group.error, group.message);
        return {
          errorCode: ErrorCode.NONE,
          groupId,
          groupState: group.state,
          groupEpoch: group.epoch,
          assignmentEpoch: group.assignmentEpoch,
          assignorName: group.assignorName,
          members: group.members.map((member) => encodableMember(member, image)),
          authorizedOperations: includeAuthorizedOperations
            ? allOperations.group
            : OPERATIONS_NOT_ASKED,
        };
      }));
      return { throttleTimeMs: 0, groups };
    },
  });
}

function refused(groupId: string, errorCode: ErrorCode, errorMessage: string | null) {
  return {
    errorCode,
    errorMessage,
    groupId,
    groupState: "",
    groupEpoch: 0,
    assignmentEpoch: 0,
    assignorName: "",
    members: [],
    authorizedOperations: OPERATIONS_NOT_ASKED,
  };
}

function encodableMember(
  { memberId, metadata, memberEpoch, owned, target }: ConsumerMemberDescription,
  image: MetadataImage,
) {
  return {
    memberId,
    instanceId: metadata.instanceId,
    rackId: metadata.rackId,
    memberEpoch,
    clientId: metadata.clientId,
    clientHost: metadata.clientHost,
    subscribedTopicNames: metadata.subscribedTopicNames,
    subscribedTopicRegex: metadata.subscribedTopicRegex,
    assignment: { topicPartitions: named(owned, image) },
    targetAssignment: { topicPartitions: named(target, image) },
    memberType: metadata.classic === null ? MemberType.consumer : MemberType.classic,
  };
}

function named(topics: Partitions, image: MetadataImage) {
  return [...topics].flatMap(([topicId, partitions]) => {
    const topicName = image.topicById(topicId)?.name;
    if (topicName === undefined) return [];
    return [{
      topicId,
      topicName,
      partitions: partitions.toSorted((left, right) => left - right),
    }];
  });
}
