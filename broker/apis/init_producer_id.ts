/**
 * InitProducerId (key 22), versions 0–6: an id for an idempotent producer.
 *
 * - v2: flexible. v3: a producer may name the id and epoch that it has (KIP-360). v4: PRODUCER_FENCED.
 * - v6: two-phase commit (KIP-939), which needs a transactional id.
 *
 * A producer without a transactional id gets a fresh id with epoch 0 whatever it names, as in Kafka.
 *
 * Gaps: transactions. A transactional id gets UNSUPPORTED_VERSION, which every client takes as final;
 * COORDINATOR_NOT_AVAILABLE would have it ask for ever. A timeout above `transaction.max.timeout.ms` is
 * refused before that, as in Kafka.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  type InitProducerIdRequest,
  initProducerIdRequest,
  initProducerIdResponse,
} from "../../protocol/schemas/init_producer_id.ts";
import type { Config } from "../config/config.ts";
import type { ProducerIdManager } from "../controller/producer_id_manager.ts";
import { type Api, defineApi } from "./api.ts";

interface Subsystems {
  readonly producerIds: ProducerIdManager;
  readonly config: Config;
}

/** Answers InitProducerId. */
export function initProducerIdApi({ producerIds, config }: Subsystems): Api {
  return defineApi({
    key: ApiKey.InitProducerId,
    request: initProducerIdRequest,
    response: initProducerIdResponse,
    versions: { lowest: 0, highest: 6 },
    async handle(request) {
      const refused = refuse(request, config);
      if (refused !== null) return failed(refused);
      const next = await producerIds.next();
      if (!("producerId" in next)) return failed(next.error);
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        producerId: next.producerId,
        producerEpoch: 0,
      };
    },
  });
}

function failed(errorCode: ErrorCode) {
  return { throttleTimeMs: 0, errorCode, producerId: -1, producerEpoch: -1 };
}

function refuse(request: InitProducerIdRequest, config: Config): ErrorCode | null {
  const { transactionalId, transactionTimeoutMs, producerId, producerEpoch } = request;
  // Both or none.
  if ((producerId === -1) !== (producerEpoch === -1)) return ErrorCode.INVALID_REQUEST;
  if (transactionalId === null) return null;
  if (transactionalId === "") return ErrorCode.INVALID_REQUEST;
  const maxTimeoutMs = config.number("transaction.max.timeout.ms");
  if (transactionTimeoutMs <= 0 || transactionTimeoutMs > maxTimeoutMs) {
    return ErrorCode.INVALID_TRANSACTION_TIMEOUT;
  }
  return ErrorCode.UNSUPPORTED_VERSION;
}
