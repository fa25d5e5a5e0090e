/** Consumer groups: members, what they are assigned, how far they are behind. */

import { z } from "zod";
import { ErrorCode } from "../../../protocol/errors.ts";
import {
  type DescribedMember,
  describeGroup,
  describeGroupPartitions,
  type GroupDescription,
  type GroupPartition,
} from "../../client/group_description.ts";
import { listGroups } from "../../client/groups.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { Calls } from "../../client/calls.ts";
import { ProblemError } from "../problem.ts";
import { json, type Operation, operation } from "./operation.ts";
import {
  Links,
  listSchema,
  page,
  pagedList,
  pageQuery,
  relationship,
  resourceSchema,
  wholeList,
} from "./resources.ts";
import { named } from "./schema_names.ts";

const tag = "Consumer Group (v3)";
const GROUPS = "/v3/clusters/{cluster_id}/consumer-groups";
const GROUP = `${GROUPS}/{consumer_group_id}` as const;
/** Groups that are described at the same time, for a list. */
const AT_ONCE = 500;

const inGroup = { cluster_id: z.string(), consumer_group_id: z.string() };
const group = named(
  "ConsumerGroupData",
  resourceSchema("KafkaConsumerGroup", {
    ...inGroup,
    is_simple: z.boolean(),
    partition_assignor: z.string(),
    state: z.string(),
    type: z.string(),
    is_mixed_consumer_group: z.boolean(),
    coordinator: relationship,
    consumers: relationship,
    lag_summary: relationship,
  }),
);
const groupList = named("ConsumerGroupDataList", listSchema(group, "KafkaConsumerGroup"));
const consumer = named(
  "ConsumerData",
  resourceSchema("KafkaConsumer", {
    ...inGroup,
    consumer_id: z.string(),
    instance_id: z.string().nullable(),
    client_id: z.string(),
    assignments: relationship,
  }),
);
const consumerList = named("ConsumerDataList", listSchema(consumer, "KafkaConsumer"));
const assignment = named(
  "ConsumerAssignmentData",
  resourceSchema("KafkaConsumerAssignment", {
    ...inGroup,
    consumer_id: z.string(),
    topic_name: z.string(),
    partition_id: z.int(),
    partition: relationship,
    lag: relationship,
  }),
);
const assignmentList = named(
  "ConsumerAssignmentDataList",
  listSchema(assignment, "KafkaConsumerAssignment"),
);
const lag = named(
  "ConsumerLagData",
  resourceSchema("KafkaConsumerLag", {
    ...inGroup,
    topic_name: z.string(),
    partition_id: z.int(),
    current_offset: z.int(),
    log_end_offset: z.int(),
    lag: z.int(),
    consumer_id: z.string(),
    instance_id: z.string().nullable(),
    client_id: z.string(),
  }),
);
const lagList = named("ConsumerLagDataList", listSchema(lag, "KafkaConsumerLag"));
const lagSummary = named(
  "ConsumerGroupLagSummaryData",
  resourceSchema("KafkaConsumerGroupLagSummary", {
    ...inGroup,
    max_lag_consumer_id: z.string(),
    max_lag_instance_id: z.string().nullable(),
    max_lag_client_id: z.string(),
    max_lag_topic_name: z.string(),
    max_lag_partition_id: z.int(),
    max_lag: z.int(),
    total_lag: z.int(),
    max_lag_consumer: relationship,
    max_lag_partition: relationship,
  }),
);

/** `CompletingRebalance` as Confluent writes it: `COMPLETING_REBALANCE`. */
function upperCase(name: string): string {
  return name.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toUpperCase() || "UNKNOWN";
}

type ShownGroup = Pick<GroupDescription, "group" | "type" | "state" | "protocolType"> & {
  readonly protocol: string;
  readonly members: readonly DescribedMember[];
};

function groupData(links: Links, given: ShownGroup, coordinatorId: number) {
  const { group: id, type, state, protocolType, protocol, members } = given;
  return {
    ...links.resource("KafkaConsumerGroup", ["consumer-groups", id], `consumer-group=${id}`),
    consumer_group_id: id,
    // As Kafka has it: offsets are committed, and nobody is a member.
    is_simple: type === "classic" && protocolType === "",
    partition_assignor: protocol,
    state: upperCase(state),
    type: upperCase(type),
    is_mixed_consumer_group: type === "consumer" &&
      members.some(({ memberType }) => memberType === "classic"),
    coordinator: links.related("brokers", coordinatorId),
    consumers: links.related("consumer-groups", id, "consumers"),
    lag_summary: links.related("consumer-groups", id, "lag-summary"),
  };
}

function consumerData(links: Links, group: string, member: DescribedMember) {
  const { memberId: id, groupInstanceId, clientId } = member;
  const segments = ["consumer-groups", group, "consumers", id];
  return {
    ...links.resource("KafkaConsumer", segments, `consumer-group=${group}/consumer=${id}`),
    consumer_group_id: group,
    consumer_id: id,
    instance_id: groupInstanceId,
    client_id: clientId,
    assignments: links.related(...segments, "assignments"),
  };
}

