/**
 * What the differential test asks of both brokers about the cluster itself: leaders, where partitions lie,
 * features and brokers, as far as a single node can answer.
 *
 * Every story is played at all versions at once on one broker, so none of them changes what another sees.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  addRaftVoterRequest,
  addRaftVoterResponse,
} from "../../protocol/schemas/add_raft_voter.ts";
import {
  describeQuorumRequest,
  describeQuorumResponse,
} from "../../protocol/schemas/describe_quorum.ts";
import {
  removeRaftVoterRequest,
  removeRaftVoterResponse,
} from "../../protocol/schemas/remove_raft_voter.ts";
import { alterConfigsRequest, alterConfigsResponse } from "../../protocol/schemas/alter_configs.ts";
import {
  alterPartitionReassignmentsRequest,
  alterPartitionReassignmentsResponse,
} from "../../protocol/schemas/alter_partition_reassignments.ts";
import { electLeadersRequest, electLeadersResponse } from "../../protocol/schemas/elect_leaders.ts";
import {
  incrementalAlterConfigsRequest,
  incrementalAlterConfigsResponse,
} from "../../protocol/schemas/incremental_alter_configs.ts";
import {
  listPartitionReassignmentsRequest,
  listPartitionReassignmentsResponse,
} from "../../protocol/schemas/list_partition_reassignments.ts";
import {
  unregisterBrokerRequest,
  unregisterBrokerResponse,
} from "../../protocol/schemas/unregister_broker.ts";
import {
  updateFeaturesRequest,
  updateFeaturesResponse,
} from "../../protocol/schemas/update_features.ts";
import {
  makeTopic,
  type State,
  type Step,
  step,
  type Story,
  topicOf,
  UNKNOWN_ID,
} from "./differential_steps.ts";

type Elected = Encodable<typeof electLeadersRequest>["topicPartitions"];

function elect(
  title: string,
  topicPartitions: (topic: string) => Elected,
  electionType = 0,
): Step {
  return step(
    title,
    electLeadersRequest,
    electLeadersResponse,
    (state, version) =>
      version === 0 && electionType !== 0 ? null : {
        electionType,
        topicPartitions: topicPartitions(topicOf(state)),
        timeoutMs: 10_000,
      },
    {
      pick: ({ errorCode, replicaElectionResults }, state) => ({
        errorCode,
        results: replicaElectionResults.map(({ topic, partitionResult }) => ({
          topic: topic === topicOf(state) ? "ours" : topic,
          partitionResult,
        })),
      }),
    },
  );
}

function reassign(
  title: string,
  replicas: readonly number[] | null,
  { partition = 0, topic, allowReplicationFactorChange = true }: {
    readonly partition?: number;
    readonly topic?: string;
    readonly allowReplicationFactorChange?: boolean;
  } = {},
): Step {
  return step(
    title,
    alterPartitionReassignmentsRequest,
    alterPartitionReassignmentsResponse,
    (state, version) =>
      version === 0 && !allowReplicationFactorChange ? null : {
        timeoutMs: 10_000,
        allowReplicationFactorChange,
        topics: [{
          name: topic ?? topicOf(state),
          partitions: [{ partitionIndex: partition, replicas }],
        }],
      },
    {
      pick: ({ responses, ...answer }) => ({
        ...answer,
        responses: responses.map(({ partitions }) => partitions),
      }),
    },
  );
}

function ongoing(title: string, topics: (state: State) => [string, number[]][] | null): Step {
  return step(
    title,
    listPartitionReassignmentsRequest,
    listPartitionReassignmentsResponse,
    (state) => ({
      timeoutMs: 10_000,
      topics: topics(state)?.map(([name, partitionIndexes]) => ({ name, partitionIndexes })) ??
        null,
    }),
  );
}

function update(
  title: string,
  updates: readonly (readonly [feature: string, level: number, upgradeType?: number])[],
): Step {
  return step(title, updateFeaturesRequest, updateFeaturesResponse, (_, version) =>
    // The first version can neither ask without doing it nor name a type.
    version === 0 ? null : {
      timeoutMs: 10_000,
      featureUpdates: updates.map(([feature, maxVersionLevel, upgradeType = 1]) => (
        { feature, maxVersionLevel, allowDowngrade: false, upgradeType }
      )),
      validateOnly: true,
    });
}

const ELR = "eligible.leader.replicas.version";

/** Settings of brokers on which eligible leader replicas rest, in ways that are refused. */
const minIsr = (name: string, configOperation: number, value: string | null) =>
  step(
    `min.insync.replicas of broker "${name}", operation ${configOperation}`,
    incrementalAlterConfigsRequest,
    incrementalAlterConfigsResponse,
    () => ({
      resources: [{
        resourceType: 4,
        resourceName: name,
        configs: [{ name: "min.insync.replicas", configOperation, value }],
      }],
      validateOnly: true,
    }),
  );

