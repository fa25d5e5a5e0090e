/** From the settings to a node's part in the quorum: who votes, where the others are, where this node listens. */

import { ErrorCode } from "../protocol/errors.ts";
import { ZERO_UUID } from "../protocol/types.ts";
import type { Config } from "./config/config.ts";
import { beginsCluster, controllerAddress, type RoleSettings } from "./config/roles.ts";
import { PeerTransport } from "./controller/peer_transport.ts";
import { DEFAULT_RAFT_SETTINGS, type QuorumMembership } from "./controller/quorum.ts";
import type { RaftSettings } from "./controller/raft.ts";
import type { Destination } from "./controller/raft_messages.ts";
import { type Voter, type VoterEndpoint, VoterSet } from "./controller/raft_voters.ts";
import type { Peers } from "./peers/peers.ts";

/** Security protocol PLAINTEXT in a node's registration. */
export const PLAINTEXT = 0;

/** A new cluster elects its first leader about as soon as a majority has come up. */
const FIRST_ELECTION_MS = 50;
/** Timeouts of the quorum are no shorter. */
const MIN_TIMEOUT_MS = 10;

/** Returns: null for a node that is alone. */
export function quorumMembership(
  config: Config,
  { peers, clusterId, onOtherCluster }: {
    readonly peers: Peers;
    readonly clusterId: string;
    /** Told of a node that refuses this one, since it belongs to another cluster. */
    readonly onOtherCluster: (node: Destination) => void;
  },
): QuorumMembership | null {
  const roleSettings = config.roleSettings();
  if (roleSettings.roles.isAlone) return null;
  const settings = raftSettings(config);
  const { requestTimeoutMs } = settings;
  const endpoints = controllerEndpoints(config);
  const transport = new PeerTransport({ peers, clusterId, requestTimeoutMs });
  return {
    staticVoters: new VoterSet(staticVoters(roleSettings)),
    // Under the very address that others know, since that is what tells the founder of a quorum.
    bootstrapServers: beginsCluster(roleSettings) ? endpoints : roleSettings.bootstrapServers,
    endpoints,
    settings,
    transport: {
      async send(to, channel, request) {
        const reply = await transport.send(to, channel, request);
        if (reply.error === ErrorCode.INCONSISTENT_CLUSTER_ID) onOtherCluster(to);
        return reply;
      },
    },
  };
}

/**
 * The pace of the quorum. A wait of 0 would keep the event loop busy, and a Fetch that is kept for longer than it is
 * waited for would end every lead.
 */
export function raftSettings(config: Config): RaftSettings {
  const fetchTimeoutMs = Math.max(
    MIN_TIMEOUT_MS,
    config.number("controller.quorum.fetch.timeout.ms"),
  );
  const requestTimeoutMs = Math.max(
    MIN_TIMEOUT_MS,
    config.number("controller.quorum.request.timeout.ms"),
  );
  const fetchMaxWaitMs = Math.min(
    DEFAULT_RAFT_SETTINGS.fetchMaxWaitMs,
    Math.floor(Math.min(fetchTimeoutMs, requestTimeoutMs) / 2),
  );
  return {
    fetchTimeoutMs,
    requestTimeoutMs,
    fetchMaxWaitMs,
    firstElectionMs: FIRST_ELECTION_MS,
    electionTimeoutMs: Math.max(
      MIN_TIMEOUT_MS,
      config.number("controller.quorum.election.timeout.ms"),
    ),
    electionBackoffMaxMs: Math.max(
      MIN_TIMEOUT_MS,
      config.number("controller.quorum.election.backoff.max.ms"),
    ),
    retryBackoffMs: Math.max(1, config.number("controller.quorum.retry.backoff.ms")),
    fetchMaxBytes: config.number("controller.quorum.fetch.max.bytes"),
    fetchSnapshotMaxBytes: config.number("controller.quorum.fetch.snapshot.max.bytes"),
  };
}

/** Where other nodes reach this node's controller; nowhere for a broker alone. */
export function controllerEndpoints(config: Config): VoterEndpoint[] {
  const settings = config.roleSettings();
  const listeners = config.controllerListeners();
  // Those named first come first: nodes use the first one.
  return settings.controllerListenerNames.flatMap((name) => {
    const listener = listeners.find((one) => one.name === name);
    const address = listener === undefined ? null : controllerAddress(listener, settings);
    return address === null ? [] : [{ name, ...address }];
  });
}

function staticVoters({ voters, controllerListenerNames }: RoleSettings): Voter[] {
  const name = controllerListenerNames[0]!;
  return voters.map(({ id, host, port }) => ({
    id,
    directoryId: ZERO_UUID,
    endpoints: [{ name, host, port }],
    minKraftVersion: 0,
    maxKraftVersion: 1,
  }));
}