function assignmentsData(links: Links, group: string, { memberId, partitions }: DescribedMember) {
  return partitions.map(({ topic, partition: id }) => {
    const segments = ["consumer-groups", group, "consumers", memberId, "assignments", topic];
    const name = `consumer-group=${group}/consumer=${memberId}/assignment=${topic}/partition=${id}`;
    return {
      ...links.resource("KafkaConsumerAssignment", [...segments, "partitions", id], name),
      consumer_group_id: group,
      consumer_id: memberId,
      topic_name: topic,
      partition_id: id,
      partition: links.related("topics", topic, "partitions", id),
      lag: links.related("consumer-groups", group, "lags", topic, "partitions", id),
    };
  });
}

/** A partition with an offset of the group's. */
interface Committed extends GroupPartition {
  readonly committedOffset: number;
  readonly endOffset: number;
  readonly lag: number;
}

function lagData(links: Links, group: string, given: Committed) {
  const { topic, partition: id } = given;
  const segments = ["consumer-groups", group, "lags", topic, "partitions", id];
  const name = `consumer-group=${group}/lag=${topic}/partition=${id}`;
  return {
    ...links.resource("KafkaConsumerLag", segments, name),
    consumer_group_id: group,
    topic_name: topic,
    partition_id: id,
    current_offset: given.committedOffset,
    log_end_offset: given.endOffset,
    lag: given.lag,
    consumer_id: given.memberId ?? "",
    instance_id: given.instanceId,
    client_id: given.clientId ?? "",
  };
}

/** Partitions without an offset of the group's, or that are gone, lag behind nothing. */
async function lagsOf(client: KafkaClient, group: string): Promise<Committed[]> {
  const described = await describeGroup(client, group);
  const partitions = await describeGroupPartitions(client, described, { withTime: false });
  return partitions.filter((it): it is Committed => it.lag !== null);
}

function lagSummaryData(links: Links, group: string, lags: readonly Committed[]) {
  const most = lags.reduce((a, b) => (b.lag > a.lag ? b : a), lags[0]!);
  const consumer = most.memberId ?? "";
  return {
    ...links.resource(
      "KafkaConsumerGroupLagSummary",
      ["consumer-groups", group, "lag-summary"],
      `consumer-groups=${group}/lag-summary`,
    ),
    consumer_group_id: group,
    max_lag_consumer_id: consumer,
    max_lag_instance_id: most.instanceId,
    max_lag_client_id: most.clientId ?? "",
    max_lag_topic_name: most.topic,
    max_lag_partition_id: most.partition,
    max_lag: most.lag,
    total_lag: lags.reduce((sum, { lag }) => sum + lag, 0),
    max_lag_consumer: links.related("consumer-groups", group, "consumers", consumer),
    max_lag_partition: links.related("topics", most.topic, "partitions", most.partition),
  };
}

/** Node ids of the coordinators of groups. Errors: KafkaError, NetworkError. */
async function coordinators(
  client: KafkaClient,
  groups: readonly string[],
): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (let at = 0; at < groups.length; at += AT_ONCE) {
    const answer = await client.ask(Calls.findCoordinator, {
      key: "",
      keyType: 0,
      coordinatorKeys: groups.slice(at, at + AT_ONCE),
    });
    for (const { key, errorCode, nodeId } of answer.coordinators) {
      if (errorCode === ErrorCode.NONE) found.set(key, nodeId);
    }
  }
  return found;
}

function memberOf({ group, members }: GroupDescription, id: string): DescribedMember {
  const found = members.find(({ memberId }) => memberId === id);
  if (found !== undefined) return found;
  throw new ProblemError(404, `Consumer ${id.slice(0, 200)} cannot be found in group ${group}`);
}

const groupsThemselves: readonly Operation[] = [
  operation({
    method: "get",
    path: GROUPS,
    id: "listKafkaV3ConsumerGroups",
    tag,
    summary: "List groups, by their ids",
    description: "The assignor, and whether a group is mixed, is told of one group alone.",
    query: pageQuery,
    answers: { 200: { description: "The groups.", schema: groupList } },
    handle: async ({ client, context, base, path, query }) => {
      const links = new Links(base, path.cluster_id);
      const { items, token } = page(await listGroups(client), ({ group }) => group, query);
      const byGroup = await coordinators(client, items.map(({ group }) => group));
      const data = items.map((it) =>
        groupData(links, { ...it, protocol: "", members: [] }, byGroup.get(it.group) ?? -1)
      );
      const self = links.to("consumer-groups");
      return json(context, pagedList(context, "KafkaConsumerGroup", self, { items: data, token }));
    },
  }),
  operation({
    method: "get",
    path: GROUP,
    id: "getKafkaV3ConsumerGroup",
    tag,
    summary: "Get a group",
    answers: { 200: { description: "The group.", schema: group } },
    handle: async ({ client, context, base, path: { cluster_id, consumer_group_id: id } }) => {
      const described = await describeGroup(client, id);
      const coordinator = (await coordinators(client, [id])).get(id) ?? -1;
      return json(context, groupData(new Links(base, cluster_id), described, coordinator));
    },
  }),
];

