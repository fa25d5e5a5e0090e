/**
 * How long many members of one group take until each partition is with exactly one of them, and all have heard of the
 * same epoch, or generation.
 *
 * Each member is a connection of its own and does what Apache Kafka's consumer does: one of the consumer protocol sends
 * a heartbeat when it has taken or given up partitions, else when the interval is over that it was told; one of the
 * classic protocol joins, joins again with the id that it was given, syncs, and joins anew when a heartbeat says so.
 */

import {
  consumerGroupHeartbeatRequest,
  type ConsumerGroupHeartbeatResponse,
  consumerGroupHeartbeatResponse,
} from "../../protocol/schemas/consumer_group_heartbeat.ts";
import { Writer } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import { heartbeatRequest, heartbeatResponse } from "../../protocol/schemas/heartbeat.ts";
import { joinGroupRequest, joinGroupResponse } from "../../protocol/schemas/join_group.ts";
import { consumerProtocolSubscription } from "../../protocol/schemas/records/consumer_protocol.ts";
import type { Uuid } from "../../protocol/types.ts";
import { syncGroupRequest, syncGroupResponse } from "../../protocol/schemas/sync_group.ts";
import { decodeAssignment, encodeAssignment } from "../../broker/groups/consumer_protocol.ts";
import { scratchDirectory, startWeir } from "../compat/harness.ts";
import { ClosedError, Wire } from "../compat/wire.ts";
import {
  cpuSecondsOf,
  loadAverage,
  longestHoldMs,
  metricsOf,
  peakResidentBytes,
} from "./broker_figures.ts";
import { createBenchTopic, groupName, whenCoordinated } from "./groups_bench_setup.ts";

const TOPIC = "orders";
const GROUP = groupName(0);
const SESSION_TIMEOUT_MS = 45_000;
const REBALANCE_TIMEOUT_MS = 300_000;
const CLASSIC_HEARTBEAT_MS = 3_000;
const SUBSCRIPTION_VERSION = 1;

/** How many, and of which protocol. */
export interface MembersBenchOptions {
  readonly members: number;
  readonly partitions: number;
  readonly protocol: "consumer" | "classic";
  readonly command?: readonly string[];
  readonly dataDirectory?: string;
}

/** What came of it. */
export interface MembersFigures {
  /** From the first request to join. */
  readonly settledMs: number;
  readonly requests: number;
  readonly cpuSeconds: number;
  readonly peakResidentBytes: number;
}

/** Members that wait, and those who look whether all is settled. */
class Bench {
  readonly members: Member[] = [];
  readonly stopping = new AbortController();
  readonly #partitions: number;
  readonly #settled = Promise.withResolvers<void>();
  requests = 0;

  constructor(partitions: number) {
    this.#partitions = partitions;
  }

  /** Resolves once all is settled. Errors: those of the members. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  failed(error: unknown): void {
    if (!this.stopping.signal.aborted) this.#settled.reject(error);
  }

  /** A member has other partitions, or another epoch, than before. */
  changed(): void {
    const [{ epoch }] = this.members as [Member];
    const owned = new Set<number>();
    let count = 0;
    for (const member of this.members) {
      if (member.epoch !== epoch) return;
      count += member.owned.length;
      for (const partition of member.owned) owned.add(partition);
    }
    if (count === this.#partitions && owned.size === count) this.#settled.resolve();
  }

  /** Waits as long, or until the end. */
  async pause(delayMs: number): Promise<void> {
    const { signal } = this.stopping;
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, delayMs);
      signal.addEventListener("abort", end);
    });
  }
}

interface Member {
  readonly epoch: number;
  readonly owned: readonly number[];
  run(): Promise<void>;
  close(): void;
}

class ConsumerMember implements Member {
  readonly #wire: Wire;
  readonly #bench: Bench;
  readonly #memberId = crypto.randomUUID();
  epoch = 0;
  owned: readonly number[] = [];

  constructor(wire: Wire, bench: Bench) {
    this.#wire = wire;
    this.#bench = bench;
  }

  async run(): Promise<void> {
    let topicId: Uuid | null = null;
    let hasNews = true;
    while (!this.#bench.stopping.signal.aborted) {
      this.#bench.requests += 1;
      const isJoining = this.epoch === 0;
      const answer: ConsumerGroupHeartbeatResponse = await this.#wire.send(
        consumerGroupHeartbeatRequest,
        consumerGroupHeartbeatResponse,
        1,
        {
          groupId: GROUP,
          memberId: this.#memberId,
          memberEpoch: this.epoch,
          rebalanceTimeoutMs: isJoining ? REBALANCE_TIMEOUT_MS : -1,
          subscribedTopicNames: isJoining ? [TOPIC] : null,
          topicPartitions: !hasNews
            ? null
            : topicId === null || this.owned.length === 0
            ? []
            : [{ topicId, partitions: [...this.owned] }],
        },
      );
      check(answer.errorCode, answer.errorMessage);
      this.epoch = answer.memberEpoch;
      hasNews = answer.assignment !== null;
      if (answer.assignment !== null) {
        const [assigned] = answer.assignment.topicPartitions;
        topicId = assigned?.topicId ?? topicId;
        this.owned = assigned?.partitions ?? [];
      }
      this.#bench.changed();
      if (!hasNews) await this.#bench.pause(answer.heartbeatIntervalMs);
    }
  }

  close(): void {
    this.#wire.close();
  }
}

class ClassicMember implements Member {
  readonly #wire: Wire;
  readonly #bench: Bench;
  readonly #partitions: number;
  #memberId = "";
  epoch = -1;
  owned: readonly number[] = [];

