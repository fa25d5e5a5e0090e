/** What brokers and operators ask of the active controller, at every version, as it comes over the wire. */

import { beforeEach, expect, test } from "bun:test";
import { SUPPORTED_FEATURES } from "../../../broker/controller/feature_changes.ts";
import type { Api } from "../../../broker/apis/api.ts";
import { allocateProducerIdsApi } from "../../../broker/apis/allocate_producer_ids.ts";
import { alterPartitionApi } from "../../../broker/apis/alter_partition.ts";
import { alterPartitionReassignmentsApi } from "../../../broker/apis/alter_partition_reassignments.ts";
import { assignReplicasToDirsApi } from "../../../broker/apis/assign_replicas_to_dirs.ts";
import { brokerHeartbeatApi } from "../../../broker/apis/broker_heartbeat.ts";
import { brokerRegistrationApi } from "../../../broker/apis/broker_registration.ts";
import { electLeadersApi } from "../../../broker/apis/elect_leaders.ts";
import { listPartitionReassignmentsApi } from "../../../broker/apis/list_partition_reassignments.ts";
import { unregisterBrokerApi } from "../../../broker/apis/unregister_broker.ts";
import { updateFeaturesApi } from "../../../broker/apis/update_features.ts";
import { errorName } from "../../../protocol/errors.ts";
import * as allocate from "../../../protocol/schemas/allocate_producer_ids.ts";
import * as alter from "../../../protocol/schemas/alter_partition.ts";
import * as reassign from "../../../protocol/schemas/alter_partition_reassignments.ts";
import * as assign from "../../../protocol/schemas/assign_replicas_to_dirs.ts";
import * as heartbeat from "../../../protocol/schemas/broker_heartbeat.ts";
import * as registration from "../../../protocol/schemas/broker_registration.ts";
import * as elect from "../../../protocol/schemas/elect_leaders.ts";
import * as list from "../../../protocol/schemas/list_partition_reassignments.ts";
import * as unregister from "../../../protocol/schemas/unregister_broker.ts";
import * as features from "../../../protocol/schemas/update_features.ts";
import { ClusterHarness, uuid } from "../controller/cluster_harness.ts";
import { CLUSTER_ID } from "../controller/harness.ts";
import { ask } from "./admin_harness.ts";

let cluster: ClusterHarness;
beforeEach(async () => {
  cluster = await ClusterHarness.start();
});

const versionsOf = ({ versions: { lowest, highest } }: Api) =>
  Array.from({ length: highest - lowest + 1 }, (_, i) => lowest + i);
const epochOf = (id: number) => ({ brokerId: id, brokerEpoch: cluster.epochs.get(id)! });

test("brokerRegistrationApi: a broker without directories is refused, whatever its version", async () => {
  const api = brokerRegistrationApi(cluster);
  for (const version of versionsOf(api)) {
    const answer = await ask(
      api,
      [registration.brokerRegistrationRequest, registration.brokerRegistrationResponse],
      version,
      {
        brokerId: 10 + version,
        clusterId: CLUSTER_ID,
        incarnationId: uuid("inc", version),
        listeners: [{ name: "PLAINTEXT", host: "h", port: 9092, securityProtocol: 0 }],
        features: [...SUPPORTED_FEATURES.keys()].map((name) => (
          { name, minSupportedVersion: version < 4 ? 1 : 0, maxSupportedVersion: 30 }
        )),
        rack: "r",
        logDirs: version < 2 ? [] : [uuid("dir", 10 + version)],
      },
    );
    const error = version < 2 ? "INVALID_REGISTRATION" : "NONE";
    expect([version, errorName(answer.errorCode)]).toEqual([version, error]);
    if (version < 2) continue;
    expect(cluster.image.brokers.get(10 + version)).toMatchObject({
      epoch: answer.brokerEpoch,
      rack: "r",
      fenced: true,
    });
  }
});

