/** Every API that is served. ApiVersions answers from this list, and the compatibility page is made from it. */

import type { Clock } from "../../storage/platform.ts";
import type { Config } from "../config/config.ts";
import type { Controller } from "../controller/controller.ts";
import type { ControllerChannel } from "../controller/controller_channel.ts";
import { KRAFT_VERSION_FEATURE, SUPPORTED_FEATURES } from "../controller/feature_changes.ts";
import type { ProducerIdManager } from "../controller/producer_id_manager.ts";
import type { BrokerLifecycle } from "../broker_lifecycle.ts";
import type { RemoteController } from "../controller/remote_controller.ts";
import type { QuorumSubsystems } from "../controller/quorum_answers.ts";
import { MAX_KRAFT_VERSION } from "../controller/raft.ts";
import type { GroupCoordinator } from "../groups/coordinator.ts";
import type { BrokerChannel } from "../peers/broker_channel.ts";
import type { FetchSessions } from "../partitions/fetch_session.ts";
import type { ReplicaManager } from "../partitions/replica_manager.ts";
import type { Cleaner } from "../../storage/cleaner.ts";
import type { ProducerTable } from "../../storage/producer_table.ts";
import type { TransactionCoordinator } from "../transactions/coordinator.ts";
import type { TransactionVerifier } from "../transactions/verifier.ts";
import { addOffsetsToTxnApi } from "./add_offsets_to_txn.ts";
import { addPartitionsToTxnApi } from "./add_partitions_to_txn.ts";
import { addRaftVoterApi } from "./add_raft_voter.ts";
import { allocateProducerIdsApi } from "./allocate_producer_ids.ts";
import { alterConfigsApi } from "./alter_configs.ts";
import { alterPartitionApi } from "./alter_partition.ts";
import { alterPartitionReassignmentsApi } from "./alter_partition_reassignments.ts";
import { alterReplicaLogDirsApi } from "./alter_replica_log_dirs.ts";
import type { Api } from "./api.ts";
import { apiVersionsApi, type FeatureView } from "./api_versions.ts";
import { assignReplicasToDirsApi } from "./assign_replicas_to_dirs.ts";
import { beginQuorumEpochApi } from "./begin_quorum_epoch.ts";
import { brokerHeartbeatApi } from "./broker_heartbeat.ts";
import { brokerRegistrationApi } from "./broker_registration.ts";
import { consumerGroupDescribeApi } from "./consumer_group_describe.ts";
import { consumerGroupHeartbeatApi } from "./consumer_group_heartbeat.ts";
import { controllerRegistrationApi } from "./controller_registration.ts";
import { createPartitionsApi } from "./create_partitions.ts";
import { createTopicsApi } from "./create_topics.ts";
import { deleteGroupsApi } from "./delete_groups.ts";
import { deleteRecordsApi } from "./delete_records.ts";
import { deleteTopicsApi } from "./delete_topics.ts";
import { describeClusterApi } from "./describe_cluster.ts";
import { describeConfigsApi } from "./describe_configs.ts";
import { describeGroupsApi } from "./describe_groups.ts";
import { describeLogDirsApi } from "./describe_log_dirs.ts";
import { describeProducersApi } from "./describe_producers.ts";
import { describeQuorumApi } from "./describe_quorum.ts";
import { describeTransactionsApi } from "./describe_transactions.ts";
import { describeTopicPartitionsApi } from "./describe_topic_partitions.ts";
import { electLeadersApi } from "./elect_leaders.ts";
import { endQuorumEpochApi } from "./end_quorum_epoch.ts";
import { endTxnApi } from "./end_txn.ts";
import { envelopeApi } from "./envelope.ts";
import { fetchApi } from "./fetch.ts";
import { fetchSnapshotApi } from "./fetch_snapshot.ts";
import { findCoordinatorApi } from "./find_coordinator.ts";
import { heartbeatApi } from "./heartbeat.ts";
import { incrementalAlterConfigsApi } from "./incremental_alter_configs.ts";
import { initProducerIdApi } from "./init_producer_id.ts";
import { joinGroupApi } from "./join_group.ts";
import { leaveGroupApi } from "./leave_group.ts";
import { listConfigResourcesApi } from "./list_config_resources.ts";
import { listGroupsApi } from "./list_groups.ts";
import { listOffsetsApi } from "./list_offsets.ts";
import { listPartitionReassignmentsApi } from "./list_partition_reassignments.ts";
import { listTransactionsApi } from "./list_transactions.ts";
import { metadataApi } from "./metadata.ts";
import { offsetCommitApi } from "./offset_commit.ts";
import { offsetDeleteApi } from "./offset_delete.ts";
import { offsetFetchApi } from "./offset_fetch.ts";
import { offsetForLeaderEpochApi } from "./offset_for_leader_epoch.ts";
import { produceApi } from "./produce.ts";
import { quorumFetchApi } from "./quorum_fetch.ts";
import { removeRaftVoterApi } from "./remove_raft_voter.ts";
import { syncGroupApi } from "./sync_group.ts";
import { txnOffsetCommitApi } from "./txn_offset_commit.ts";
import { unregisterBrokerApi } from "./unregister_broker.ts";
import { updateFeaturesApi } from "./update_features.ts";
import { updateRaftVoterApi } from "./update_raft_voter.ts";
import { voteApi } from "./vote.ts";
import { writeTxnMarkersApi } from "./write_txn_markers.ts";

