/**
 * WriteTxnMarkers (key 27), versions 1–2: a coordinator has partitions write the end of a transaction (KIP-98).
 *
 * 1 flexible · 2 the version of the transaction protocol (KIP-1228): from 2 on a marker carries the epoch after the
 * one that its transaction was written under, so that it can end no other.
 *
 * A marker is answered when it is committed: on the stable storage of every in-sync replica. One that is sent again
 * is written again, and ends nothing. One of a coordinator that another has taken over from is refused with
 * TRANSACTION_COORDINATOR_FENCED. Kafka's `transactions` tool ends hanging transactions with it, too.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  writeTxnMarkersRequest,
  writeTxnMarkersResponse,
} from "../../protocol/schemas/write_txn_markers.ts";
import type { Clock } from "../../storage/platform.ts";
import type { Config } from "../config/config.ts";
import { buildMarker, type TransactionEnd } from "../coordination/transaction_end.ts";
import { GROUP_METADATA_TOPIC } from "../controller/internal_topics.ts";
import type { GroupCoordinator } from "../groups/coordinator.ts";
import { type CommitTarget, waitForCommits } from "../partitions/delayed_commit.ts";
import { isRefusal, type ReplicaManager } from "../partitions/replica_manager.ts";
import { type Api, defineApi } from "./api.ts";

const ALL_REPLICAS = -1;
/** Markers written before the event loop is given back: a millisecond or two. */
const MARKERS_PER_SLICE = 100;

interface Subsystems {
  readonly clock: Clock;
  readonly config: Config;
  readonly replicaManager: ReplicaManager;
  readonly groupCoordinator: Pick<GroupCoordinator, "endTransaction">;
}

interface PartitionAnswer {
  readonly partitionIndex: number;
  errorCode: ErrorCode;
}

/** A marker that is written and not committed yet. */
interface Pending extends CommitTarget {
  readonly answer: PartitionAnswer;
}

/** Answers WriteTxnMarkers. */
export function writeTxnMarkersApi(subsystems: Subsystems): Api {
  return defineApi({
    key: ApiKey.WriteTxnMarkers,
    request: writeTxnMarkersRequest,
    response: writeTxnMarkersResponse,
    versions: { lowest: 1, highest: 2 },
    async handle({ markers }) {
      const { clock, config, replicaManager } = subsystems;
      const targets: Pending[] = [];
      const answers = [];
      let writtenCount = 0;
      for (const { transactionResult, topics: wanted, ...marker } of markers) {
        const end: TransactionEnd = { ...marker, outcome: transactionResult ? "commit" : "abort" };
        const topics = [];
        for (const { name, partitionIndexes } of wanted) {
          const partitions = [];
          for (const partitionIndex of partitionIndexes) {
            partitions.push(write(subsystems, end, name, partitionIndex, targets));
            if (++writtenCount % MARKERS_PER_SLICE === 0) await clock.sleep(0);
          }
          topics.push({ name, partitions });
        }
        answers.push({ producerId: marker.producerId, topics });
      }
      if (targets.length > 0) {
        await waitForCommits({
          targets,
          delayed: replicaManager.delayedAppends,
          timeoutMs: config.number("request.timeout.ms"),
          failed: ({ answer }, error) => {
            answer.errorCode = error;
          },
        });
      }
      return { markers: answers };
    },
  });
}

/** The coordinator of the groups writes it itself: offsets of the transaction stand from then on, or are gone. */
function writeInGroups(
  groupCoordinator: Subsystems["groupCoordinator"],
  end: TransactionEnd,
  partitionIndex: number,
  targets: Pending[],
): PartitionAnswer {
  const answer: PartitionAnswer = { partitionIndex, errorCode: ErrorCode.NONE };
  let outcome: ErrorCode | null = null;
  let listener: ((error: ErrorCode) => void) | null = null;
  groupCoordinator.endTransaction(partitionIndex, end, (error) => {
    outcome = error;
    listener?.(error);
  });
  const onCommitted: Pending["partition"]["onCommitted"] = (_endOffset, settled) => {
    if (outcome === null) listener = settled;
    else settled(outcome);
  };
  targets.push({ partition: { onCommitted }, endOffset: 0, answer });
  return answer;
}

function write(
  { clock, replicaManager, groupCoordinator }: Subsystems,
  end: TransactionEnd,
  topic: string,
  partitionIndex: number,
  targets: Pending[],
): PartitionAnswer {
  const partition = replicaManager.partition(topic, partitionIndex);
  if (isRefusal(partition)) return { partitionIndex, errorCode: partition.error };
  if (topic === GROUP_METADATA_TOPIC) {
    return writeInGroups(groupCoordinator, end, partitionIndex, targets);
  }
  const result = partition.append(buildMarker(end, clock.wallMs()), {
    origin: "coordinator",
    requiredAcks: ALL_REPLICAS,
    transactionVersion: end.transactionVersion,
  });
  const answer: PartitionAnswer = { partitionIndex, errorCode: result.error };
  if ("lastOffset" in result) {
    targets.push({ partition, endOffset: result.lastOffset + 1, answer });
  }
  return answer;
}
