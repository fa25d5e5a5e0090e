/** The controllers that keep the cluster's metadata, as the leader of their quorum tells. */

import { ErrorCode } from "../../protocol/errors.ts";
import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";
import type { DescribeQuorumResponse } from "../../protocol/schemas/describe_quorum.ts";
import type { Uuid } from "../../protocol/types.ts";
import { type Endpoint, NetworkError } from "../network.ts";
import type { Call } from "../peers/call.ts";
import { Calls } from "./calls.ts";
import { ClientError } from "./client_error.ts";
import { type KafkaClient, KafkaError, throwOnError } from "./kafka_client.ts";

const METADATA_TOPIC = "__cluster_metadata";
const CONTROLLER_ENDPOINTS = 2;
const NOT_LED =
  "no controller leads, or it does not answer; a majority of the voters must run and reach each other";

/** DescribeCluster that asks for the controllers, which brokers do not tell. */
export const controllersRequest = {
  includeClusterAuthorizedOperations: false,
  endpointType: CONTROLLER_ENDPOINTS,
  includeFencedBrokers: false,
};

/** A replica of the metadata log. */
export interface QuorumReplica {
  readonly node: number;
  readonly directoryId: Uuid;
  readonly status: "leader" | "follower" | "observer";
  readonly logEndOffset: number;
  /** Records that it does not have yet. */
  readonly lag: number;
  /** How long ago it had all that the leader had; null for never. */
  readonly caughtUpMsAgo: number | null;
  /** Where a voter listens, as NAME://host:port. */
  readonly endpoints: readonly string[];
}

/** An endpoint with the name of its listener. */
export interface NamedEndpoint extends Endpoint {
  readonly name: string;
}

/** The quorum, as its leader tells. */
export interface QuorumView {
  readonly leaderId: number;
  readonly leaderEpoch: number;
  readonly highWatermark: number;
  /** Voters first, the leader before the others. */
  readonly replicas: readonly QuorumReplica[];
  readonly voterEndpoints: ReadonlyMap<number, readonly NamedEndpoint[]>;
}

/** How the quorum stands. Errors: KafkaError, NetworkError; ClientError where nobody leads it. */
export async function describeQuorum(client: KafkaClient): Promise<QuorumView> {
  try {
    return await client.retry(async () => {
      const answer = await askLeader(client, Calls.describeQuorum, {
        topics: [{ topicName: METADATA_TOPIC, partitions: [{ partitionIndex: 0 }] }],
      });
      throwOnError(answer.errorCode, answer.errorMessage);
      return viewOf(answer);
    });
  } catch (error) {
    const isUnled = error instanceof KafkaError && error.code === ErrorCode.NOT_LEADER_OR_FOLLOWER;
    throw isUnled ? new ClientError(NOT_LED, { cause: error }) : error;
  }
}

/** Asks the active controller. Brokers send a request on to the active controller; of a controller one learns where that is. */
export async function askLeader<Q extends Message, A extends Message>(
  client: KafkaClient,
  call: Call<Q, A>,
  body: Encodable<Q>,
): Promise<Decoded<A>> {
  const { errorCode, controllerId, brokers } = await client.ask(
    Calls.describeCluster,
    controllersRequest,
  );
  if (errorCode !== ErrorCode.NONE) return await client.ask(call, body);
  const leader = brokers.find(({ brokerId }) => brokerId === controllerId);
  const answer = leader === undefined ? null : await client.askAt(leader, call, body);
  if (answer !== null) return answer;
  throw new NetworkError(NOT_LED, "");
}

function viewOf({ topics, nodes }: DescribeQuorumResponse): QuorumView {
  const partition = topics[0]?.partitions[0];
  if (partition === undefined) throw new KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  throwOnError(partition.errorCode, partition.errorMessage);
  const { leaderId, leaderEpoch, highWatermark, currentVoters, observers } = partition;
  const leader = currentVoters.find(({ replicaId }) => replicaId === leaderId);
  const voterEndpoints = new Map(nodes.map(({ nodeId, listeners }) => [nodeId, listeners]));
  const replicaOf = (state: typeof currentVoters[number], isVoter: boolean): QuorumReplica => ({
    node: state.replicaId,
    directoryId: state.replicaDirectoryId,
    status: !isVoter ? "observer" : state === leader ? "leader" : "follower",
    logEndOffset: state.logEndOffset,
    lag: Math.max(0, (leader?.logEndOffset ?? highWatermark) - Math.max(0, state.logEndOffset)),
    caughtUpMsAgo: state.lastCaughtUpTimestamp < 0
      ? null
      : Math.max(0, (leader?.lastFetchTimestamp ?? 0) - state.lastCaughtUpTimestamp),
    endpoints: isVoter ? (voterEndpoints.get(state.replicaId) ?? []).map(formatEndpoint) : [],
  });
  const byNode = (a: QuorumReplica, b: QuorumReplica) =>
    Number(b.status === "leader") - Number(a.status === "leader") || a.node - b.node;
  const replicas = [
    ...currentVoters.map((state) => replicaOf(state, true)).sort(byNode),
    ...observers.map((state) => replicaOf(state, false)).sort(byNode),
  ];
  return { leaderId, leaderEpoch, highWatermark, replicas, voterEndpoints };
}

function formatEndpoint({ name, host, port }: NamedEndpoint): string {
  return `${name}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