/** What the handlers need; `broker.ts` makes it. */
export interface Subsystems {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly clock: Clock;
  readonly config: Config;
  readonly controller: Controller;
  readonly controllerChannel: ControllerChannel;
  readonly remoteController: RemoteController;
  readonly lifecycle: BrokerLifecycle;
  readonly groupCoordinator: GroupCoordinator;
  readonly producerIds: ProducerIdManager;
  readonly producerTable: ProducerTable;
  readonly cleaner: Cleaner;
  readonly replicaManager: ReplicaManager;
  readonly fetchSessions: FetchSessions;
  readonly brokerChannel: BrokerChannel;
  readonly transactionCoordinator: TransactionCoordinator;
  readonly transactionVerifier: TransactionVerifier;
  /** Resolves when the partitions of these topics that this node holds can be used, or will not be. */
  readonly topicsReady: (names: readonly string[]) => Promise<unknown>;
}

/** Makes the handlers, one of each. */
export function apis(subsystems: Subsystems): Api[] {
  const list: Api[] = [
    apiVersionsApi({ ...subsystems, features: () => features(subsystems), served: () => list }),
    // Topics, settings, the cluster.
    metadataApi({ ...subsystems, topicMaker: subsystems.remoteController }),
    createTopicsApi(subsystems),
    deleteTopicsApi(subsystems),
    createPartitionsApi(subsystems),
    describeTopicPartitionsApi(subsystems),
    describeClusterApi(subsystems),
    describeConfigsApi(subsystems),
    alterConfigsApi(subsystems),
    incrementalAlterConfigsApi(subsystems),
    listConfigResourcesApi(subsystems),
    electLeadersApi(subsystems),
    alterPartitionReassignmentsApi(subsystems),
    listPartitionReassignmentsApi(subsystems),
    updateFeaturesApi(subsystems),
    unregisterBrokerApi(subsystems),
    describeQuorumApi(subsystems),
    addRaftVoterApi(subsystems),
    removeRaftVoterApi(subsystems),
    // Records.
    produceApi(subsystems),
    fetchApi({
      ...subsystems,
      fetchMaxBytes: () => subsystems.config.number("fetch.max.bytes"),
      replicaSelector: () => subsystems.config.string("replica.selector.class"),
    }),
    listOffsetsApi(subsystems),
    offsetForLeaderEpochApi(subsystems),
    deleteRecordsApi(subsystems),
    initProducerIdApi(subsystems),
    describeProducersApi(subsystems),
    writeTxnMarkersApi(subsystems),
    describeLogDirsApi(subsystems),
    alterReplicaLogDirsApi(subsystems),
    // Transactions.
    addPartitionsToTxnApi(subsystems),
    addOffsetsToTxnApi(subsystems),
    endTxnApi(subsystems),
    describeTransactionsApi(subsystems),
    listTransactionsApi(subsystems),
    // Groups.
    findCoordinatorApi(subsystems),
    joinGroupApi(subsystems),
    syncGroupApi(subsystems),
    heartbeatApi(subsystems),
    leaveGroupApi(subsystems),
    offsetCommitApi(subsystems),
    txnOffsetCommitApi(subsystems),
    offsetFetchApi(subsystems),
    offsetDeleteApi(subsystems),
    consumerGroupHeartbeatApi(subsystems),
    consumerGroupDescribeApi(subsystems),
    describeGroupsApi(subsystems),
    listGroupsApi(subsystems),
    deleteGroupsApi(subsystems),
  ];
  return list;
}

