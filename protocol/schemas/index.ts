/**
 * Every message that this project knows, by Kafka's name, and the requests and answers by API key.
 *
 * For the request header, the tests and the scripts; code that handles one API imports its file.
 */

import type { Message } from "../schema.ts";
import { produceRequest, produceResponse } from "./produce.ts";
import { fetchRequest, fetchResponse } from "./fetch.ts";
import { listOffsetsRequest, listOffsetsResponse } from "./list_offsets.ts";
import { metadataRequest, metadataResponse } from "./metadata.ts";
import { offsetCommitRequest, offsetCommitResponse } from "./offset_commit.ts";
import { offsetFetchRequest, offsetFetchResponse } from "./offset_fetch.ts";
import { findCoordinatorRequest, findCoordinatorResponse } from "./find_coordinator.ts";
import { joinGroupRequest, joinGroupResponse } from "./join_group.ts";
import { heartbeatRequest, heartbeatResponse } from "./heartbeat.ts";
import { leaveGroupRequest, leaveGroupResponse } from "./leave_group.ts";
import { syncGroupRequest, syncGroupResponse } from "./sync_group.ts";
import { describeGroupsRequest, describeGroupsResponse } from "./describe_groups.ts";
import { listGroupsRequest, listGroupsResponse } from "./list_groups.ts";
import { saslHandshakeRequest, saslHandshakeResponse } from "./sasl_handshake.ts";
import { apiVersionsRequest, apiVersionsResponse } from "./api_versions.ts";
import { createTopicsRequest, createTopicsResponse } from "./create_topics.ts";
import { deleteTopicsRequest, deleteTopicsResponse } from "./delete_topics.ts";
import { deleteRecordsRequest, deleteRecordsResponse } from "./delete_records.ts";
import { initProducerIdRequest, initProducerIdResponse } from "./init_producer_id.ts";
import {
  offsetForLeaderEpochRequest,
  offsetForLeaderEpochResponse,
} from "./offset_for_leader_epoch.ts";
import { addPartitionsToTxnRequest, addPartitionsToTxnResponse } from "./add_partitions_to_txn.ts";
import { addOffsetsToTxnRequest, addOffsetsToTxnResponse } from "./add_offsets_to_txn.ts";
import { endTxnRequest, endTxnResponse } from "./end_txn.ts";
import { writeTxnMarkersRequest, writeTxnMarkersResponse } from "./write_txn_markers.ts";
import { txnOffsetCommitRequest, txnOffsetCommitResponse } from "./txn_offset_commit.ts";
import { describeAclsRequest, describeAclsResponse } from "./describe_acls.ts";
import { createAclsRequest, createAclsResponse } from "./create_acls.ts";
import { deleteAclsRequest, deleteAclsResponse } from "./delete_acls.ts";
import { describeConfigsRequest, describeConfigsResponse } from "./describe_configs.ts";
import { alterConfigsRequest, alterConfigsResponse } from "./alter_configs.ts";
import {
  alterReplicaLogDirsRequest,
  alterReplicaLogDirsResponse,
} from "./alter_replica_log_dirs.ts";
import { describeLogDirsRequest, describeLogDirsResponse } from "./describe_log_dirs.ts";
import { saslAuthenticateRequest, saslAuthenticateResponse } from "./sasl_authenticate.ts";
import { createPartitionsRequest, createPartitionsResponse } from "./create_partitions.ts";
import {
  createDelegationTokenRequest,
  createDelegationTokenResponse,
} from "./create_delegation_token.ts";
import {
  renewDelegationTokenRequest,
  renewDelegationTokenResponse,
} from "./renew_delegation_token.ts";
import {
  expireDelegationTokenRequest,
  expireDelegationTokenResponse,
} from "./expire_delegation_token.ts";
import {
  describeDelegationTokenRequest,
  describeDelegationTokenResponse,
} from "./describe_delegation_token.ts";
import { deleteGroupsRequest, deleteGroupsResponse } from "./delete_groups.ts";
import { electLeadersRequest, electLeadersResponse } from "./elect_leaders.ts";
import {
  incrementalAlterConfigsRequest,
  incrementalAlterConfigsResponse,
} from "./incremental_alter_configs.ts";
import {
  alterPartitionReassignmentsRequest,
  alterPartitionReassignmentsResponse,
} from "./alter_partition_reassignments.ts";
import {
  listPartitionReassignmentsRequest,
  listPartitionReassignmentsResponse,
} from "./list_partition_reassignments.ts";
import { offsetDeleteRequest, offsetDeleteResponse } from "./offset_delete.ts";
import {
  describeClientQuotasRequest,
  describeClientQuotasResponse,
} from "./describe_client_quotas.ts";
import { alterClientQuotasRequest, alterClientQuotasResponse } from "./alter_client_quotas.ts";
import {
  describeUserScramCredentialsRequest,
  describeUserScramCredentialsResponse,
} from "./describe_user_scram_credentials.ts";
import {
  alterUserScramCredentialsRequest,
  alterUserScramCredentialsResponse,
} from "./alter_user_scram_credentials.ts";
import { voteRequest, voteResponse } from "./vote.ts";
import { beginQuorumEpochRequest, beginQuorumEpochResponse } from "./begin_quorum_epoch.ts";
import { endQuorumEpochRequest, endQuorumEpochResponse } from "./end_quorum_epoch.ts";
import { describeQuorumRequest, describeQuorumResponse } from "./describe_quorum.ts";
import { alterPartitionRequest, alterPartitionResponse } from "./alter_partition.ts";
import { updateFeaturesRequest, updateFeaturesResponse } from "./update_features.ts";
import { envelopeRequest, envelopeResponse } from "./envelope.ts";
import { fetchSnapshotRequest, fetchSnapshotResponse } from "./fetch_snapshot.ts";
import { describeClusterRequest, describeClusterResponse } from "./describe_cluster.ts";
import { describeProducersRequest, describeProducersResponse } from "./describe_producers.ts";
import { brokerRegistrationRequest, brokerRegistrationResponse } from "./broker_registration.ts";
import { brokerHeartbeatRequest, brokerHeartbeatResponse } from "./broker_heartbeat.ts";
import { unregisterBrokerRequest, unregisterBrokerResponse } from "./unregister_broker.ts";
import {
  describeTransactionsRequest,
  describeTransactionsResponse,
} from "./describe_transactions.ts";
import { listTransactionsRequest, listTransactionsResponse } from "./list_transactions.ts";
import {
  allocateProducerIdsRequest,
  allocateProducerIdsResponse,
} from "./allocate_producer_ids.ts";
import {
  consumerGroupHeartbeatRequest,
  consumerGroupHeartbeatResponse,
} from "./consumer_group_heartbeat.ts";
import {
  consumerGroupDescribeRequest,
  consumerGroupDescribeResponse,
} from "./consumer_group_describe.ts";
import {
  controllerRegistrationRequest,
  controllerRegistrationResponse,
} from "./controller_registration.ts";
import {
  getTelemetrySubscriptionsRequest,
  getTelemetrySubscriptionsResponse,
} from "./get_telemetry_subscriptions.ts";
import { pushTelemetryRequest, pushTelemetryResponse } from "./push_telemetry.ts";
import {
  assignReplicasToDirsRequest,
  assignReplicasToDirsResponse,
} from "./assign_replicas_to_dirs.ts";
import {
  listConfigResourcesRequest,
  listConfigResourcesResponse,
} from "./list_config_resources.ts";
import {
  describeTopicPartitionsRequest,
  describeTopicPartitionsResponse,
} from "./describe_topic_partitions.ts";
import {
  shareGroupHeartbeatRequest,
  shareGroupHeartbeatResponse,
} from "./share_group_heartbeat.ts";
import { shareGroupDescribeRequest, shareGroupDescribeResponse } from "./share_group_describe.ts";
import { shareFetchRequest, shareFetchResponse } from "./share_fetch.ts";
import { shareAcknowledgeRequest, shareAcknowledgeResponse } from "./share_acknowledge.ts";
import { addRaftVoterRequest, addRaftVoterResponse } from "./add_raft_voter.ts";
import { removeRaftVoterRequest, removeRaftVoterResponse } from "./remove_raft_voter.ts";
import { updateRaftVoterRequest, updateRaftVoterResponse } from "./update_raft_voter.ts";
import {
  initializeShareGroupStateRequest,
  initializeShareGroupStateResponse,
} from "./initialize_share_group_state.ts";
import {
  readShareGroupStateRequest,
  readShareGroupStateResponse,
} from "./read_share_group_state.ts";
import {
  writeShareGroupStateRequest,
  writeShareGroupStateResponse,
} from "./write_share_group_state.ts";
import {
  deleteShareGroupStateRequest,
  deleteShareGroupStateResponse,
} from "./delete_share_group_state.ts";
import {
  readShareGroupStateSummaryRequest,
  readShareGroupStateSummaryResponse,
} from "./read_share_group_state_summary.ts";
import {
  streamsGroupHeartbeatRequest,
  streamsGroupHeartbeatResponse,
} from "./streams_group_heartbeat.ts";
import {
  streamsGroupDescribeRequest,
  streamsGroupDescribeResponse,
} from "./streams_group_describe.ts";
import {
  describeShareGroupOffsetsRequest,
  describeShareGroupOffsetsResponse,
} from "./describe_share_group_offsets.ts";
import {
  alterShareGroupOffsetsRequest,
  alterShareGroupOffsetsResponse,
} from "./alter_share_group_offsets.ts";
import {
  deleteShareGroupOffsetsRequest,
  deleteShareGroupOffsetsResponse,
} from "./delete_share_group_offsets.ts";
import {
  streamsGroupTopologyDescriptionUpdateRequest,
  streamsGroupTopologyDescriptionUpdateResponse,
} from "./streams_group_topology_description_update.ts";
import {
  unregisterControllerRequest,
  unregisterControllerResponse,
} from "./unregister_controller.ts";
import { requestHeader, responseHeader } from "./header.ts";
import { controlRecordTypeSchema, endTxnMarker } from "./records/control.ts";
import {
  consumerProtocolAssignment,
  consumerProtocolSubscription,
} from "./records/consumer_protocol.ts";
import { defaultPrincipalData } from "./records/principal.ts";
import {
  kraftVersionRecord,
  leaderChangeMessage,
  quorumStateData,
  snapshotFooterRecord,
  snapshotHeaderRecord,
  votersRecord,
} from "./records/raft.ts";
import { producerSnapshot } from "./records/producer_snapshot.ts";
import { abortedTxn, transactionLogKey, transactionLogValue } from "./records/transaction.ts";
import {
  consumerGroupCurrentMemberAssignmentKey,
  consumerGroupCurrentMemberAssignmentValue,
  consumerGroupMemberMetadataKey,
  consumerGroupMemberMetadataValue,
  consumerGroupMetadataKey,
  consumerGroupMetadataValue,
  consumerGroupPartitionMetadataKey,
  consumerGroupPartitionMetadataValue,
  consumerGroupRegularExpressionKey,
  consumerGroupRegularExpressionValue,
  consumerGroupTargetAssignmentMemberKey,
  consumerGroupTargetAssignmentMemberValue,
  consumerGroupTargetAssignmentMetadataKey,
  consumerGroupTargetAssignmentMetadataValue,
  groupMetadataKey,
  groupMetadataValue,
  legacyOffsetCommitKey,
  legacyOffsetCommitValue,
  offsetCommitKey,
  offsetCommitValue,
} from "./records/group.ts";
import {
  shareGroupCurrentMemberAssignmentKey,
  shareGroupCurrentMemberAssignmentValue,
  shareGroupMemberMetadataKey,
  shareGroupMemberMetadataValue,
  shareGroupMetadataKey,
  shareGroupMetadataValue,
  shareGroupStatePartitionMetadataKey,
  shareGroupStatePartitionMetadataValue,
  shareGroupTargetAssignmentMemberKey,
  shareGroupTargetAssignmentMemberValue,
  shareGroupTargetAssignmentMetadataKey,
  shareGroupTargetAssignmentMetadataValue,
  shareSnapshotKey,
  shareSnapshotValue,
  shareUpdateKey,
  shareUpdateValue,
} from "./records/share.ts";
import {
  streamsGroupCurrentMemberAssignmentKey,
  streamsGroupCurrentMemberAssignmentValue,
  streamsGroupMemberMetadataKey,
  streamsGroupMemberMetadataValue,
  streamsGroupMetadataKey,
  streamsGroupMetadataValue,
  streamsGroupTargetAssignmentMemberKey,
  streamsGroupTargetAssignmentMemberValue,
  streamsGroupTargetAssignmentMetadataKey,
  streamsGroupTargetAssignmentMetadataValue,
  streamsGroupTopologyKey,
  streamsGroupTopologyValue,
} from "./records/streams.ts";
import {
  abortTransactionRecord,
  accessControlEntryRecord,
  beginTransactionRecord,
  brokerRegistrationChangeRecord,
  clearElrRecord,
  clientQuotaRecord,
  configRecord,
  delegationTokenRecord,
  endTransactionRecord,
  featureLevelRecord,
  fenceBrokerRecord,
  noOpRecord,
  partitionChangeRecord,
  partitionRecord,
  producerIdsRecord,
  registerBrokerRecord,
  registerControllerRecord,
  removeAccessControlEntryRecord,
  removeDelegationTokenRecord,
  removeTopicRecord,
  removeUserScramCredentialRecord,
  topicRecord,
  unfenceBrokerRecord,
  unregisterBrokerRecord,
  unregisterControllerRecord,
  userScramCredentialRecord,
  zkMigrationStateRecord,
} from "./records/metadata.ts";
import {
  remoteLogSegmentMetadataRecord,
  remoteLogSegmentMetadataSnapshotRecord,
  remoteLogSegmentMetadataUpdateRecord,
  remotePartitionDeleteMetadataRecord,
} from "./records/remote_log.ts";