const lags: readonly Operation[] = [
  operation({
    method: "get",
    path: `${GROUP}/lags`,
    id: "listKafkaV3ConsumerLags",
    tag,
    summary: "List how far a group is behind in each partition",
    answers: { 200: { description: "The lags.", schema: lagList } },
    handle: async ({ client, context, base, path: { cluster_id, consumer_group_id: id } }) => {
      const links = new Links(base, cluster_id);
      const data = (await lagsOf(client, id)).map((it) => lagData(links, id, it));
      const self = links.to("consumer-groups", id, "lags");
      return json(context, wholeList("KafkaConsumerLag", self, data));
    },
  }),
  operation({
    method: "get",
    path: `${GROUP}/lags/{topic_name}/partitions/{partition_id}`,
    id: "getKafkaV3ConsumerLag",
    tag,
    summary: "Get how far a group is behind in a partition",
    answers: { 200: { description: "The lag.", schema: lag } },
    handle: async ({ client, context, base, path }) => {
      const { consumer_group_id: id, topic_name, partition_id } = path;
      const found = (await lagsOf(client, id)).find((it) =>
        it.topic === topic_name && it.partition === partition_id
      );
      if (found === undefined) {
        const place = `partition ${partition_id} of ${topic_name}`;
        throw new ProblemError(404, `Group ${id} has no offset in ${place}`);
      }
      return json(context, lagData(new Links(base, path.cluster_id), id, found));
    },
  }),
  operation({
    method: "get",
    path: `${GROUP}/lag-summary`,
    id: "getKafkaV3ConsumerGroupLagSummary",
    tag,
    summary: "Get how far a group is behind, at most and in all",
    answers: { 200: { description: "The summary.", schema: lagSummary } },
    handle: async ({ client, context, base, path: { cluster_id, consumer_group_id: id } }) => {
      const found = await lagsOf(client, id);
      if (found.length === 0) throw new ProblemError(404, `Group ${id} has no offsets`);
      return json(context, lagSummaryData(new Links(base, cluster_id), id, found));
    },
  }),
];

const consumers: readonly Operation[] = [
  operation({
    method: "get",
    path: `${GROUP}/consumers`,
    id: "listKafkaV3Consumers",
    tag,
    summary: "List the members of a group",
    answers: { 200: { description: "The members.", schema: consumerList } },
    handle: async ({ client, context, base, path: { cluster_id, consumer_group_id: id } }) => {
      const links = new Links(base, cluster_id);
      const { members } = await describeGroup(client, id);
      const data = members.map((member) => consumerData(links, id, member));
      const self = links.to("consumer-groups", id, "consumers");
      return json(context, wholeList("KafkaConsumer", self, data));
    },
  }),
  operation({
    method: "get",
    path: `${GROUP}/consumers/{consumer_id}`,
    id: "getKafkaV3Consumer",
    tag,
    summary: "Get a member of a group",
    answers: { 200: { description: "The member.", schema: consumer } },
    handle: async ({ client, context, base, path }) => {
      const { cluster_id, consumer_group_id: id, consumer_id } = path;
      const member = memberOf(await describeGroup(client, id), consumer_id);
      return json(context, consumerData(new Links(base, cluster_id), id, member));
    },
  }),
  operation({
    method: "get",
    path: `${GROUP}/consumers/{consumer_id}/assignments`,
    id: "listKafkaV3ConsumerAssignment",
    tag,
    summary: "List the partitions of a member",
    answers: { 200: { description: "The partitions.", schema: assignmentList } },
    handle: async ({ client, context, base, path }) => {
      const { cluster_id, consumer_group_id: id, consumer_id } = path;
      const links = new Links(base, cluster_id);
      const member = memberOf(await describeGroup(client, id), consumer_id);
      const self = links.to("consumer-groups", id, "consumers", consumer_id, "assignments");
      const data = assignmentsData(links, id, member);
      return json(context, wholeList("KafkaConsumerAssignment", self, data));
    },
  }),
  operation({
    method: "get",
    path: `${GROUP}/consumers/{consumer_id}/assignments/{topic_name}/partitions/{partition_id}`,
    id: "getKafkaV3ConsumerAssignment",
    tag,
    summary: "Get a partition of a member",
    answers: { 200: { description: "The partition.", schema: assignment } },
    handle: async ({ client, context, base, path }) => {
      const { cluster_id, consumer_group_id: id, consumer_id, topic_name, partition_id } = path;
      const member = memberOf(await describeGroup(client, id), consumer_id);
      const found = assignmentsData(new Links(base, cluster_id), id, member).find((it) =>
        it.topic_name === topic_name && it.partition_id === partition_id
      );
      if (found !== undefined) return json(context, found);
      const place = `partition ${partition_id} of ${topic_name}`;
      throw new ProblemError(404, `Consumer ${consumer_id.slice(0, 200)} does not have ${place}`);
    },
  }),
];

/** The operations. */
export const groupOperations: readonly Operation[] = [...groupsThemselves, ...lags, ...consumers];
