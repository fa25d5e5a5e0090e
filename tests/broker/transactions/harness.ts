/**
 * A transaction coordinator with the real controller and the real logs on a simulated disk and clock, which can be
 * stopped, killed, or lose power. Markers go through the real handler, unless a test holds them up.
 */

import assert from "node:assert/strict";
import { writeTxnMarkersApi } from "../../../broker/apis/write_txn_markers.ts";
import { TRANSACTION_STATE_TOPIC } from "../../../broker/controller/internal_topics.ts";
import { ProducerIdManager } from "../../../broker/controller/producer_id_manager.ts";
import { coordinatorLogOpener } from "../../../broker/coordination/partition_log.ts";
import { NetworkError } from "../../../broker/network.ts";
import { call } from "../../../broker/peers/call.ts";
import { handleOwn } from "../../../broker/server/inner_request.ts";
import { TransactionCoordinator } from "../../../broker/transactions/coordinator.ts";
import { transactionCoordinatorSettings } from "../../../broker/transactions/settings.ts";
import type { ProducerClaim, TransactionAnswer } from "../../../broker/transactions/transaction.ts";
import { ApiKey } from "../../../protocol/api_keys.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import {
  writeTxnMarkersRequest,
  writeTxnMarkersResponse,
} from "../../../protocol/schemas/write_txn_markers.ts";
import { ProcessClock } from "../../sim/process_clock.ts";
import { NODE_ID } from "../controller/harness.ts";
import { GroupHarness } from "../groups/harness.ts";

const writeMarkersCall = call(
  ApiKey.WriteTxnMarkers,
  writeTxnMarkersRequest,
  writeTxnMarkersResponse,
);

/** Settings that tests share. */
const FLAGS = { "transaction.state.log.num.partitions": "4" };

/** One node with a transaction coordinator, and a topic `t` of 32 partitions. */
export class TransactionHarness {
  readonly node: GroupHarness;
  coordinator!: TransactionCoordinator;
  /** The coordinator's own, so that a test can see what timers it leaves. */
  coordinatorClock!: ProcessClock;
  /** While true no broker can be reached. */
  markersFail = false;
  holdsLease = true;
  /** Requests of markers so far. */
  markerRequestCount = 0;

  private constructor(node: GroupHarness) {
    this.node = node;
  }

  static async start(
    options: { readonly seed?: number; readonly flags?: Readonly<Record<string, string>> } = {},
  ): Promise<TransactionHarness> {
    const flags = { ...FLAGS, ...options.flags };
    const harness = new TransactionHarness(await GroupHarness.start({ ...options, flags }));
    harness.#open();
    const found = await harness.run(harness.coordinator.find("any"));
    assert.equal(found.error, ErrorCode.NONE);
    await harness.run(harness.coordinator.loaded());
    return harness;
  }

  /** Starts the process again, after `node.kill` or `node.crash`. */
  async reopen(): Promise<void> {
    await this.node.open();
    this.#open();
    await this.run(this.coordinator.loaded());
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.node.run(promise);
  }

  #open(): void {
    const { controller, replicaManager, config, logger, process } = this.node;
    const clock = this.coordinatorClock = new ProcessClock(process);
    const handler = writeTxnMarkersApi({
      clock: process,
      config,
      replicaManager,
      groupCoordinator: this.node.coordinator,
    });
    this.coordinator = new TransactionCoordinator({
      nodeId: NODE_ID,
      clock,
      logger,
      settings: () => transactionCoordinatorSettings(config),
      controller,
      holdsLease: () => this.holdsLease,
      openLog: coordinatorLogOpener(replicaManager, TRANSACTION_STATE_TOPIC),
      producerIds: new ProducerIdManager({ controller, nodeId: NODE_ID }),
      sendMarkers: async (brokerId, request) => {
        assert.equal(brokerId, NODE_ID);
        this.markerRequestCount++;
        await clock.sleep(1);
        if (this.markersFail) throw new NetworkError("nobody answers", "ECONNREFUSED");
        return await handleOwn(handler, writeMarkersCall, request, "test");
      },
    });
    this.coordinator.start();
  }

  /** InitProducerId. */
  init(
    transactionalId: string,
    { timeoutMs = 60_000, expected = null }: {
      readonly timeoutMs?: number;
      readonly expected?: ProducerClaim | null;
    } = {},
  ): Promise<TransactionAnswer> {
    return this.run(this.coordinator.initProducerId({ transactionalId, timeoutMs, expected }));
  }

  /** AddPartitionsToTxn with partitions of `t`. */
  add(
    transactionalId: string,
    { producerId, producerEpoch }: ProducerClaim,
    partitions: readonly number[],
    transactionVersion = 2,
  ): Promise<ErrorCode> {
    return this.run(this.coordinator.addPartitions({
      transactionalId,
      producerId,
      producerEpoch,
      partitions: partitions.map((partition) => ({ topic: "t", partition })),
      transactionVersion,
      isPatient: true,
    }));
  }

  /** EndTxn. */
  end(
    transactionalId: string,
    { producerId, producerEpoch }: ProducerClaim,
    isCommit: boolean,
    transactionVersion = 2,
  ): Promise<TransactionAnswer> {
    return this.run(this.coordinator.endTransaction({
      transactionalId,
      producerId,
      producerEpoch,
      isCommit,
      transactionVersion,
    }));
  }

  /** The state of an id; the error's number where it has none. */
  state(transactionalId: string): string {
    const found = this.coordinator.describe(transactionalId);
    return "metadata" in found ? found.metadata.state : String(found.error);
  }
}
