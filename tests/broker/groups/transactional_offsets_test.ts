import { describe, expect, test } from "bun:test";
import { offsetFetchApi } from "../../../broker/apis/offset_fetch.ts";
import { txnOffsetCommitApi } from "../../../broker/apis/txn_offset_commit.ts";
import { writeTxnMarkersApi } from "../../../broker/apis/write_txn_markers.ts";
import { GroupOffsets } from "../../../broker/groups/group_offsets.ts";
import { ErrorCode, errorName } from "../../../protocol/errors.ts";
import { offsetFetchRequest, offsetFetchResponse } from "../../../protocol/schemas/offset_fetch.ts";
import {
  txnOffsetCommitRequest,
  txnOffsetCommitResponse,
} from "../../../protocol/schemas/txn_offset_commit.ts";
import {
  writeTxnMarkersRequest,
  writeTxnMarkersResponse,
} from "../../../protocol/schemas/write_txn_markers.ts";
import { leaderEpoch, offset, timestampMs, ZERO_UUID } from "../../../protocol/types.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { NO_PEERS } from "../partitions/harness.ts";
import { ScriptedCoordinator, verifierAsking } from "../transactions/scripted_coordinator.ts";
import { call, versionsOf } from "./api_call.ts";
import { GroupHarness } from "./harness.ts";

const ID = "t";
const PRODUCER = { producerId: 7, producerEpoch: 3 };

interface Node {
  readonly harness: GroupHarness;
  readonly coordinator: ScriptedCoordinator;
  readonly apis: ReturnType<typeof apisOf>;
}

async function started(flags: Record<string, string> = {}): Promise<Node> {
  const harness = await GroupHarness.start({ flags });
  await harness.makeTopic("__transaction_state", 2);
  await harness.ready();
  const coordinator = new ScriptedCoordinator();
  return { harness, coordinator, apis: apisOf(harness, coordinator) };
}

function apisOf(harness: GroupHarness, coordinator: ScriptedCoordinator) {
  const { config, controller, logger, replicaManager, process: clock } = harness;
  const transactionVerifier = verifierAsking(coordinator, {
    clock,
    config,
    controller,
    logger,
    peers: NO_PEERS,
  });
  const groupCoordinator = harness.coordinator;
  const parts = { clock, config, controller, replicaManager, groupCoordinator };
  return {
    commit: txnOffsetCommitApi({ ...parts, transactionVerifier }),
    fetch: offsetFetchApi(parts),
    end: writeTxnMarkersApi(parts),
  };
}

interface Commit {
  readonly version?: number;
  readonly groupId?: string;
  readonly topic?: string;
  readonly partition?: number;
  readonly offset?: number;
  readonly producerId?: number;
  readonly producerEpoch?: number;
  readonly memberId?: string;
  readonly generationId?: number;
}

async function commit({ harness, apis }: Node, over: Commit = {}): Promise<string> {
  const { version = 5, groupId = "g", topic = "t", partition = 0, offset: at = 10 } = over;
  const { producerId, producerEpoch } = { ...PRODUCER, ...over };
  const types = { request: txnOffsetCommitRequest, response: txnOffsetCommitResponse };
  const topicId = harness.controller.image().topicByName(topic)?.id ?? ZERO_UUID;
  const place = version >= 6 ? { topicId } : { name: topic };
  const answer = await call(harness, apis.commit, types, version, {
    transactionalId: ID,
    groupId,
    producerId,
    producerEpoch,
    ...(version >= 3 && {
      memberId: over.memberId ?? "",
      generationIdOrMemberEpoch: over.generationId ?? -1,
      groupInstanceId: null,
    }),
    topics: [{
      ...place,
      partitions: [{
        partitionIndex: partition,
        committedOffset: at,
        committedMetadata: "",
        ...(version >= 2 && { committedLeaderEpoch: -1 }),
      }],
    }],
  });
  return errorName(answer.topics[0]!.partitions[0]!.errorCode as ErrorCode);
}

