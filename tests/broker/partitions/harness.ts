/**
 * One node with the real controller, logs, replica manager and data handlers on a simulated disk and clock,
 * asked through its codecs as a client would, which can be stopped, killed, or lose power.
 */

import assert from "node:assert/strict";
import { alterReplicaLogDirsApi } from "../../../broker/apis/alter_replica_log_dirs.ts";
import type { Api, RequestContext } from "../../../broker/apis/api.ts";
import { deleteRecordsApi } from "../../../broker/apis/delete_records.ts";
import { describeLogDirsApi } from "../../../broker/apis/describe_log_dirs.ts";
import { describeProducersApi } from "../../../broker/apis/describe_producers.ts";
import { fetchApi } from "../../../broker/apis/fetch.ts";
import { listOffsetsApi } from "../../../broker/apis/list_offsets.ts";
import { offsetForLeaderEpochApi } from "../../../broker/apis/offset_for_leader_epoch.ts";
import { produceApi } from "../../../broker/apis/produce.ts";
import { writeTxnMarkersApi } from "../../../broker/apis/write_txn_markers.ts";
import { Config } from "../../../broker/config/config.ts";
import { controllerSettings } from "../../../broker/controller/config_rules.ts";
import { Controller } from "../../../broker/controller/controller.ts";
import { FetchSessions } from "../../../broker/partitions/fetch_session.ts";
import type { Partition } from "../../../broker/partitions/partition.ts";
import {
  isRefusal,
  ReplicaManager,
  type ReplicaManagerOptions,
} from "../../../broker/partitions/replica_manager.ts";
import type { TransactionVerifier } from "../../../broker/transactions/verifier.ts";
import { Reader, Writer } from "../../../protocol/bytes.ts";
import { codec } from "../../../protocol/compile.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { buildBatch, type NewBatch } from "../../../protocol/records.ts";
import type { Decoded, Encodable, Message } from "../../../protocol/schema.ts";
import { fetchRequest, fetchResponse } from "../../../protocol/schemas/fetch.ts";
import { produceRequest, produceResponse } from "../../../protocol/schemas/produce.ts";
import { leaderEpoch, type Uuid, ZERO_UUID } from "../../../protocol/types.ts";
import { LogDirectories } from "../../../storage/log_directories.ts";
import { MountedDisks } from "../../sim/mounted_disks.ts";
import { ProcessClock } from "../../sim/process_clock.ts";
import { ProcessDisk } from "../../sim/process_disk.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimDisk } from "../../sim/sim_disk.ts";
import { SimLogger } from "../../sim/sim_logger.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { CLUSTER_ID, newTopic, NODE_ID, openMetadataLog } from "../controller/harness.ts";
import { type LiveBroker, liveBroker } from "../live_broker.ts";
import { ScriptedCoordinator, verifierAsking } from "../transactions/scripted_coordinator.ts";
import { SimWorkers } from "../../sim/sim_workers.ts";

/** For a node that is alone. */
export const NO_PEERS: ReplicaManagerOptions["peers"] = {
  send: () => assert.fail("nobody is there"),
};

/** A request's context that the test can look into. */
export class TestContext implements RequestContext {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId = 1;
  readonly clientId: string | null;
  readonly requestBytes = 100;
  readonly answerRoomBytes = Infinity;
  readonly connection = {
    id: 1 as number,
    remoteAddress: "127.0.0.1",
    listenerName: "PLAINTEXT",
    advertisedHost: "reached.example",
    advertisedPort: 19092,
    clientSoftwareName: null,
    clientSoftwareVersion: null,
  };
  readonly closed: { aborted: boolean; onAbort(listener: () => void): () => void };
  closeReason: string | null = null;
  #sent: (() => void)[] = [];
  #aborts = new Set<() => void>();