test("brokerHeartbeatApi: tells where the broker stands", async () => {
  const api = brokerHeartbeatApi(cluster);
  const pair = [heartbeat.brokerHeartbeatRequest, heartbeat.brokerHeartbeatResponse] as const;
  for (const version of versionsOf(api)) {
    const beat = (more: object) =>
      ask(api, pair, version, {
        ...epochOf(2),
        currentMetadataOffset: cluster.image.offset,
        wantFence: false,
        wantShutDown: false,
        ...more,
      });
    const up = { errorCode: 0, isCaughtUp: true, isFenced: false, shouldShutDown: false };
    expect(await beat({})).toMatchObject(up);
    expect(await beat({ wantFence: true })).toMatchObject({ ...up, isFenced: true });
    expect(await beat({ currentMetadataOffset: 0 })).toMatchObject({
      ...up,
      isCaughtUp: false,
      isFenced: true,
    });
    expect(errorName((await beat({ brokerEpoch: 1 })).errorCode)).toBe("STALE_BROKER_EPOCH");
    expect(await beat({})).toMatchObject(up);
  }
});

test("alterPartitionApi: answers with the state, or with an error in its place", async () => {
  await cluster.makeTopic("t", [[1, 2, 3]]);
  const api = alterPartitionApi(cluster);
  const pair = [alter.alterPartitionRequest, alter.alterPartitionResponse] as const;
  const topicId = cluster.image.topicByName("t")!.id;
  for (const version of versionsOf(api)) {
    const { leaderEpoch, partitionEpoch } = cluster.partition("t");
    const ids = version === 2 ? [1, 2] : [1, 3];
    const state = {
      leaderEpoch,
      leaderRecoveryState: 0,
      partitionEpoch,
      ...(version < 3 ? { newIsr: ids } : { newIsrWithEpochs: ids.map(epochOf) }),
    };
    const answer = await ask(api, pair, version, {
      ...epochOf(1),
      topics: [
        { topicId: uuid("nil", 1), partitions: [{ partitionIndex: 4, ...state }] },
        { topicId, partitions: [{ partitionIndex: 0, ...state }] },
      ],
    });
    expect(answer.errorCode).toBe(0);
    expect(answer.topics.map((topic) => topic.topicId)).toEqual([uuid("nil", 1), topicId]);
    const [unknown, done] = answer.topics.map(({ partitions }) => partitions[0]!);
    expect([unknown!.partitionIndex, errorName(unknown!.errorCode)]).toEqual([
      4,
      "UNKNOWN_TOPIC_ID",
    ]);
    expect(done).toMatchObject({
      partitionIndex: 0,
      errorCode: 0,
      leaderId: 1,
      leaderEpoch,
      isr: ids,
      partitionEpoch: partitionEpoch + 1,
    });
    const stale = await ask(api, pair, version, { brokerId: 1, brokerEpoch: 0, topics: [] });
    expect(errorName(stale.errorCode)).toBe("STALE_BROKER_EPOCH");
  }
});

test("allocateProducerIdsApi: blocks follow each other, for brokers that are registered", async () => {
  const api = allocateProducerIdsApi(cluster);
  const pair = [allocate.allocateProducerIdsRequest, allocate.allocateProducerIdsResponse] as const;
  const first = await ask(api, pair, 0, epochOf(1));
  const second = await ask(api, pair, 0, epochOf(2));
  expect([first.errorCode, first.producerIdStart, first.producerIdLen]).toEqual([0, 0, 1000]);
  expect([second.producerIdStart, second.producerIdLen]).toEqual([1000, 1000]);
  const stale = await ask(api, pair, 0, { brokerId: 1, brokerEpoch: 0 });
  expect([errorName(stale.errorCode), stale.producerIdLen]).toEqual(["STALE_BROKER_EPOCH", 0]);
});

test("assignReplicasToDirsApi: answers in the order of the request", async () => {
  await cluster.makeTopic("t", [[1, 2], [1, 3]]);
  const api = assignReplicasToDirsApi(cluster);
  const pair = [assign.assignReplicasToDirsRequest, assign.assignReplicasToDirsResponse] as const;
  const topicId = cluster.image.topicByName("t")!.id;
  const partitions = [1, 0, 7].map((partitionIndex) => ({ partitionIndex }));
  const request = {
    ...epochOf(2),
    directories: [{ id: uuid("dir", 2), topics: [{ topicId, partitions }] }],
  };
  const answer = await ask(api, pair, 0, request);
  const results = answer.directories[0]!.topics[0]!.partitions;
  expect(results.map(({ partitionIndex, errorCode }) => [partitionIndex, errorName(errorCode)]))
    .toEqual([
      [1, "NOT_LEADER_OR_FOLLOWER"],
      [0, "NONE"],
      [7, "UNKNOWN_TOPIC_OR_PARTITION"],
    ]);
  expect(cluster.partition("t").directories[1]).toBe(uuid("dir", 2));
  const stale = await ask(api, pair, 0, { ...request, brokerEpoch: 1 });
  expect(errorName(stale.errorCode)).toBe("STALE_BROKER_EPOCH");
});