/** The offset that is committed, or the error that is answered instead. */
async function fetched(
  { harness, apis }: Node,
  { groupId = "g", partition = 0, requireStable = false } = {},
): Promise<number | string> {
  const types = { request: offsetFetchRequest, response: offsetFetchResponse };
  const answer = await call(harness, apis.fetch, types, 7, {
    groupId,
    topics: [{ name: "t", partitionIndexes: [partition] }],
    requireStable,
  });
  if (answer.errorCode !== ErrorCode.NONE) return errorName(answer.errorCode as ErrorCode);
  const { errorCode, committedOffset } = answer.topics[0]!.partitions[0]!;
  return errorCode === ErrorCode.NONE ? committedOffset : errorName(errorCode as ErrorCode);
}

async function end(
  { harness, apis }: Node,
  isCommit: boolean,
  over: { producerEpoch?: number; coordinatorEpoch?: number; producerId?: number } = {},
): Promise<string> {
  const types = { request: writeTxnMarkersRequest, response: writeTxnMarkersResponse };
  const partitionIndexes = [harness.coordinator.partitionFor("g")];
  const answer = await call(harness, apis.end, types, 1, {
    markers: [{
      ...PRODUCER,
      coordinatorEpoch: 0,
      transactionResult: isCommit,
      topics: [{ name: "__consumer_offsets", partitionIndexes }],
      ...over,
    }],
  });
  return errorName(answer.markers[0]!.topics[0]!.partitions[0]!.errorCode as ErrorCode);
}

