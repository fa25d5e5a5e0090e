/**
 * The id of the cluster at the first start of a node, without anybody having formatted its directories.
 *
 *     weir.cluster.id                     as it says
 *     a directory has one                 that one
 *     controller.quorum.voters            made of that list: every node of the cluster finds the same
 *     controller.quorum.bootstrap.servers the controllers are asked, unless this node begins the cluster
 *     none of these                       drawn
 *
 * Once it stands in a directory it never changes, and a node with another id is refused by whomever it asks.
 * `docs/decisions/0025` says why.
 */

import { formatUuid } from "../protocol/bytes.ts";
import { ApiKey } from "../protocol/api_keys.ts";
import {
  describeClusterRequest,
  describeClusterResponse,
} from "../protocol/schemas/describe_cluster.ts";
import { clusterIdOf } from "../storage/directory_meta.ts";
import type { Clock, Disk, Logger } from "../storage/platform.ts";
import { HASH_WORDS, SipHash } from "../storage/sip_hash.ts";
import type { Config } from "./config/config.ts";
import { formatAddress } from "./config/listeners.ts";
import { beginsCluster, type StaticVoter } from "./config/roles.ts";
import { NetworkError } from "./network.ts";
import { call } from "./peers/call.ts";
import type { Peers } from "./peers/peers.ts";

const DESCRIBE_CLUSTER = call(
  ApiKey.DescribeCluster,
  describeClusterRequest,
  describeClusterResponse,
  { lowest: 1 },
);
const CONTROLLER_ENDPOINTS = 2;
const ASK_TIMEOUT_MS = 2_000;
const ASK_AGAIN_MS = 500;
/** Time between two log lines while no controller answers. */
const TELL_MS = 10_000;
/** Wherever it is made, the same list gives the same id. */
const SEED = new Uint32Array(HASH_WORDS);

/** What the id is found with. */
export interface ClusterIdOptions {
  readonly config: Config;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly peers: Peers;
  readonly signal?: AbortSignal;
}

/**
 * Finds the id that new directories get.
 * Returns: null where the directories know it, or one is to be drawn. Errors: NetworkError when it was aborted.
 */
export async function agreedClusterId(options: ClusterIdOptions): Promise<string | null> {
  const { config, disk } = options;
  const given = config.string("weir.cluster.id");
  if (given !== null) return given;
  const paths = [...config.logDirectories(), config.string("metadata.log.dir")];
  if (paths.some((path) => path !== null && clusterIdOf(disk, path) !== null)) return null;
  const settings = config.roleSettings();
  if (settings.voters.length > 0) return clusterIdOfVoters(settings.voters);
  if (settings.roles.isAlone || beginsCluster(settings)) return null;
  return await askForClusterId(options);
}

/** The id of a cluster whose controllers are these. The order makes no difference. */
export function clusterIdOfVoters(voters: readonly StaticVoter[]): string {
  const text = voters
    .toSorted((a, b) => a.id - b.id)
    .map((voter) => `${voter.id}@${formatAddress(voter)}`)
    .join(",");
  const bytes = new TextEncoder().encode(text);
  const hash = new SipHash(SEED);
  hash.hash(bytes, 0, bytes.length);
  const id = new Uint8Array(4 * HASH_WORDS);
  const view = new DataView(id.buffer);
  view.setInt32(0, hash.word0);
  view.setInt32(4, hash.word1);
  view.setInt32(8, hash.word2);
  view.setInt32(12, hash.word3);
  // A name that begins with "-" would be taken for an option by tools.
  id[0]! &= 0x7f;
  return formatUuid(id);
}

/** Asks the bootstrap servers in turn, until one answers. */
async function askForClusterId(options: ClusterIdOptions): Promise<string> {
  const { config, clock, logger, signal } = options;
  const servers = config.roleSettings().bootstrapServers;
  let toldMs = -Infinity;
  while (signal?.aborted !== true) {
    for (const server of servers) {
      const found = await ask(options.peers, server);
      if (found !== null) return found;
    }
    if (clock.monotonicMs() - toldMs >= TELL_MS) {
      toldMs = clock.monotonicMs();
      logger.warn(
        "Waiting for a controller to tell the id of the cluster; a new cluster needs " +
          "controller.quorum.voters, or one node whose only bootstrap server is itself",
        { servers: servers.map(formatAddress) },
      );
    }
    await clock.sleep(ASK_AGAIN_MS, signal);
  }
  throw new NetworkError(
    "The start was given up: no controller has told the id of the cluster",
    "",
  );
}

async function ask(peers: Peers, server: { host: string; port: number }): Promise<string | null> {
  const body = {
    includeClusterAuthorizedOperations: false,
    endpointType: CONTROLLER_ENDPOINTS,
    includeFencedBrokers: false,
  };
  try {
    const answer = await peers.send(server, DESCRIBE_CLUSTER, body, { timeoutMs: ASK_TIMEOUT_MS });
    return answer.clusterId === "" ? null : answer.clusterId;
  } catch (failure) {
    if (failure instanceof NetworkError) return null;
    throw failure;
  }
}