test("electLeadersApi: the first version asks for preferred leaders", async () => {
  await cluster.makeTopic("t", [[1, 2]]);
  const api = electLeadersApi(cluster);
  const pair = [elect.electLeadersRequest, elect.electLeadersResponse] as const;
  for (const version of versionsOf(api)) {
    await cluster.silence(1);
    await cluster.join(1);
    await cluster.alter("t", [2, 1]);
    const about = (electionType: number) =>
      ask(api, pair, version, {
        electionType,
        topicPartitions: [{ topic: "t", partitions: [0, 5] }],
      });
    const answer = await about(0);
    expect(
      answer.replicaElectionResults[0]!.partitionResult.map(({ errorCode }) =>
        errorName(errorCode)
      ),
    ).toEqual(["NONE", "UNKNOWN_TOPIC_OR_PARTITION"]);
    expect(cluster.partition("t").leader).toBe(1);
    if (version > 0) expect(errorName((await about(9)).errorCode)).toBe("INVALID_REQUEST");
  }
});

test("a move is begun, listed and taken back", async () => {
  await cluster.makeTopic("t", [[1, 2]]);
  const api = alterPartitionReassignmentsApi(cluster);
  const listApi = listPartitionReassignmentsApi(cluster);
  const pair = [
    reassign.alterPartitionReassignmentsRequest,
    reassign.alterPartitionReassignmentsResponse,
  ] as const;
  const listPair = [
    list.listPartitionReassignmentsRequest,
    list.listPartitionReassignmentsResponse,
  ] as const;
  for (const version of versionsOf(api)) {
    const move = async (replicas: number[] | null) => {
      const answer = await ask(api, pair, version, {
        topics: [{ name: "t", partitions: [{ partitionIndex: 0, replicas }] }],
      });
      return errorName(answer.responses[0]!.partitions[0]!.errorCode);
    };
    expect(await move([1, 3])).toBe("NONE");
    for (const topics of [null, [{ name: "t", partitionIndexes: [0, 1] }]]) {
      expect((await ask(listApi, listPair, 0, { topics })).topics).toEqual([{
        name: "t",
        partitions: [{
          partitionIndex: 0,
          replicas: [1, 3, 2],
          addingReplicas: [3],
          removingReplicas: [2],
        }],
      }]);
    }
    expect(await move(null)).toBe("NONE");
    expect((await ask(listApi, listPair, 0, { topics: null })).topics).toEqual([]);
    expect(await move(null)).toBe("NO_REASSIGNMENT_IN_PROGRESS");
  }
});

test("updateFeaturesApi: moves a level, as each version says it", async () => {
  const api = updateFeaturesApi(cluster);
  const pair = [features.updateFeaturesRequest, features.updateFeaturesResponse] as const;
  const feature = "eligible.leader.replicas.version";
  for (const version of versionsOf(api)) {
    const update = (maxVersionLevel: number, upgradeType: number, validateOnly = false) =>
      ask(api, pair, version, {
        featureUpdates: [{
          feature,
          maxVersionLevel,
          allowDowngrade: version === 0 && upgradeType !== 1,
          ...(version > 0 && { upgradeType }),
        }],
        ...(version > 0 && { validateOnly }),
      });
    const level = () => cluster.image.features.get(feature) ?? 0;
    expect(errorName((await update(0, 1)).errorCode)).toBe("INVALID_UPDATE_VERSION");
    if (version > 0) expect((await update(0, 2, true)).errorCode).toBe(0);
    expect(level()).toBe(1);
    expect((await update(0, 2)).errorCode).toBe(0);
    expect(level()).toBe(0);
    expect((await update(1, 1)).errorCode).toBe(0);
    expect(level()).toBe(1);
  }
});

test("unregisterBrokerApi: takes a broker out, once", async () => {
  const api = unregisterBrokerApi(cluster);
  const pair = [unregister.unregisterBrokerRequest, unregister.unregisterBrokerResponse] as const;
  expect((await ask(api, pair, 0, { brokerId: 3 })).errorCode).toBe(0);
  const again = await ask(api, pair, 0, { brokerId: 3 });
  expect(errorName(again.errorCode)).toBe("BROKER_ID_NOT_REGISTERED");
});
