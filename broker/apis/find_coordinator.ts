/**
 * FindCoordinator (key 10), versions 0–6: which broker leads a group's partition of `__consumer_offsets`, or that of a
 * transactional id of `__transaction_state`.
 *
 * - v1: key types (KIP-98), throttle time. v3: flexible. v4: many keys at once (KIP-699).
 * - v5: TRANSACTION_ABORTABLE (KIP-890). v6: share groups' keys (KIP-932).
 *
 * The topic is made on first use and is in the answer that made it; Kafka answers
 * COORDINATOR_NOT_AVAILABLE once and lets the client ask again.
 *
 * Gaps: share groups have no coordinator yet, INVALID_REQUEST, which is what Kafka answers while they are switched off.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  findCoordinatorRequest,
  findCoordinatorResponse,
} from "../../protocol/schemas/find_coordinator.ts";
import { reachableBrokers } from "../controller/cluster_view.ts";
import type { Controller } from "../controller/controller.ts";
import type { GroupCoordinator } from "../groups/coordinator.ts";
import type { TransactionCoordinator } from "../transactions/coordinator.ts";
import { type Api, defineApi, type RequestContext } from "./api.ts";

/** The first version with many keys. */
const BATCH_VERSION = 4;
const KeyType = { group: 0, transaction: 1, share: 2 } as const;

interface Subsystems {
  readonly controller: Controller;
  readonly groupCoordinator: GroupCoordinator;
  readonly transactionCoordinator: Pick<TransactionCoordinator, "find">;
  readonly nodeId: number;
}

interface Found {
  readonly key: string;
  readonly errorCode: ErrorCode;
  readonly errorMessage: string | null;
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
}

/** Answers FindCoordinator. */
export function findCoordinatorApi(subsystems: Subsystems): Api {
  return defineApi({
    key: ApiKey.FindCoordinator,
    request: findCoordinatorRequest,
    response: findCoordinatorResponse,
    versions: { lowest: 0, highest: 6 },
    async handle({ key, keyType, coordinatorKeys }, context) {
      const isBatch = context.apiVersion >= BATCH_VERSION;
      const keys = isBatch ? coordinatorKeys : [key];
      const coordinators = await Promise.all(
        keys.map((one) => find(subsystems, one, keyType, context)),
      );
      const nobody = notFound("", ErrorCode.INVALID_REQUEST, null);
      const { errorCode, errorMessage, nodeId, host, port } = coordinators[0] ?? nobody;
      return isBatch
        ? { ...unused, coordinators }
        : { ...unused, errorCode, errorMessage, nodeId, host, port };
    },
  });
}

/** Fields of the versions that are not asked for. */
const unused = {
  throttleTimeMs: 0,
  errorCode: ErrorCode.NONE,
  errorMessage: null,
  nodeId: 0,
  host: "",
  port: 0,
  coordinators: [],
};

async function find(
  { controller, groupCoordinator, transactionCoordinator, nodeId }: Subsystems,
  key: string,
  keyType: number,
  { connection }: RequestContext,
): Promise<Found> {
  if (keyType !== KeyType.group && keyType !== KeyType.transaction) {
    return notFound(key, ErrorCode.INVALID_REQUEST, `Keys of type ${keyType} are not supported.`);
  }
  const coordinator = keyType === KeyType.group ? groupCoordinator : transactionCoordinator;
  const found = await coordinator.find(key);
  if (!("leader" in found)) return notFound(key, found.error, null);
  const brokers = reachableBrokers(controller.image(), {
    listenerName: connection.listenerName,
    nodeId,
    advertisedHost: connection.advertisedHost,
    advertisedPort: connection.advertisedPort,
  });
  const broker = brokers.get(found.leader);
  if (broker === undefined) return notFound(key, ErrorCode.COORDINATOR_NOT_AVAILABLE, null);
  return {
    key,
    errorCode: ErrorCode.NONE,
    errorMessage: "",
    nodeId: broker.id,
    host: broker.host,
    port: broker.port,
  };
}

function notFound(key: string, errorCode: ErrorCode, errorMessage: string | null): Found {
  return { key, errorCode, errorMessage, nodeId: -1, host: "", port: -1 };
}
