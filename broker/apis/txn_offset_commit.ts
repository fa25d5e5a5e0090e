/**
 * TxnOffsetCommit (key 28), versions 0–6: how far a group has read, as part of a transaction.
 *
 * - v2: leader epochs (KIP-320); before it COORDINATOR_LOAD_IN_PROGRESS is told as COORDINATOR_NOT_AVAILABLE.
 * - v3: flexible; member, generation and static member, which are fenced (KIP-447).
 * - v4: TRANSACTION_ABORTABLE (KIP-890). v5: the broker makes the group part of the transaction (KIP-890).
 * - v6: topics by id, GROUP_ID_NOT_FOUND (KIP-1319).
 *
 * The answer waits until the offsets are committed to `__consumer_offsets`. They stand once the marker of the
 * transaction is committed there; until then OffsetFetch with `requireStable` answers UNSTABLE_OFFSET_COMMIT.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  type TxnOffsetCommitRequest,
  txnOffsetCommitRequest,
  txnOffsetCommitResponse,
} from "../../protocol/schemas/txn_offset_commit.ts";
import { formatTopicPartition } from "../../protocol/types.ts";
import type { Config } from "../config/config.ts";
import type { Controller } from "../controller/controller.ts";
import { GROUP_METADATA_TOPIC } from "../controller/internal_topics.ts";
import { committedTopics } from "../groups/committed_topics.ts";
import type { GroupCoordinator, GroupRefusal } from "../groups/coordinator.ts";
import { isRefusal, type ReplicaManager } from "../partitions/replica_manager.ts";
import type { TransactionGuard } from "../partitions/transaction_guards.ts";
import { abortableError } from "../transactions/client_errors.ts";
import { verifyGuarded } from "../transactions/guarded_claim.ts";
import type { TransactionVerifier } from "../transactions/verifier.ts";
import { type Api, defineApi } from "./api.ts";

const FIRST_LOADING_VERSION = 2;
const FIRST_ABORTABLE_VERSION = 4;
const FIRST_ADDING_VERSION = 5;
const TOPIC_ID_VERSION = 6;
/** Records of groups have no sequence. */
const NO_SEQUENCE = -1;

interface Subsystems {
  readonly config: Config;
  readonly controller: Controller;
  readonly replicaManager: ReplicaManager;
  readonly groupCoordinator: GroupCoordinator;
  readonly transactionVerifier: Pick<TransactionVerifier, "verify">;
}

/** Answers TxnOffsetCommit. */
export function txnOffsetCommitApi(subsystems: Subsystems): Api {
  const { controller } = subsystems;
  return defineApi({
    key: ApiKey.TxnOffsetCommit,
    request: txnOffsetCommitRequest,
    response: txnOffsetCommitResponse,
    versions: { lowest: 0, highest: 6 },
    async handle(request, { apiVersion }) {
      const usesIds = apiVersion >= TOPIC_ID_VERSION;
      const { offsets, answer } = committedTopics(request.topics, controller.image(), usesIds);
      const errors = offsets.length === 0
        ? []
        : await commit(subsystems, request, apiVersion, offsets);
      return {
        throttleTimeMs: 0,
        topics: answer(
          "error" in errors
            ? { error: toldError(errors.error, apiVersion) }
            : errors.map((error) => toldError(error, apiVersion)),
        ),
      };
    },
  });
}

async function commit(
  subsystems: Subsystems,
  request: TxnOffsetCommitRequest,
  apiVersion: number,
  offsets: ReturnType<typeof committedTopics>["offsets"],
): Promise<readonly ErrorCode[] | GroupRefusal> {
  const { groupCoordinator } = subsystems;
  const { groupId, producerId, producerEpoch } = request;
  if (groupId === "") return { error: ErrorCode.INVALID_GROUP_ID };
  const unavailable = groupCoordinator.availabilityOf(groupId);
  if (unavailable !== ErrorCode.NONE) return { error: unavailable };
  const verified = await verify(subsystems, request, apiVersion);
  if (verified.error !== ErrorCode.NONE) return verified;
  return await groupCoordinator.commitOffsets({
    groupId,
    memberId: request.memberId,
    groupInstanceId: request.groupInstanceId,
    generationId: request.generationIdOrMemberEpoch,
    knowsGroupIdNotFound: apiVersion >= TOPIC_ID_VERSION,
    retentionTimeMs: -1,
    offsets,
  }, { producerId, producerEpoch, guard: verified.guard });
}

/** Whether the group's partition is part of the transaction; left without a guard where nobody wants to know. */
async function verify(
  { config, groupCoordinator, replicaManager, transactionVerifier }: Subsystems,
  { transactionalId, groupId, producerId, producerEpoch }: TxnOffsetCommitRequest,
  apiVersion: number,
): Promise<{ readonly error: ErrorCode; readonly guard?: TransactionGuard | null }> {
  const adds = apiVersion >= FIRST_ADDING_VERSION;
  if (!adds && !config.boolean("transaction.partition.verification.enable")) {
    return { error: ErrorCode.NONE };
  }
  const place = { topic: GROUP_METADATA_TOPIC, partition: groupCoordinator.partitionFor(groupId) };
  const partition = replicaManager.partition(place.topic, place.partition);
  if (isRefusal(partition)) return { error: ErrorCode.NOT_COORDINATOR };
  const claim = { transactionalId, producerId, producerEpoch, adds, partitions: [place] };
  const begin = () => {
    const guard = partition.beginVerification({
      producerId,
      producerEpoch,
      baseSequence: NO_SEQUENCE,
      startsAtZero: false,
    });
    return guard === null ? null : { claim, guards: new Map([[partition, guard]]) };
  };
  const first = begin();
  if (first === null) return { error: ErrorCode.NONE, guard: null };
  const { guards, errors } = await verifyGuarded(transactionVerifier, first, begin);
  const error = errors.get(formatTopicPartition(place.topic, place.partition)) ?? ErrorCode.NONE;
  return { error, guard: guards.get(partition) ?? null };
}

/** What a client of this version knows of an error, of its group or of its transaction. */
function toldError(error: ErrorCode, apiVersion: number): ErrorCode {
  switch (error) {
    case ErrorCode.PRODUCER_FENCED:
      return ErrorCode.INVALID_PRODUCER_EPOCH;
    case ErrorCode.TRANSACTION_ABORTABLE:
      return abortableError(error, apiVersion, FIRST_ABORTABLE_VERSION);
    case ErrorCode.NETWORK_EXCEPTION:
    case ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
      // It comes again without looking for its coordinator.
      return apiVersion >= FIRST_LOADING_VERSION
        ? ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        : ErrorCode.COORDINATOR_NOT_AVAILABLE;
    default:
      return error;
  }
}