/** All messages: requests and answers in the order of their keys, then what is stored. */
export const messages: readonly Message[] = [
  produceRequest,
  produceResponse,
  fetchRequest,
  fetchResponse,
  listOffsetsRequest,
  listOffsetsResponse,
  metadataRequest,
  metadataResponse,
  offsetCommitRequest,
  offsetCommitResponse,
  offsetFetchRequest,
  offsetFetchResponse,
  findCoordinatorRequest,
  findCoordinatorResponse,
  joinGroupRequest,
  joinGroupResponse,
  heartbeatRequest,
  heartbeatResponse,
  leaveGroupRequest,
  leaveGroupResponse,
  syncGroupRequest,
  syncGroupResponse,
  describeGroupsRequest,
  describeGroupsResponse,
  listGroupsRequest,
  listGroupsResponse,
  saslHandshakeRequest,
  saslHandshakeResponse,
  apiVersionsRequest,
  apiVersionsResponse,
  createTopicsRequest,
  createTopicsResponse,
  deleteTopicsRequest,
  deleteTopicsResponse,
  deleteRecordsRequest,
  deleteRecordsResponse,
  initProducerIdRequest,
  initProducerIdResponse,
  offsetForLeaderEpochRequest,
  offsetForLeaderEpochResponse,
  addPartitionsToTxnRequest,
  addPartitionsToTxnResponse,
  addOffsetsToTxnRequest,
  addOffsetsToTxnResponse,
  endTxnRequest,
  endTxnResponse,
  writeTxnMarkersRequest,
  writeTxnMarkersResponse,
  txnOffsetCommitRequest,
  txnOffsetCommitResponse,
  describeAclsRequest,
  describeAclsResponse,
  createAclsRequest,
  createAclsResponse,
  deleteAclsRequest,
  deleteAclsResponse,
  describeConfigsRequest,
  describeConfigsResponse,
  alterConfigsRequest,
  alterConfigsResponse,
  alterReplicaLogDirsRequest,
  alterReplicaLogDirsResponse,
  describeLogDirsRequest,
  describeLogDirsResponse,
  saslAuthenticateRequest,
  saslAuthenticateResponse,
  createPartitionsRequest,
  createPartitionsResponse,
  createDelegationTokenRequest,
  createDelegationTokenResponse,
  renewDelegationTokenRequest,
  renewDelegationTokenResponse,
  expireDelegationTokenRequest,
  expireDelegationTokenResponse,
  describeDelegationTokenRequest,
  describeDelegationTokenResponse,
  deleteGroupsRequest,
  deleteGroupsResponse,
  electLeadersRequest,
  electLeadersResponse,
  incrementalAlterConfigsRequest,
  incrementalAlterConfigsResponse,
  alterPartitionReassignmentsRequest,
  alterPartitionReassignmentsResponse,
  listPartitionReassignmentsRequest,
  listPartitionReassignmentsResponse,
  offsetDeleteRequest,
  offsetDeleteResponse,
  describeClientQuotasRequest,
  describeClientQuotasResponse,
  alterClientQuotasRequest,
  alterClientQuotasResponse,
  describeUserScramCredentialsRequest,
  describeUserScramCredentialsResponse,
  alterUserScramCredentialsRequest,
  alterUserScramCredentialsResponse,
  voteRequest,
  voteResponse,
  beginQuorumEpochRequest,
  beginQuorumEpochResponse,
  endQuorumEpochRequest,
  endQuorumEpochResponse,
  describeQuorumRequest,
  describeQuorumResponse,
  alterPartitionRequest,
  alterPartitionResponse,
  updateFeaturesRequest,
  updateFeaturesResponse,
  envelopeRequest,
  envelopeResponse,
  fetchSnapshotRequest,
  fetchSnapshotResponse,
  describeClusterRequest,
  describeClusterResponse,
  describeProducersRequest,
  describeProducersResponse,
  brokerRegistrationRequest,
  brokerRegistrationResponse,
  brokerHeartbeatRequest,
  brokerHeartbeatResponse,
  unregisterBrokerRequest,
  unregisterBrokerResponse,
  describeTransactionsRequest,
  describeTransactionsResponse,
  listTransactionsRequest,
  listTransactionsResponse,
  allocateProducerIdsRequest,
  allocateProducerIdsResponse,
  consumerGroupHeartbeatRequest,
  consumerGroupHeartbeatResponse,
  consumerGroupDescribeRequest,
  consumerGroupDescribeResponse,
  controllerRegistrationRequest,
  controllerRegistrationResponse,
  getTelemetrySubscriptionsRequest,
  getTelemetrySubscriptionsResponse,
  pushTelemetryRequest,
  pushTelemetryResponse,
  assignReplicasToDirsRequest,
  assignReplicasToDirsResponse,
  listConfigResourcesRequest,
  listConfigResourcesResponse,
  describeTopicPartitionsRequest,
  describeTopicPartitionsResponse,
  shareGroupHeartbeatRequest,
  shareGroupHeartbeatResponse,
  shareGroupDescribeRequest,
  shareGroupDescribeResponse,
  shareFetchRequest,
  shareFetchResponse,
  shareAcknowledgeRequest,
  shareAcknowledgeResponse,
  addRaftVoterRequest,
  addRaftVoterResponse,
  removeRaftVoterRequest,
  removeRaftVoterResponse,
  updateRaftVoterRequest,
  updateRaftVoterResponse,
  initializeShareGroupStateRequest,
  initializeShareGroupStateResponse,
  readShareGroupStateRequest,
  readShareGroupStateResponse,
  writeShareGroupStateRequest,
  writeShareGroupStateResponse,
  deleteShareGroupStateRequest,
  deleteShareGroupStateResponse,
  readShareGroupStateSummaryRequest,
  readShareGroupStateSummaryResponse,
  streamsGroupHeartbeatRequest,
  streamsGroupHeartbeatResponse,
  streamsGroupDescribeRequest,
  streamsGroupDescribeResponse,
  describeShareGroupOffsetsRequest,
  describeShareGroupOffsetsResponse,
  alterShareGroupOffsetsRequest,
  alterShareGroupOffsetsResponse,
  deleteShareGroupOffsetsRequest,
  deleteShareGroupOffsetsResponse,
  streamsGroupTopologyDescriptionUpdateRequest,
  streamsGroupTopologyDescriptionUpdateResponse,
  unregisterControllerRequest,
  unregisterControllerResponse,
  requestHeader,
  responseHeader,
  controlRecordTypeSchema,
  endTxnMarker,
  consumerProtocolSubscription,
  consumerProtocolAssignment,
  defaultPrincipalData,
  leaderChangeMessage,
  snapshotHeaderRecord,
  snapshotFooterRecord,
  kraftVersionRecord,
  votersRecord,
  quorumStateData,
  producerSnapshot,
  transactionLogKey,
  transactionLogValue,
  abortedTxn,
  legacyOffsetCommitKey,
  legacyOffsetCommitValue,
  offsetCommitKey,
  offsetCommitValue,
  groupMetadataKey,
  groupMetadataValue,
  consumerGroupMetadataKey,
  consumerGroupMetadataValue,
  consumerGroupPartitionMetadataKey,
  consumerGroupPartitionMetadataValue,
  consumerGroupMemberMetadataKey,
  consumerGroupMemberMetadataValue,
  consumerGroupTargetAssignmentMetadataKey,
  consumerGroupTargetAssignmentMetadataValue,
  consumerGroupTargetAssignmentMemberKey,
  consumerGroupTargetAssignmentMemberValue,
  consumerGroupCurrentMemberAssignmentKey,
  consumerGroupCurrentMemberAssignmentValue,
  consumerGroupRegularExpressionKey,
  consumerGroupRegularExpressionValue,
  shareGroupMemberMetadataKey,
  shareGroupMemberMetadataValue,
  shareGroupMetadataKey,
  shareGroupMetadataValue,
  shareGroupTargetAssignmentMetadataKey,
  shareGroupTargetAssignmentMetadataValue,
  shareGroupTargetAssignmentMemberKey,
  shareGroupTargetAssignmentMemberValue,
  shareGroupCurrentMemberAssignmentKey,
  shareGroupCurrentMemberAssignmentValue,
  shareGroupStatePartitionMetadataKey,
  shareGroupStatePartitionMetadataValue,
  shareSnapshotKey,
  shareSnapshotValue,
  shareUpdateKey,
  shareUpdateValue,
  streamsGroupMetadataKey,
  streamsGroupMetadataValue,
  streamsGroupMemberMetadataKey,
  streamsGroupMemberMetadataValue,
  streamsGroupTargetAssignmentMetadataKey,
  streamsGroupTargetAssignmentMetadataValue,
  streamsGroupTargetAssignmentMemberKey,
  streamsGroupTargetAssignmentMemberValue,
  streamsGroupCurrentMemberAssignmentKey,
  streamsGroupCurrentMemberAssignmentValue,
  streamsGroupTopologyKey,
  streamsGroupTopologyValue,
  registerBrokerRecord,
  unregisterBrokerRecord,
  topicRecord,
  partitionRecord,
  configRecord,
  partitionChangeRecord,
  fenceBrokerRecord,
  unfenceBrokerRecord,
  removeTopicRecord,
  delegationTokenRecord,
  userScramCredentialRecord,
  featureLevelRecord,
  clientQuotaRecord,
  producerIdsRecord,
  brokerRegistrationChangeRecord,
  accessControlEntryRecord,
  removeAccessControlEntryRecord,
  noOpRecord,
  zkMigrationStateRecord,
  removeUserScramCredentialRecord,
  beginTransactionRecord,
  endTransactionRecord,
  abortTransactionRecord,
  removeDelegationTokenRecord,
  registerControllerRecord,
  clearElrRecord,
  unregisterControllerRecord,
  remoteLogSegmentMetadataRecord,
  remoteLogSegmentMetadataUpdateRecord,
  remotePartitionDeleteMetadataRecord,
  remoteLogSegmentMetadataSnapshotRecord,
];

/** A message by its name in Kafka, "FetchRequest". */
export const messageByName: ReadonlyMap<string, Message> = new Map(
  messages.map((each) => [each.name, each]),
);

function byApiKey(suffix: "Request" | "Response"): ReadonlyMap<number, Message> {
  const found = messages.filter((each) => each.name.endsWith(suffix));
  return new Map(found.map((each) => [each.apiKey!, each]));
}

/** The request of an API key. */
export const requestByApiKey: ReadonlyMap<number, Message> = byApiKey("Request");
/** The answer of an API key. */
export const responseByApiKey: ReadonlyMap<number, Message> = byApiKey("Response");
