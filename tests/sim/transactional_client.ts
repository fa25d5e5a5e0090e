/**
 * A transactional producer as the well-known clients are: what passes is tried again, in its order and under its
 * sequence numbers; anything else ends the transaction, and the producer begins anew under the next epoch.
 *
 * It speaks transaction version 1 (it adds partitions itself) or 2 (brokers do, and each transaction has an epoch).
 */

import { Calls } from "../../broker/client/calls.ts";
import type { KafkaClient } from "../../broker/client/kafka_client.ts";
import { KafkaError } from "../../broker/client/kafka_client.ts";
import { type Call, call } from "../../broker/peers/call.ts";
import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode, errorName, isRetriable } from "../../protocol/errors.ts";
import { buildBatch } from "../../protocol/records.ts";
import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";
import {
  addOffsetsToTxnRequest,
  addOffsetsToTxnResponse,
} from "../../protocol/schemas/add_offsets_to_txn.ts";
import {
  addPartitionsToTxnRequest,
  addPartitionsToTxnResponse,
} from "../../protocol/schemas/add_partitions_to_txn.ts";
import { endTxnRequest, endTxnResponse } from "../../protocol/schemas/end_txn.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import {
  txnOffsetCommitRequest,
  txnOffsetCommitResponse,
} from "../../protocol/schemas/txn_offset_commit.ts";

const REQUEST_TIMEOUT_MS = 5_000;
const TRANSACTION_KEY = 1;

const addPartitionsCall = call(
  ApiKey.AddPartitionsToTxn,
  addPartitionsToTxnRequest,
  addPartitionsToTxnResponse,
  { highest: 3 },
);
const addOffsetsCall = call(
  ApiKey.AddOffsetsToTxn,
  addOffsetsToTxnRequest,
  addOffsetsToTxnResponse,
);

/** Versions that speak one version of the transaction protocol. */
interface Protocol {
  readonly produce: Call<typeof produceRequest, typeof produceResponse>;
  readonly commitOffsets: Call<typeof txnOffsetCommitRequest, typeof txnOffsetCommitResponse>;
  readonly end: Call<typeof endTxnRequest, typeof endTxnResponse>;
}

function protocolOf(range: {
  readonly produce: { readonly lowest?: number; readonly highest: number };
  readonly commitOffsets: { readonly lowest?: number; readonly highest: number };
  readonly end: { readonly lowest?: number; readonly highest: number };
}): Protocol {
  return {
    produce: call(ApiKey.Produce, produceRequest, produceResponse, range.produce),
    commitOffsets: call(
      ApiKey.TxnOffsetCommit,
      txnOffsetCommitRequest,
      txnOffsetCommitResponse,
      range.commitOffsets,
    ),
    end: call(ApiKey.EndTxn, endTxnRequest, endTxnResponse, range.end),
  };
}

const FIRST = protocolOf({
  produce: { highest: 11 },
  commitOffsets: { highest: 4 },
  end: { highest: 4 },
});
const SECOND = protocolOf({
  produce: { lowest: 12, highest: 12 },
  commitOffsets: { lowest: 5, highest: 5 },
  end: { lowest: 5, highest: 5 },
});

/** Errors that pass for transactions besides those that pass for everybody. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  ErrorCode.CONCURRENT_TRANSACTIONS,
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
]);

/** The transaction is over: the producer has to begin anew. */
export class TransactionLostError extends Error {
  override name = "TransactionLostError";
  readonly error: ErrorCode;

  constructor(what: string, error: ErrorCode) {
    super(`${what}: ${errorName(error)}`);
    this.error = error;
  }
}

/** What the producer is made of. */
export interface TransactionalClientOptions {
  readonly client: KafkaClient;
  readonly transactionalId: string;
  readonly transactionVersion: 1 | 2;
  readonly transactionTimeoutMs: number;
  /** Tries until what it is told succeeds; errors that do not pass come out. */
  readonly insist: <T>(what: string, attempt: () => Promise<T>) => Promise<T>;
}

/** One transactional producer. */
export class TransactionalClient {
  readonly #options: TransactionalClientOptions;
  readonly #protocol: Protocol;
  #coordinatorId: number | null = null;
  #producerId = -1;
  #producerEpoch = -1;
  /** Next sequence by `topic-partition`. */
  readonly #sequences = new Map<string, number>();
  /** What the client has added to the transaction itself. */
  readonly #added = new Set<string>();

  constructor(options: TransactionalClientOptions) {
    this.#options = options;
    this.#protocol = options.transactionVersion === 2 ? SECOND : FIRST;
  }