describe("txnOffsetCommitApi", () => {
  test("offsets stand once their transaction is committed, and are unstable until then", async () => {
    const node = await started();
    for (const version of versionsOf(node.apis.commit)) {
      const groupId = "g";
      const at = 100 + version;
      const before = await fetched(node);
      node.coordinator.transactions.set(ID, new Set([placeOf(node)]));
      expect([version, await commit(node, { version, groupId, offset: at })])
        .toEqual([version, "NONE"]);
      expect(await fetched(node)).toBe(before);
      expect(await fetched(node, { requireStable: true })).toBe("UNSTABLE_OFFSET_COMMIT");
      expect(await fetched(node, { requireStable: true, partition: 1 })).toBe(-1);
      expect(await end(node, true)).toBe("NONE");
      expect(await fetched(node, { requireStable: true })).toBe(at);
    }
  });

  test("offsets of a transaction that is aborted vanish", async () => {
    const node = await started();
    expect(await commit(node)).toBe("NONE");
    expect(await end(node, false)).toBe("NONE");
    expect(await fetched(node, { requireStable: true })).toBe(-1);
    // Nothing is left of the group.
    expect([...node.harness.coordinator.groups()]).toEqual([]);
  });

  test("the coordinator is asked for the group's partition, once for a transaction", async () => {
    const node = await started();
    expect(await commit(node)).toBe("NONE");
    expect(await commit(node, { partition: 1 })).toBe("NONE");
    const index = node.harness.coordinator.partitionFor("g");
    expect(node.coordinator.asked).toEqual([[{
      transactionalId: ID,
      ...PRODUCER,
      verifyOnly: false,
      topics: [{ name: "__consumer_offsets", partitions: [index] }],
    }]]);
  });

  test.each(
    [
      ["TRANSACTION_ABORTABLE", 3, "INVALID_TXN_STATE"],
      ["TRANSACTION_ABORTABLE", 4, "TRANSACTION_ABORTABLE"],
      ["PRODUCER_FENCED", 4, "INVALID_PRODUCER_EPOCH"],
      ["NETWORK_EXCEPTION", 4, "COORDINATOR_LOAD_IN_PROGRESS"],
      ["NETWORK_EXCEPTION", 1, "COORDINATOR_NOT_AVAILABLE"],
      ["NOT_COORDINATOR", 4, "NOT_COORDINATOR"],
    ] as const,
  )("the coordinator's %s is told version %d as %s", async (error, version, expected) => {
    const node = await started();
    node.coordinator.nextErrors = [ErrorCode[error]];
    expect(await commit(node, { version })).toBe(expected);
    expect(await fetched(node, { requireStable: true })).toBe(-1);
  });

  test("zombies, strangers and unknown places are refused", async () => {
    const node = await started();
    expect(await commit(node, { groupId: "" })).toBe("INVALID_GROUP_ID");
    expect(await commit(node, { topic: "nope" })).toBe("UNKNOWN_TOPIC_OR_PARTITION");
    expect(await commit(node, { partition: 99 })).toBe("UNKNOWN_TOPIC_OR_PARTITION");
    expect(await commit(node, { version: 6, topic: "nope" })).toBe("UNKNOWN_TOPIC_ID");
    expect(await commit(node, { generationId: 4 })).toBe("ILLEGAL_GENERATION");
    expect(await commit(node)).toBe("NONE");
    expect(await commit(node, { memberId: "m", generationId: 0 })).toBe("UNKNOWN_MEMBER_ID");
    expect(await commit(node, { producerEpoch: 2 })).toBe("INVALID_PRODUCER_EPOCH");
    expect(await end(node, true, { producerEpoch: 2 })).toBe("INVALID_PRODUCER_EPOCH");
    expect(await fetched(node, { requireStable: true })).toBe("UNSTABLE_OFFSET_COMMIT");
    expect(await end(node, true, { coordinatorEpoch: 4 })).toBe("NONE");
    expect(await end(node, true, { coordinatorEpoch: 3 })).toBe("TRANSACTION_COORDINATOR_FENCED");
  });

  test("an offset is unstable before its record is committed", async () => {
    const node = await started();
    const { harness } = node;
    const promise = commit(node);
    const index = harness.coordinator.partitionFor("g");
    const partition = harness.replicaManager.partition("__consumer_offsets", index);
    if ("error" in partition) throw new Error("not here");
    while (partition.log.endOffset === 0) await harness.run(harness.clock.sleep(0));
    expect(partition.highWatermark as number).toBe(0);
    expect(await fetched(node, { requireStable: true })).toBe("UNSTABLE_OFFSET_COMMIT");
    await promise;
  });

  test("a marker of a partition whose groups are not here is to be sent again", async () => {
    const node = await started();
    expect(await commit(node)).toBe("NONE");
    await node.harness.run(node.harness.coordinator.stop());
    expect(await end(node, true)).toBe("NOT_LEADER_OR_FOLLOWER");
  });

  test("open transactions and their offsets are there again after a restart", async () => {
    const node = await started();
    const { harness } = node;
    expect(await commit(node)).toBe("NONE");
    harness.crash();
    await harness.open();
    const again = { ...node, apis: apisOf(harness, node.coordinator) };
    await harness.run(harness.replicaManager.settled());
    await harness.run(harness.coordinator.loaded());
    expect(await fetched(again, { requireStable: true })).toBe("UNSTABLE_OFFSET_COMMIT");
    expect(await end(again, true)).toBe("NONE");
    expect(await fetched(again, { requireStable: true })).toBe(10);
  });

  test("deleted offsets, groups and topics do not come back with the marker", async () => {
    const node = await started();
    const { harness } = node;
    const { coordinator } = harness;
    expect(await commit(node)).toBe("NONE");
    await harness.run(coordinator.deleteOffsets("g", [{ topic: "t", partition: 0 }]));
    expect(await fetched(node, { requireStable: true })).toBe(-1);
    expect(await end(node, true)).toBe("NONE");
    expect(await fetched(node)).toBe(-1);
    expect(await commit(node)).toBe("NONE");
    await harness.run(coordinator.deleteGroups(["g"]));
    expect(await end(node, true)).toBe("NONE");
    expect(await fetched(node)).toBe(-1);
    expect(await commit(node)).toBe("NONE");
    await harness.run(harness.controller.deleteTopics([{ name: "t" }]));
    await harness.run(harness.clock.sleep(100));
    expect(await end(node, true)).toBe("NONE");
    expect(await fetched(node)).toBe(-1);
    expect([...coordinator.groups()]).toEqual([]);
  });
});