  constructor(apiKey: number, apiVersion: number, clientId: string | null) {
    this.apiKey = apiKey;
    this.apiVersion = apiVersion;
    this.clientId = clientId;
    this.closed = {
      aborted: false,
      onAbort: (listener) => {
        this.#aborts.add(listener);
        return () => this.#aborts.delete(listener);
      },
    };
  }
  onSent(callback: () => void): void {
    this.#sent.push(callback);
  }
  closeConnection(reason: string): void {
    this.closeReason ??= reason;
  }
  /** The answer has left. */
  sent(): void {
    for (const callback of this.#sent.splice(0)) callback();
  }
  /** The client hangs up. */
  hangUp(): void {
    this.closed.aborted = true;
    for (const abort of [...this.#aborts]) abort();
    this.sent();
  }
  get abortListeners(): number {
    return this.#aborts.size;
  }
}

/** A request that was handed over. */
export interface Asked<Res extends Message> {
  readonly context: TestContext;
  /** True when the handler answered at once, without a promise. */
  readonly isSynchronous: boolean;
  readonly answer: Promise<Decoded<Res> | null>;
}

/** A partition of a fetch, as tests write it. */
export type FetchPartitionBody = {
  readonly partition?: number;
  readonly fetchOffset?: number;
  readonly currentLeaderEpoch?: number;
  readonly lastFetchedEpoch?: number;
  readonly partitionMaxBytes?: number;
};
/** What tests change about a fetch. */
export type FetchBody = Partial<Omit<Encodable<typeof fetchRequest>, "topics">> & {
  readonly topics?: readonly {
    readonly topic: string;
    readonly partitions: readonly FetchPartitionBody[];
  }[];
};

/** Where the metadata log of a harness lies. */
export const METADATA_DIRECTORY = "/metadata";

/** What a test asks of its node. */
export interface HarnessOptions {
  readonly seed?: number;
  readonly flags?: Readonly<Record<string, string>>;
  readonly maxSyncMs?: number;
  /** A log directory on a disk of its own for each, with its capacity in bytes; one, `/data`, without. */
  readonly mounts?: Readonly<Record<string, number>>;
}

/** One node that serves the data APIs. */
export class DataHarness {
  readonly clock = new SimClock();
  readonly logger = new SimLogger();
  readonly random: SimRandom;
  readonly disk: SimDisk;
  /** The disks that log directories lie on, where there are several. */
  readonly disks: MountedDisks | null;
  readonly config: Config;
  process!: ProcessClock;
  /** The disks as the process sees them, for deaths in the midst of a call. */
  processDisk!: ProcessDisk;
  /** Called when the process ends, before anything of it does. */
  onDeath: () => void = () => {};
  /** Of the controller and its log, apart, so that a test sees what timers the data path leaves. */
  controllerClock!: ProcessClock;
  controller!: Controller;
  broker!: LiveBroker;
  logDirectories!: LogDirectories;
  replicaManager!: ReplicaManager;
  sessions!: FetchSessions;
  /** Of transactions: it is asked where the topic `__transaction_state` is there. */
  readonly coordinator = new ScriptedCoordinator();
  verifier!: TransactionVerifier;
  apis!: Record<
    | "produce"
    | "fetch"
    | "listOffsets"
    | "deleteRecords"
    | "offsetForLeaderEpoch"
    | "alterReplicaLogDirs"
    | "describeLogDirs"
    | "describeProducers"
    | "writeTxnMarkers",
    Api
  >;
  #starts = 0;

  private constructor({ seed = 1, flags = {}, maxSyncMs = 3, mounts }: HarnessOptions) {
    this.random = new SimRandom(seed);
    const { clock } = this;
    const root = this.disk = new SimDisk({
      random: this.random.fork("disk"),
      clock,
      maxSyncMs,
      capacityBytes: 1e9,
    });
    this.disks = mounts === undefined
      ? null
      : new MountedDisks({ random: this.random, clock, maxSyncMs, root, mounts });
    this.config = Config.load({ flags });
  }

  /** Starts on an empty disk. */
  static async start(options: HarnessOptions = {}): Promise<DataHarness> {
    const harness = new DataHarness(options);
    harness.disk.makeDirectory(METADATA_DIRECTORY);
    await harness.run(harness.disk.syncDirectory("/"));
    await harness.open();
    await harness.register();
    return harness;
  }

  /** Registers this node with the controller. */
  async register(): Promise<void> {
    const { lifecycle } = this.broker;
    lifecycle.start();
    await this.run(lifecycle.caughtUp);
    lifecycle.setReady();
    await this.run(lifecycle.unfenced);
  }

  /** Starts the process; its partitions open in the background. */
  async open(): Promise<void> {
    const clock = this.process = new ProcessClock(this.clock);
    const controllerClock = this.controllerClock = new ProcessClock(this.clock);
    const random = this.random.fork(`start ${this.#starts++}`);
    const { logger } = this;
    const disk = this.processDisk = new ProcessDisk(this.disks ?? this.disk, () => this.#die());
    const paths = this.disks?.paths ?? ["/data"];
    this.controller = await this.run((async () =>
      Controller.start({
        disk,
        clock: controllerClock,
        logger,
        log: await openMetadataLog(disk, controllerClock, logger, METADATA_DIRECTORY),
        nodeId: NODE_ID,
        clusterId: CLUSTER_ID,
        random: random.fork("controller"),
        settings: controllerSettings(this.config),
        onFailure: (message) => disk.isDead || assert.fail(message),
      }))());
    this.logDirectories = await this.run(LogDirectories.open({
      disk,
      clock,
      random: random.fork("directory"),
      logger,
      workers: new SimWorkers({ disk, clock, logger }),
      paths,
      // On a disk of its own, where there are several.
      metadataPath: this.disks === null ? paths[0]! : `${METADATA_DIRECTORY}-of-node`,
      isCordoned: (path) => this.config.list("cordoned.log.dirs").includes(path),
      clusterId: CLUSTER_ID,
      nodeId: NODE_ID,
      flusher: { maxDirtyBytes: this.config.number("weir.flush.max.dirty.bytes") },
    }));
    this.broker = liveBroker({
      nodeId: NODE_ID,
      clusterId: CLUSTER_ID,
      clock: controllerClock,
      random,
      config: this.config,
      controller: this.controller,
      logDirectories: this.logDirectories,
    });
    // As a broker does with every start; the first one waits for the test.
    if (this.controller.image().brokers.has(NODE_ID)) await this.register();
    const replicaManager = this.replicaManager = new ReplicaManager({
      ...this,
      peers: NO_PEERS,
      proposeIsr: () => {},
      nodeId: NODE_ID,
      clock,
      // Longer than a sync takes: batches still wait when the metadata has changed.
      workers: new SimWorkers({ disk, clock, logger, delayMs: 5 }),
    });
    this.sessions = new FetchSessions({
      clock,
      random: random.fork("sessions"),
      slots: 100,
      evictionMs: 120_000,
    });
    this.apis = this.#serve(replicaManager);
    replicaManager.start();
  }

  #serve(replicaManager: ReplicaManager): DataHarness["apis"] {
    const clock = this.process;
    this.verifier = verifierAsking(this.coordinator, { ...this, clock, peers: NO_PEERS });
    return {
      produce: produceApi({ ...this, replicaManager, transactionVerifier: this.verifier }),
      writeTxnMarkers: writeTxnMarkersApi({
        ...this,
        clock,
        replicaManager,
        groupCoordinator: { endTransaction: () => assert.fail("there are no groups") },
      }),
      fetch: fetchApi({
        ...this,
        nodeId: NODE_ID,
        replicaSelector: () => null,
        replicaManager,
        fetchSessions: this.sessions,
        fetchMaxBytes: () => 55 * 1024 * 1024,
        maxLentBytes: 1024 * 1024,
      }),
      listOffsets: listOffsetsApi({ replicaManager, clock }),
      deleteRecords: deleteRecordsApi({ replicaManager }),
      offsetForLeaderEpoch: offsetForLeaderEpochApi({ replicaManager }),
      alterReplicaLogDirs: alterReplicaLogDirsApi({ replicaManager }),
      describeLogDirs: describeLogDirsApi({ replicaManager }),
      describeProducers: describeProducersApi({ replicaManager }),
    };
  }

  /** Starts the process and waits until all partitions are open. */
  async openWhole(): Promise<void> {
    await this.open();
    await this.run(this.replicaManager.settled());
  }

  /** Stops in order, as the broker does. */
  async stop(): Promise<void> {
    await this.run(this.replicaManager.close());
    this.broker.channel.close();
    await this.run(this.broker.lifecycle.stop());
    this.controller.stop();
    await this.run(this.logDirectories.close());
  }

  #die(): void {
    this.onDeath();
    this.controller.stop();
    this.process.die();
    this.controllerClock.die();
  }

  /** Power is lost; what was not synced is kept, lost or torn. */
  crash(): void {
    this.processDisk.die();
    (this.disks ?? this.disk).crash();
  }

  /** The process is killed; the page cache stays. */
  kill(): void {
    this.processDisk.die();
    (this.disks ?? this.disk).kill();
  }

  /** Runs virtual time until `promise` settles. */
  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.run(promise);
  }

  /** Makes a topic and waits until its partitions are open. */
  async makeTopic(
    name: string,
    { partitionCount = 1, configs = {} }: {
      readonly partitionCount?: number;
      readonly configs?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<Uuid> {
    const [made] = await this.run(this.controller.createTopics([
      newTopic(name, {
        partitionCount,
        configs: Object.entries(configs).map(([name, value]) => ({ name, value })),
      }),
    ]));
    assert.equal(made?.error, ErrorCode.NONE);
    await this.run(this.replicaManager.settled());
    return this.controller.image().topicByName(name)?.id ?? ZERO_UUID;
  }

  partition(topic: string, index = 0): Partition {
    const found = this.replicaManager.partition(topic, index);
    assert(!isRefusal(found));
    return found;
  }

  /** Hands a request over; the answer may come later. */
  ask<Req extends Message, Res extends Message>(
    api: Api,
    [request, response]: readonly [Req, Res],
    version: number,
    body: Encodable<Req>,
    clientId: string | null = "test",
  ): Asked<Res> {
    const writer = new Writer();
    codec(request, version).encode(writer, body);
    const context = new TestContext(api.key, version, clientId);
    const given = api.handle(new Reader(writer.finish()), context);
    const isSynchronous = !(given instanceof Promise);
    const answer = Promise.resolve(given).then((value) => {
      if (value === null) return null;
      const answered = new Writer();
      api.encode(answered, version, value);
      // A copy, as the socket makes one, before the buffers go back.
      const decoded = codec(response, version).decode(new Reader(answered.finish().slice()));
      context.sent();
      return decoded;
    });
    return { context, isSynchronous, answer };
  }

  /** Hands over a Produce of one batch of `topic`-`index`. */
  produce(
    topic: string,
    records: Uint8Array | null,
    {
      index = 0,
      acks = -1,
      version = 9,
      timeoutMs = 5000,
      transactionalId = null,
      clientId = "test",
      topicId = ZERO_UUID,
    }: {
      readonly index?: number;
      readonly acks?: number;
      readonly version?: number;
      readonly timeoutMs?: number;
      readonly transactionalId?: string | null;
      readonly clientId?: string | null;
      readonly topicId?: Uuid;
    } = {},
  ): Asked<typeof produceResponse> {
    const place = version >= 13 ? { topicId } : { name: topic };
    return this.ask(this.apis.produce, [produceRequest, produceResponse], version, {
      transactionalId,
      acks,
      timeoutMs,
      topicData: [{ ...place, partitionData: [{ index, records }] }],
    } as Encodable<typeof produceRequest>, clientId);
  }

  /** Produces and gives the one partition of the answer. */
  async produced(
    topic: string,
    records: Uint8Array | null,
    options: Parameters<DataHarness["produce"]>[2] = {},
  ): Promise<Decoded<typeof produceResponse>["responses"][number]["partitionResponses"][number]> {
    const answer = await this.run(this.produce(topic, records, options).answer);
    return answer!.responses[0]!.partitionResponses[0]!;
  }

  /** Hands over a Fetch outside of sessions unless `body` says more. */
  fetch(body: FetchBody, version = 12): Asked<typeof fetchResponse> {
    const { topics = [], ...rest } = body;
    return this.ask(this.apis.fetch, [fetchRequest, fetchResponse], version, {
      ...(version < 15 && { replicaId: -1 }),
      maxWaitMs: 500,
      minBytes: 1,
      maxBytes: 1_000_000,
      isolationLevel: 0,
      sessionId: 0,
      sessionEpoch: -1,
      forgottenTopicsData: [],
      rackId: "",
      ...rest,
      topics: topics.map(({ topic, partitions }) => ({
        ...this.topicPlace(topic, version),
        partitions: partitions.map((partition) => ({
          partition: 0,
          fetchOffset: 0,
          currentLeaderEpoch: -1,
          lastFetchedEpoch: -1,
          logStartOffset: -1,
          partitionMaxBytes: 1_000_000,
          ...partition,
        })),
      })),
    } as Encodable<typeof fetchRequest>);
  }

  /** How a Fetch names a topic. */
  topicPlace(topic: string, version: number): { topic: string } | { topicId: Uuid } {
    if (version < 13) return { topic };
    return { topicId: this.controller.image().topicByName(topic)?.id ?? UNKNOWN_TOPIC_ID };
  }

  /** Fetches one partition and gives its part of the answer. */
  async fetched(
    topic: string,
    partition: FetchPartitionBody = {},
    body: FetchBody = {},
    version = 12,
  ): Promise<Decoded<typeof fetchResponse>["responses"][number]["partitions"][number]> {
    const topics = [{ topic, partitions: [partition] }];
    const answer = await this.run(this.fetch({ ...body, topics }, version).answer);
    assert.equal(answer!.errorCode, ErrorCode.NONE);
    return answer!.responses[0]!.partitions[0]!;
  }
}

/** No topic has it. */
export const UNKNOWN_TOPIC_ID = "BBBBBBBBBBBBBBBBBBBBBB" as Uuid;

/** Lets this node follow another one, as of an epoch, in a partition that it has. */
export function follow(partition: Partition, leader: number, epoch: number): void {
  partition.updateImage({
    ...partition.image,
    replicas: [NODE_ID, leader],
    isr: [NODE_ID, leader],
    leader,
    leaderEpoch: leaderEpoch(epoch),
    partitionEpoch: 1,
  });
}

/** A batch of `count` records of `valueBytes` bytes, keyed, from 2026-01-01 on. */
export function batch(
  count = 1,
  { valueBytes = 10, firstTimestamp = Date.UTC(2026, 0, 1), fill = 1, ...options }:
    & { readonly valueBytes?: number; readonly firstTimestamp?: number; readonly fill?: number }
    & Partial<Omit<NewBatch, "records">> = {},
): Uint8Array {
  const records = Array.from({ length: count }, (_, index) => ({
    key: new Uint8Array([index]),
    value: new Uint8Array(valueBytes).fill(fill),
    headers: [],
    timestamp: firstTimestamp + index,
  }));
  return buildBatch({ records, ...options } as NewBatch);
}