  /** Gets the next epoch: what was open under the transactional id is aborted. */
  async init(): Promise<void> {
    const { transactionalId, transactionTimeoutMs } = this.#options;
    const body = { transactionalId, transactionTimeoutMs };
    const { producerId, producerEpoch } = await this.#askCoordinator(
      "init",
      Calls.initProducerId,
      body,
      ({ errorCode }) => errorCode,
    );
    this.#began(producerId, producerEpoch);
  }

  #began(producerId: number, producerEpoch: number): void {
    if (producerId !== this.#producerId || producerEpoch !== this.#producerEpoch) {
      this.#sequences.clear();
    }
    this.#producerId = producerId;
    this.#producerEpoch = producerEpoch;
    this.#added.clear();
  }

  /** Produces one batch within the transaction. */
  async send(topic: string, partition: number, values: readonly Uint8Array[]): Promise<void> {
    const { client, insist } = this.#options;
    const place = `${topic}-${partition}`;
    await this.#addPartition(topic, partition);
    const baseSequence = this.#sequences.get(place) ?? 0;
    this.#sequences.set(place, baseSequence + values.length);
    const timestamp = client.clock.wallMs();
    const build = () =>
      buildBatch({
        records: values.map((value) => ({ key: null, value, timestamp })),
        producerId: this.#producerId,
        producerEpoch: this.#producerEpoch,
        baseSequence,
        transactional: true,
      });
    await insist(`produce to ${place}`, async () => {
      const leaders = await client.leaders(topic);
      const leaderId = leaders.find((one) => one.partition === partition)?.leaderId ?? -1;
      const connection = await client.broker(leaderId);
      const answer = await connection.request(this.#protocol.produce, {
        transactionalId: this.#options.transactionalId,
        acks: -1,
        timeoutMs: REQUEST_TIMEOUT_MS,
        topicData: [{ name: topic, partitionData: [{ index: partition, records: build() }] }],
      });
      const { errorCode } = answer.responses[0]!.partitionResponses[0]!;
      if (errorCode !== ErrorCode.DUPLICATE_SEQUENCE_NUMBER) this.#throwOn("produce", errorCode);
    });
  }

  async #addPartition(topic: string, partition: number): Promise<void> {
    const place = `${topic}-${partition}`;
    if (this.#options.transactionVersion === 2 || this.#added.has(place)) return;
    await this.#askCoordinator("add partition", addPartitionsCall, {
      transactions: [],
      v3AndBelowTransactionalId: this.#options.transactionalId,
      v3AndBelowProducerId: this.#producerId,
      v3AndBelowProducerEpoch: this.#producerEpoch,
      v3AndBelowTopics: [{ name: topic, partitions: [partition] }],
    }, ({ resultsByTopicV3AndBelow: [first] }) => first!.resultsByPartition[0]!.partitionErrorCode);
    this.#added.add(place);
  }

  /** Commits the offset of one partition of a group within the transaction. */
  async sendOffset(
    groupId: string,
    { topic, partition, offset }: {
      readonly topic: string;
      readonly partition: number;
      readonly offset: number;
    },
    member: { readonly memberId: string; readonly memberEpoch: number } | null = null,
  ): Promise<void> {
    const { client, insist, transactionalId, transactionVersion } = this.#options;
    if (transactionVersion === 1) {
      await this.#askCoordinator("add offsets", addOffsetsCall, {
        transactionalId,
        producerId: this.#producerId,
        producerEpoch: this.#producerEpoch,
        groupId,
      }, ({ errorCode }) => errorCode);
    }
    await insist("commit offsets", async () => {
      const answer = await client.askCoordinator(groupId, this.#protocol.commitOffsets, {
        transactionalId,
        groupId,
        producerId: this.#producerId,
        producerEpoch: this.#producerEpoch,
        ...(member !== null && {
          memberId: member.memberId,
          generationIdOrMemberEpoch: member.memberEpoch,
        }),
        topics: [{
          name: topic,
          partitions: [{
            partitionIndex: partition,
            committedOffset: offset,
            committedMetadata: "",
          }],
        }],
      }, ({ topics: [first] }) => first!.partitions[0]!.errorCode);
      this.#throwOn("commit offsets", answer.topics[0]!.partitions[0]!.errorCode);
    });
  }

  /** Ends the transaction. Returns: when it is decided. */
  async end(committed: boolean): Promise<void> {
    const answer = await this.#askCoordinator("end", this.#protocol.end, {
      transactionalId: this.#options.transactionalId,
      producerId: this.#producerId,
      producerEpoch: this.#producerEpoch,
      committed,
    }, ({ errorCode }) => errorCode);
    if (this.#options.transactionVersion === 2) {
      this.#began(answer.producerId, answer.producerEpoch);
    } else this.#added.clear();
  }

  async #askCoordinator<Q extends Message, A extends Message>(
    what: string,
    asked: Call<Q, A>,
    body: Encodable<Q>,
    codeOf: (answer: Decoded<A>) => number,
  ): Promise<Decoded<A>> {
    const { client, insist } = this.#options;
    return await insist(what, async () => {
      try {
        this.#coordinatorId ??= await this.#findCoordinator();
        const connection = await client.broker(this.#coordinatorId);
        const answer = await connection.request(asked, body);
        this.#throwOn(what, codeOf(answer));
        return answer;
      } catch (error) {
        this.#coordinatorId = null;
        throw error;
      }
    });
  }

  async #findCoordinator(): Promise<number> {
    const { client, transactionalId } = this.#options;
    const answer = await (await client.any()).request(Calls.findCoordinator, {
      key: "",
      keyType: TRANSACTION_KEY,
      coordinatorKeys: [transactionalId],
    });
    const found = answer.coordinators[0]!;
    this.#throwOn("find coordinator", found.errorCode);
    return found.nodeId;
  }

  /** Errors: KafkaError of what passes, TransactionLostError of the rest. */
  #throwOn(what: string, errorCode: number): void {
    const error = errorCode as ErrorCode;
    if (error === ErrorCode.NONE) return;
    if (isRetriable(error)) throw new KafkaError(error);
    // All of them pass, whatever a client that knows nothing of transactions makes of them.
    if (PASSING.has(error)) throw new KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
    throw new TransactionLostError(what, error);
  }
}