  constructor(wire: Wire, bench: Bench, partitions: number) {
    this.#wire = wire;
    this.#bench = bench;
    this.#partitions = partitions;
  }

  async run(): Promise<void> {
    while (!this.#bench.stopping.signal.aborted) {
      if (await this.#rejoin()) await this.#stay();
    }
  }

  /** Returns: false when the group is being rebalanced again. */
  async #rejoin(): Promise<boolean> {
    this.#bench.requests += 2;
    const joined = await this.#wire.send(joinGroupRequest, joinGroupResponse, 9, {
      groupId: GROUP,
      sessionTimeoutMs: SESSION_TIMEOUT_MS,
      rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS,
      memberId: this.#memberId,
      protocolType: "consumer",
      protocols: [{ name: "range", metadata: SUBSCRIPTION }],
    });
    this.#memberId = joined.memberId;
    if (joined.errorCode === ErrorCode.MEMBER_ID_REQUIRED) return false;
    check(joined.errorCode);
    const isLeader = joined.leader === joined.memberId;
    const synced = await this.#wire.send(syncGroupRequest, syncGroupResponse, 5, {
      groupId: GROUP,
      generationId: joined.generationId,
      memberId: this.#memberId,
      protocolType: "consumer",
      protocolName: "range",
      assignments: isLeader ? this.#assign(joined.members.map(({ memberId }) => memberId)) : [],
    });
    if (synced.errorCode === ErrorCode.REBALANCE_IN_PROGRESS) return false;
    check(synced.errorCode);
    this.epoch = joined.generationId;
    this.owned = decodeAssignment(synced.assignment)?.get(TOPIC) ?? [];
    this.#bench.changed();
    return true;
  }

  /** Every partition in turn to the next member. */
  #assign(memberIds: readonly string[]) {
    return memberIds.map((memberId, index) => {
      const partitions: number[] = [];
      for (let at = index; at < this.#partitions; at += memberIds.length) partitions.push(at);
      const assignment = encodeAssignment(new Map([[TOPIC, partitions]]), SUBSCRIPTION_VERSION);
      return { memberId, assignment };
    });
  }

  /** Returns: when the group is rebalanced. */
  async #stay(): Promise<void> {
    for (;;) {
      await this.#bench.pause(CLASSIC_HEARTBEAT_MS);
      if (this.#bench.stopping.signal.aborted) return;
      this.#bench.requests += 1;
      const { errorCode } = await this.#wire.send(heartbeatRequest, heartbeatResponse, 4, {
        groupId: GROUP,
        generationId: this.epoch,
        memberId: this.#memberId,
      });
      if (errorCode === ErrorCode.REBALANCE_IN_PROGRESS) return;
      check(errorCode);
    }
  }

  close(): void {
    this.#wire.close();
  }
}

const SUBSCRIPTION = encodeSubscription();

function encodeSubscription(): Uint8Array {
  const writer = new Writer();
  writer.int16(SUBSCRIPTION_VERSION);
  const fields = { topics: [TOPIC], userData: null, ownedPartitions: [] };
  codec(consumerProtocolSubscription, SUBSCRIPTION_VERSION).encode(writer, fields);
  return writer.finish();
}

function check(error: number, message: string | null = null): void {
  if (error === ErrorCode.NONE) return;
  throw new Error(`Cannot measure members: one was answered ${errorName(error)} ${message ?? ""}`);
}

/** Lets members join one group all at once. */
export async function membersBench(options: MembersBenchOptions): Promise<MembersFigures> {
  const { members, partitions, protocol, command, dataDirectory } = options;
  const broker = await startWeir({
    dataDirectory: dataDirectory ?? scratchDirectory("members"),
    ...(command !== undefined && { command }),
    // Kafka's bound for a classic group is not in the way of as many.
    settings: { "group.consumer.max.size": String(members) },
  });
  const isOurs = broker.httpPort > 0;
  await createBenchTopic(broker, TOPIC, partitions);
  await whenCoordinated(broker, [GROUP]);
  const bench = new Bench(partitions);
  for (let index = 0; index < members; index++) {
    const wire = await Wire.connect(broker.bootstrap, `member-${index}`);
    bench.members.push(
      protocol === "consumer"
        ? new ConsumerMember(wire, bench)
        : new ClassicMember(wire, bench, partitions),
    );
  }
  const metricsBefore = isOurs ? await metricsOf(broker) : "";
  const cpuBefore = cpuSecondsOf(broker.pid);
  const startMs = performance.now();
  const running = bench.members.map((member) =>
    member.run().catch((error: unknown) => {
      if (!(error instanceof ClosedError)) bench.failed(error);
    })
  );
  await bench.settled;
  const figures = {
    settledMs: performance.now() - startMs,
    requests: bench.requests,
    cpuSeconds: cpuSecondsOf(broker.pid) - cpuBefore,
    peakResidentBytes: peakResidentBytes(broker.pid),
  };
  const heldMs = isOurs ? longestHoldMs(await metricsOf(broker), metricsBefore) : NaN;
  bench.stopping.abort();
  for (const member of bench.members) member.close();
  await Promise.all(running);
  await broker.stop();
  console.log(
    `${members} ${protocol} members, ${partitions} partitions: settled in ` +
      `${(figures.settledMs / 1000).toFixed(2)} s with ${figures.requests} requests, ` +
      `${figures.cpuSeconds.toFixed(2)} s of CPU, at most ` +
      `${(figures.peakResidentBytes / 1e6).toFixed(0)} MB resident, event loop held up to ` +
      `${heldMs.toFixed(0)} ms; ${loadAverage()}`,
  );
  return figures;
}