function placeOf({ harness }: Node): string {
  return `__consumer_offsets-${harness.coordinator.partitionFor("g")}`;
}

/** A record of `__consumer_offsets`, as the slow twin keeps it. */
type Entry =
  | { readonly kind: "plain"; readonly partition: number; readonly at: number | null }
  | {
    readonly kind: "pending";
    readonly partition: number;
    readonly at: number;
    readonly producerId: number;
  }
  | { readonly kind: "marker"; readonly producerId: number; readonly isCommit: boolean };

/** The last commit of the log stands, of those whose transactions are committed. */
function expectedOffset(log: readonly Entry[], partition: number): number | undefined {
  let found: number | null = null;
  log.forEach((entry, index) => {
    if (entry.kind === "marker" || entry.partition !== partition) return;
    if (entry.kind === "plain") found = entry.at;
    else if (endOf(log, index, entry.producerId)?.isCommit === true) found = entry.at;
  });
  return found ?? undefined;
}

function endOf(log: readonly Entry[], from: number, producerId: number) {
  return log.slice(from).find((entry): entry is Entry & { kind: "marker" } => (
    entry.kind === "marker" && entry.producerId === producerId
  ));
}

function expectedUnstable(log: readonly Entry[], partition: number): boolean {
  return log.some((entry, index) => (
    entry.kind === "pending" && entry.partition === partition &&
    endOf(log, index, entry.producerId) === undefined &&
    !log.slice(index).some((later) => (
      later.kind === "plain" && later.partition === partition && later.at === null
    ))
  ));
}

function committed(at: number) {
  return {
    offset: offset(at),
    leaderEpoch: leaderEpoch(-1),
    metadata: "",
    commitTimestampMs: timestampMs(0),
    expireTimestampMs: timestampMs(-1),
    topicId: ZERO_UUID,
  };
}

test("GroupOffsets: the last commit in the log stands, in whatever order transactions end", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = new SimRandom(seed);
    const offsets = new GroupOffsets();
    const log: Entry[] = [];
    for (let at = 1; at <= 40; at++) {
      const partition = random.between(0, 2);
      const producerId = random.between(1, 3);
      const kind = random.between(0, 9);
      if (kind < 5) {
        log.push({ kind: "pending", partition, at, producerId });
        offsets.setTransactional(producerId, "t", partition, committed(at));
      } else if (kind < 8) {
        const isCommit = random.chance(0.6);
        log.push({ kind: "marker", producerId, isCommit });
        offsets.completeTransaction(producerId, isCommit ? "commit" : "abort");
      } else {
        const value = kind === 8 ? committed(at) : null;
        log.push({ kind: "plain", partition, at: value === null ? null : at });
        offsets.set("t", partition, value);
      }
      for (const one of [0, 1, 2]) {
        const where = `seed ${seed}, record ${at}, partition ${one}`;
        const found = [where, offsets.get("t", one)?.offset as number | undefined];
        expect(found).toEqual([where, expectedOffset(log, one)]);
        expect([where, offsets.isUnstable("t", one)]).toEqual([where, expectedUnstable(log, one)]);
        const mayBeThere = found[1] !== undefined || expectedUnstable(log, one);
        expect([...offsets.keys()].some(([, partition]) => partition === one)).toBe(mayBeThere);
        expect(offsets.partitionsOf("t").includes(one)).toBe(mayBeThere);
      }
    }
    for (const producerId of [1, 2, 3]) offsets.completeTransaction(producerId, "abort");
    for (const one of [0, 1, 2]) offsets.set("t", one, null);
    expect(offsets.isEmpty).toBe(true);
  }
});
