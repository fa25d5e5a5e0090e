/**
 * InitProducerId (key 22), versions 0–6: an id and epoch for an idempotent or transactional producer.
 *
 * - v2: flexible. v3: a producer may name the id and epoch that it has (KIP-360).
 * - v4: PRODUCER_FENCED, before it INVALID_PRODUCER_EPOCH. v6: two-phase commit (KIP-939).
 *
 * A producer without a transactional id gets a fresh id with epoch 0 whatever it names, as in Kafka. One with it is
 * answered by the coordinator of its transactions, which fences whoever used the id before.
 *
 * Gaps: two-phase commit, refused as by a Kafka in which it is switched off.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  type InitProducerIdRequest,
  initProducerIdRequest,
  initProducerIdResponse,
} from "../../protocol/schemas/init_producer_id.ts";
import type { ProducerIdManager } from "../controller/producer_id_manager.ts";
import type { TransactionCoordinator } from "../transactions/coordinator.ts";
import { fencedError } from "../transactions/client_errors.ts";
import { type Api, defineApi } from "./api.ts";

const FIRST_FENCED_VERSION = 4;

interface Subsystems {
  readonly producerIds: ProducerIdManager;
  readonly transactionCoordinator: Pick<TransactionCoordinator, "initProducerId">;
}

/** Answers InitProducerId. */
export function initProducerIdApi(subsystems: Subsystems): Api {
  return defineApi({
    key: ApiKey.InitProducerId,
    request: initProducerIdRequest,
    response: initProducerIdResponse,
    versions: { lowest: 0, highest: 6 },
    async handle(request, { apiVersion }) {
      const { transactionalId, producerId, producerEpoch } = request;
      // Both or none.
      if ((producerId === -1) !== (producerEpoch === -1)) return failed(ErrorCode.INVALID_REQUEST);
      const answer = transactionalId === null
        ? await freshId(subsystems.producerIds)
        : await ofTransaction(subsystems.transactionCoordinator, transactionalId, request);
      if (!("producerId" in answer)) return failed(answer.error);
      return {
        throttleTimeMs: 0,
        errorCode: fencedError(answer.error, apiVersion, FIRST_FENCED_VERSION),
        producerId: answer.producerId,
        producerEpoch: answer.producerEpoch,
      };
    },
  });
}

async function freshId(producerIds: ProducerIdManager) {
  const next = await producerIds.next();
  return "producerId" in next ? { ...next, producerEpoch: 0 } : next;
}

function ofTransaction(
  coordinator: Subsystems["transactionCoordinator"],
  transactionalId: string,
  request: InitProducerIdRequest,
) {
  const { transactionTimeoutMs: timeoutMs, producerId, producerEpoch } = request;
  if (request.enable2Pc) return { error: ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED };
  if (request.keepPreparedTxn) return { error: ErrorCode.UNSUPPORTED_VERSION };
  const expected = producerId === -1 ? null : { producerId, producerEpoch };
  return coordinator.initProducerId({ transactionalId, timeoutMs, expected });
}

function failed(errorCode: ErrorCode) {
  return { throttleTimeMs: 0, errorCode, producerId: -1, producerEpoch: -1 };
}