/** What the handlers of a controller's listener need. */
export interface ControllerSubsystems {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly config: Config;
  readonly controller: Controller;
}

/** Makes the handlers of what is asked of a controller, by other nodes and by tools. */
export function controllerApis(subsystems: ControllerSubsystems): Api[] {
  // The partitions of a topic that was made here come up on other nodes.
  const withTopics = { ...subsystems, topicsReady: () => Promise.resolve() };
  const served = () => list;
  const list: Api[] = [
    apiVersionsApi({ ...subsystems, features: () => features(subsystems), served }),
    envelopeApi({ ...subsystems, served }),
    // Of other nodes.
    brokerRegistrationApi(subsystems),
    brokerHeartbeatApi(subsystems),
    controllerRegistrationApi(subsystems),
    alterPartitionApi(subsystems),
    allocateProducerIdsApi(subsystems),
    assignReplicasToDirsApi(subsystems),
    // Of tools, and of clients by way of their broker.
    describeClusterApi({ ...subsystems, endpoint: "controller" }),
    createTopicsApi(withTopics),
    deleteTopicsApi(subsystems),
    createPartitionsApi(withTopics),
    describeConfigsApi(subsystems),
    alterConfigsApi(subsystems),
    incrementalAlterConfigsApi(subsystems),
    electLeadersApi(subsystems),
    alterPartitionReassignmentsApi(subsystems),
    listPartitionReassignmentsApi(subsystems),
    updateFeaturesApi(subsystems),
    unregisterBrokerApi(subsystems),
    ...quorumApis(subsystems),
  ];
  return list;
}

/** The handlers of what replicas of the metadata log say to each other, and are asked of the quorum. */
export function quorumApis(subsystems: QuorumSubsystems): Api[] {
  return [
    voteApi(subsystems),
    beginQuorumEpochApi(subsystems),
    endQuorumEpochApi(subsystems),
    quorumFetchApi(subsystems),
    fetchSnapshotApi(subsystems),
    describeQuorumApi(subsystems),
    addRaftVoterApi(subsystems),
    removeRaftVoterApi(subsystems),
    updateRaftVoterApi(subsystems),
  ];
}

function features({ controller }: ControllerSubsystems): FeatureView {
  const image = controller.image();
  const { kraftVersion } = controller.quorum;
  return {
    epoch: image.offset,
    finalized: kraftVersion === 0
      ? image.features
      : new Map([...image.features, [KRAFT_VERSION_FEATURE, kraftVersion]]),
    supported: new Map([
      ...SUPPORTED_FEATURES,
      // Of the quorum, and in no record of the image.
      [KRAFT_VERSION_FEATURE, { lowest: 0, highest: MAX_KRAFT_VERSION }],
    ]),
  };
}
