/**
 * The requests that the client makes, and the versions at which it can make them.
 *
 * Produce, Fetch, OffsetCommit and OffsetFetch stop below the version that names topics by id: the client
 * addresses topics by name throughout.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import {
  addRaftVoterRequest,
  addRaftVoterResponse,
} from "../../protocol/schemas/add_raft_voter.ts";
import {
  alterPartitionReassignmentsRequest,
  alterPartitionReassignmentsResponse,
} from "../../protocol/schemas/alter_partition_reassignments.ts";
import {
  consumerGroupDescribeRequest,
  consumerGroupDescribeResponse,
} from "../../protocol/schemas/consumer_group_describe.ts";
import {
  createPartitionsRequest,
  createPartitionsResponse,
} from "../../protocol/schemas/create_partitions.ts";
import { createTopicsRequest, createTopicsResponse } from "../../protocol/schemas/create_topics.ts";
import { deleteGroupsRequest, deleteGroupsResponse } from "../../protocol/schemas/delete_groups.ts";
import {
  deleteRecordsRequest,
  deleteRecordsResponse,
} from "../../protocol/schemas/delete_records.ts";
import { deleteTopicsRequest, deleteTopicsResponse } from "../../protocol/schemas/delete_topics.ts";
import {
  describeClusterRequest,
  describeClusterResponse,
} from "../../protocol/schemas/describe_cluster.ts";
import {
  describeConfigsRequest,
  describeConfigsResponse,
} from "../../protocol/schemas/describe_configs.ts";
import {
  describeGroupsRequest,
  describeGroupsResponse,
} from "../../protocol/schemas/describe_groups.ts";
import {
  describeLogDirsRequest,
  describeLogDirsResponse,
} from "../../protocol/schemas/describe_log_dirs.ts";
import {
  describeProducersRequest,
  describeProducersResponse,
} from "../../protocol/schemas/describe_producers.ts";
import {
  describeQuorumRequest,
  describeQuorumResponse,
} from "../../protocol/schemas/describe_quorum.ts";
import {
  describeTopicPartitionsRequest,
  describeTopicPartitionsResponse,
} from "../../protocol/schemas/describe_topic_partitions.ts";
import {
  describeTransactionsRequest,
  describeTransactionsResponse,
} from "../../protocol/schemas/describe_transactions.ts";
import { electLeadersRequest, electLeadersResponse } from "../../protocol/schemas/elect_leaders.ts";
import { fetchRequest, fetchResponse } from "../../protocol/schemas/fetch.ts";
import {
  findCoordinatorRequest,
  findCoordinatorResponse,
} from "../../protocol/schemas/find_coordinator.ts";
import { heartbeatRequest, heartbeatResponse } from "../../protocol/schemas/heartbeat.ts";
import {
  incrementalAlterConfigsRequest,
  incrementalAlterConfigsResponse,
} from "../../protocol/schemas/incremental_alter_configs.ts";
import {
  initProducerIdRequest,
  initProducerIdResponse,
} from "../../protocol/schemas/init_producer_id.ts";
import { joinGroupRequest, joinGroupResponse } from "../../protocol/schemas/join_group.ts";
import { leaveGroupRequest, leaveGroupResponse } from "../../protocol/schemas/leave_group.ts";
import { listGroupsRequest, listGroupsResponse } from "../../protocol/schemas/list_groups.ts";
import { listOffsetsRequest, listOffsetsResponse } from "../../protocol/schemas/list_offsets.ts";
import {
  listPartitionReassignmentsRequest,
  listPartitionReassignmentsResponse,
} from "../../protocol/schemas/list_partition_reassignments.ts";
import {
  listTransactionsRequest,
  listTransactionsResponse,
} from "../../protocol/schemas/list_transactions.ts";
import { metadataRequest, metadataResponse } from "../../protocol/schemas/metadata.ts";
import { offsetCommitRequest, offsetCommitResponse } from "../../protocol/schemas/offset_commit.ts";
import { offsetFetchRequest, offsetFetchResponse } from "../../protocol/schemas/offset_fetch.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import {
  removeRaftVoterRequest,
  removeRaftVoterResponse,
} from "../../protocol/schemas/remove_raft_voter.ts";
import { syncGroupRequest, syncGroupResponse } from "../../protocol/schemas/sync_group.ts";
import {
  writeTxnMarkersRequest,
  writeTxnMarkersResponse,
} from "../../protocol/schemas/write_txn_markers.ts";
import { apiVersionsCall } from "../peers/broker_connection.ts";
import { call } from "../peers/call.ts";

/** Every call of the client. */
export const Calls = {
  addRaftVoter: call(ApiKey.AddRaftVoter, addRaftVoterRequest, addRaftVoterResponse),
  alterPartitionReassignments: call(
    ApiKey.AlterPartitionReassignments,
    alterPartitionReassignmentsRequest,
    alterPartitionReassignmentsResponse,
  ),
  apiVersions: apiVersionsCall,
  consumerGroupDescribe: call(
    ApiKey.ConsumerGroupDescribe,
    consumerGroupDescribeRequest,
    consumerGroupDescribeResponse,
  ),
  createPartitions: call(
    ApiKey.CreatePartitions,
    createPartitionsRequest,
    createPartitionsResponse,
  ),
  createTopics: call(ApiKey.CreateTopics, createTopicsRequest, createTopicsResponse),
  deleteGroups: call(ApiKey.DeleteGroups, deleteGroupsRequest, deleteGroupsResponse),
  deleteRecords: call(ApiKey.DeleteRecords, deleteRecordsRequest, deleteRecordsResponse),
  deleteTopics: call(ApiKey.DeleteTopics, deleteTopicsRequest, deleteTopicsResponse, {
    highest: 5,
  }),
  describeCluster: call(ApiKey.DescribeCluster, describeClusterRequest, describeClusterResponse),
  describeConfigs: call(ApiKey.DescribeConfigs, describeConfigsRequest, describeConfigsResponse),
  describeGroups: call(ApiKey.DescribeGroups, describeGroupsRequest, describeGroupsResponse),
  describeLogDirs: call(ApiKey.DescribeLogDirs, describeLogDirsRequest, describeLogDirsResponse),
  describeProducers: call(
    ApiKey.DescribeProducers,
    describeProducersRequest,
    describeProducersResponse,
  ),
  describeQuorum: call(ApiKey.DescribeQuorum, describeQuorumRequest, describeQuorumResponse),
  describeTopicPartitions: call(
    ApiKey.DescribeTopicPartitions,
    describeTopicPartitionsRequest,
    describeTopicPartitionsResponse,
  ),
  describeTransactions: call(
    ApiKey.DescribeTransactions,
    describeTransactionsRequest,
    describeTransactionsResponse,
  ),
  electLeaders: call(ApiKey.ElectLeaders, electLeadersRequest, electLeadersResponse, { lowest: 1 }),
  fetch: call(ApiKey.Fetch, fetchRequest, fetchResponse, { highest: 12 }),
  findCoordinator: call(ApiKey.FindCoordinator, findCoordinatorRequest, findCoordinatorResponse, {
    lowest: 4,
    highest: 5,
  }),
  heartbeat: call(ApiKey.Heartbeat, heartbeatRequest, heartbeatResponse),
  incrementalAlterConfigs: call(
    ApiKey.IncrementalAlterConfigs,
    incrementalAlterConfigsRequest,
    incrementalAlterConfigsResponse,
  ),
  initProducerId: call(ApiKey.InitProducerId, initProducerIdRequest, initProducerIdResponse, {
    highest: 5,
  }),
  joinGroup: call(ApiKey.JoinGroup, joinGroupRequest, joinGroupResponse, { lowest: 5 }),
  leaveGroup: call(ApiKey.LeaveGroup, leaveGroupRequest, leaveGroupResponse, { lowest: 3 }),
  listGroups: call(ApiKey.ListGroups, listGroupsRequest, listGroupsResponse, { lowest: 4 }),
  listOffsets: call(ApiKey.ListOffsets, listOffsetsRequest, listOffsetsResponse, { lowest: 2 }),
  listPartitionReassignments: call(
    ApiKey.ListPartitionReassignments,
    listPartitionReassignmentsRequest,
    listPartitionReassignmentsResponse,
  ),
  listTransactions: call(
    ApiKey.ListTransactions,
    listTransactionsRequest,
    listTransactionsResponse,
  ),
  metadata: call(ApiKey.Metadata, metadataRequest, metadataResponse, { lowest: 4 }),
  offsetCommit: call(ApiKey.OffsetCommit, offsetCommitRequest, offsetCommitResponse, {
    highest: 9,
  }),
  offsetFetch: call(ApiKey.OffsetFetch, offsetFetchRequest, offsetFetchResponse, {
    lowest: 8,
    highest: 9,
  }),
  produce: call(ApiKey.Produce, produceRequest, produceResponse, { highest: 12 }),
  removeRaftVoter: call(ApiKey.RemoveRaftVoter, removeRaftVoterRequest, removeRaftVoterResponse),
  syncGroup: call(ApiKey.SyncGroup, syncGroupRequest, syncGroupResponse, { lowest: 3 }),
  writeTxnMarkers: call(ApiKey.WriteTxnMarkers, writeTxnMarkersRequest, writeTxnMarkersResponse),
} as const;