/** By API; each is played once for every version that both serve. */
export const clusterStories: readonly Story[] = [
  ["elects leaders", ApiKey.ElectLeaders, [
    ...makeTopic({}, 2),
    elect("the preferred one, who leads already", (topic) => [{ topic, partitions: [0, 1] }]),
    elect("the same twice", (topic) => [{ topic, partitions: [0, 0] }]),
    elect("of an unknown partition", (topic) => [{ topic, partitions: [0, 9] }]),
    elect("of an unknown topic", () => [{ topic: "diff-missing", partitions: [0] }]),
    elect("of no partition", (topic) => [{ topic, partitions: [] }]),
    elect("of nothing", () => []),
    elect("at any price", (topic) => [{ topic, partitions: [0, 1] }], 1),
    elect("of an unknown kind", (topic) => [{ topic, partitions: [0, 1] }], 7),
    step(
      "of all partitions",
      electLeadersRequest,
      electLeadersResponse,
      () => ({ electionType: 0, topicPartitions: null, timeoutMs: 10_000 }),
      {
        pick: ({ errorCode, replicaElectionResults }) => ({
          errorCode,
          results: replicaElectionResults.flatMap(({ partitionResult }) => partitionResult),
        }),
      },
    ),
  ]],
  ["moves partitions, and refuses to", ApiKey.AlterPartitionReassignments, [
    ...makeTopic({}, 2),
    reassign("to where it is", [1]),
    reassign("to nobody", []),
    reassign("to an unknown broker", [1, 9]),
    reassign("to one broker twice", [1, 1]),
    reassign("of an unknown partition", [1], { partition: 7 }),
    reassign("of an unknown topic", [1], { topic: "diff-missing" }),
    reassign("to as many replicas, and no more", [1], { allowReplicationFactorChange: false }),
    reassign("back, without a move", null),
    ongoing("none is under way", (state) => [[topicOf(state), [0, 1]]]),
  ]],
  ["lists moves", ApiKey.ListPartitionReassignments, [
    ...makeTopic({}, 1),
    ongoing("of all topics", () => null),
    ongoing("of one", (state) => [[topicOf(state), [0, 9]]]),
    ongoing("of an unknown topic", () => [["diff-missing", [0]]]),
    ongoing("of no topic", () => []),
  ]],
  ["moves levels of features, without doing it", ApiKey.UpdateFeatures, [
    update("none", []),
    update("an unknown one", [["no.such.feature", 1]]),
    update("an unknown one, off", [["no.such.feature", 0]]),
    update("to the level that it has", [[ELR, 1]]),
    update("above what is supported", [[ELR, 99]]),
    update("below nothing", [[ELR, -1]]),
    update("down, as an upgrade", [[ELR, 0]]),
    update("down", [[ELR, 0, 2]]),
    update("down, whatever is lost", [[ELR, 0, 3]]),
    update("to the same, as a downgrade", [[ELR, 1, 2]]),
    update("of an unknown kind", [[ELR, 1, 0]]),
    update("of a kind that is not there", [[ELR, 1, 9]]),
    update("metadata.version far up", [["metadata.version", 999]]),
    update("metadata.version to nothing", [["metadata.version", 0, 2]]),
    update("metadata.version below nothing", [["metadata.version", -3, 2]]),
    update("one that can and one that cannot", [[ELR, 1], ["no.such.feature", 1]]),
    update("two that can", [[ELR, 1], ["metadata.version", 30]]),
  ], 1],
  ["moves levels of features as the first version does", ApiKey.UpdateFeatures, [
    ...([[ELR, 99, false], [ELR, 0, false], ["no.such.feature", 1, true]] as const).map((
      [feature, maxVersionLevel, allowDowngrade],
    ) =>
      step(
        `${feature} to ${maxVersionLevel}`,
        updateFeaturesRequest,
        updateFeaturesResponse,
        (_, version) =>
          version > 0 ? null : {
            timeoutMs: 10_000,
            featureUpdates: [{ feature, maxVersionLevel, allowDowngrade }],
          },
      )
    ),
    // A story has to say something at every version.
    update("nothing at all", []),
  ]],
  ["takes no broker out that is not there", ApiKey.UnregisterBroker, [
    ...[9, -1].map((brokerId) =>
      step(
        `broker ${brokerId}`,
        unregisterBrokerRequest,
        unregisterBrokerResponse,
        () => ({ brokerId }),
      )
    ),
  ]],
  ["describes the quorum", ApiKey.DescribeQuorum, [
    ...([["__cluster_metadata", 0], ["__cluster_metadata", 3], ["diff-missing", 0]] as const).map((
      [topicName, partitionIndex],
    ) =>
      step(
        `${topicName}-${partitionIndex}`,
        describeQuorumRequest,
        describeQuorumResponse,
        () => ({ topics: [{ topicName, partitions: [{ partitionIndex }] }] }),
        {
          // How far each has got is its own.
          pick: ({ topics, errorCode }) => ({
            errorCode,
            topics: topics.map(({ partitions }) =>
              partitions.map(({ errorCode: error, leaderId, currentVoters, observers }) => ({
                error,
                leads: currentVoters.some(({ replicaId }) => replicaId === leaderId),
                voters: currentVoters.length,
                observers: observers.length,
              }))
            ),
          }),
        },
      )
    ),
    step("nothing", describeQuorumRequest, describeQuorumResponse, () => ({ topics: [] }), {
      pick: ({ errorCode }) => errorCode,
    }),
  ]],
  ["adds no voter of another cluster", ApiKey.AddRaftVoter, [
    step("another cluster", addRaftVoterRequest, addRaftVoterResponse, () => ({
      clusterId: UNKNOWN_ID,
      timeoutMs: 1000,
      voterId: 7,
      voterDirectoryId: UNKNOWN_ID,
      listeners: [{ name: "CONTROLLER", host: "127.0.0.1", port: 1 }],
    })),
  ]],
  ["removes no voter of another cluster", ApiKey.RemoveRaftVoter, [
    step("another cluster", removeRaftVoterRequest, removeRaftVoterResponse, () => ({
      clusterId: UNKNOWN_ID,
      voterId: 7,
      voterDirectoryId: UNKNOWN_ID,
    })),
  ]],
  ["keeps the minimum that eligible leaders rest on", ApiKey.IncrementalAlterConfigs, [
    minIsr("", 1, null),
    minIsr("", 0, "2"),
    minIsr("1", 0, "2"),
    minIsr("1", 1, null),
  ]],
  ["keeps the minimum that eligible leaders rest on, too", ApiKey.AlterConfigs, [
    ...[["", "log.retention.ms"], ["", "min.insync.replicas"], ["1", "min.insync.replicas"]]
      .map(([resourceName, name]) =>
        step(`${resourceName} ${name}`, alterConfigsRequest, alterConfigsResponse, () => ({
          resources: [{
            resourceType: 4,
            resourceName: resourceName!,
            configs: [{ name: name!, value: "2000000" }],
          }],
          validateOnly: true,
        }))
      ),
  ]],
];
