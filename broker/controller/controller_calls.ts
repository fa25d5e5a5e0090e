/** The requests that a node makes of the active controller, at all versions that we know. */

import { ApiKey } from "../../protocol/api_keys.ts";
import {
  addRaftVoterRequest,
  addRaftVoterResponse,
} from "../../protocol/schemas/add_raft_voter.ts";
import {
  allocateProducerIdsRequest,
  allocateProducerIdsResponse,
} from "../../protocol/schemas/allocate_producer_ids.ts";
import {
  alterPartitionRequest,
  alterPartitionResponse,
} from "../../protocol/schemas/alter_partition.ts";
import {
  assignReplicasToDirsRequest,
  assignReplicasToDirsResponse,
} from "../../protocol/schemas/assign_replicas_to_dirs.ts";
import {
  brokerHeartbeatRequest,
  brokerHeartbeatResponse,
} from "../../protocol/schemas/broker_heartbeat.ts";
import {
  brokerRegistrationRequest,
  brokerRegistrationResponse,
} from "../../protocol/schemas/broker_registration.ts";
import {
  controllerRegistrationRequest,
  controllerRegistrationResponse,
} from "../../protocol/schemas/controller_registration.ts";
import { createTopicsRequest, createTopicsResponse } from "../../protocol/schemas/create_topics.ts";
import { envelopeRequest, envelopeResponse } from "../../protocol/schemas/envelope.ts";
import {
  removeRaftVoterRequest,
  removeRaftVoterResponse,
} from "../../protocol/schemas/remove_raft_voter.ts";
import { call } from "../peers/call.ts";

/** Every call of a node to its active controller. */
export const ControllerCalls = {
  addRaftVoter: call(ApiKey.AddRaftVoter, addRaftVoterRequest, addRaftVoterResponse),
  allocateProducerIds: call(
    ApiKey.AllocateProducerIds,
    allocateProducerIdsRequest,
    allocateProducerIdsResponse,
  ),
  alterPartition: call(ApiKey.AlterPartition, alterPartitionRequest, alterPartitionResponse),
  assignReplicasToDirs: call(
    ApiKey.AssignReplicasToDirs,
    assignReplicasToDirsRequest,
    assignReplicasToDirsResponse,
  ),
  brokerHeartbeat: call(ApiKey.BrokerHeartbeat, brokerHeartbeatRequest, brokerHeartbeatResponse),
  brokerRegistration: call(
    ApiKey.BrokerRegistration,
    brokerRegistrationRequest,
    brokerRegistrationResponse,
  ),
  controllerRegistration: call(
    ApiKey.ControllerRegistration,
    controllerRegistrationRequest,
    controllerRegistrationResponse,
  ),
  createTopics: call(ApiKey.CreateTopics, createTopicsRequest, createTopicsResponse),
  envelope: call(ApiKey.Envelope, envelopeRequest, envelopeResponse),
  removeRaftVoter: call(ApiKey.RemoveRaftVoter, removeRaftVoterRequest, removeRaftVoterResponse),
} as const;
