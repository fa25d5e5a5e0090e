/**
 * What the differential test asks of both brokers about transactions: of their coordinators, and of the partitions.
 *
 * A story is played once for every version of its API, with a topic, a group and a transactional id of its own. Where a
 * transaction is still being ended both say CONCURRENT_TRANSACTIONS, Kafka for longer: a step is asked until neither does.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import { ApiKey } from "../../protocol/api_keys.ts";
import type { Decoded } from "../../protocol/schema.ts";
import {
  addOffsetsToTxnRequest,
  addOffsetsToTxnResponse,
} from "../../protocol/schemas/add_offsets_to_txn.ts";
import {
  addPartitionsToTxnRequest,
  addPartitionsToTxnResponse,
} from "../../protocol/schemas/add_partitions_to_txn.ts";
import {
  describeTransactionsRequest,
  describeTransactionsResponse,
} from "../../protocol/schemas/describe_transactions.ts";
import { endTxnRequest, endTxnResponse } from "../../protocol/schemas/end_txn.ts";
import {
  findCoordinatorRequest,
  findCoordinatorResponse,
} from "../../protocol/schemas/find_coordinator.ts";
import {
  initProducerIdRequest,
  initProducerIdResponse,
} from "../../protocol/schemas/init_producer_id.ts";
import {
  listTransactionsRequest,
  listTransactionsResponse,
} from "../../protocol/schemas/list_transactions.ts";
import {
  txnOffsetCommitRequest,
  txnOffsetCommitResponse,
} from "../../protocol/schemas/txn_offset_commit.ts";
import {
  writeTxnMarkersRequest,
  writeTxnMarkersResponse,
} from "../../protocol/schemas/write_txn_markers.ts";
import {
  committed,
  coordinatorReady,
  groupOf,
  idOf,
  makeTopic,
  type State,
  type Step,
  step,
  type Story,
  topicOf,
} from "./differential_steps.ts";

const FIRST_CLAIM_VERSION = 3;
const FIRST_BROKER_VERSION = 4;
const UNKNOWN_PRODUCER = 9_999_999;

const transactionOf = (state: State) => `transaction-${topicOf(state)}`;
const isBusy = (errorCode: number) =>
  errorCode === ErrorCode.CONCURRENT_TRANSACTIONS ||
  errorCode === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;

/** Who asks: the producer of the story, with another epoch or id where a story wants that. */
interface Who {
  /** Added to the epoch that the producer was told last. */
  readonly epochs?: number;
  readonly isStranger?: boolean;
  readonly transactionalId?: string;
}

function producer(state: State, { epochs = 0, isStranger = false }: Who) {
  return {
    producerId: isStranger ? UNKNOWN_PRODUCER : state["producerId"] as number,
    producerEpoch: state["producerEpoch"] as number + epochs,
  };
}

const ready: readonly Step[] = [
  ...makeTopic({}, 3),
  step(
    "find the coordinator of the id",
    findCoordinatorRequest,
    findCoordinatorResponse,
    (state) => ({
      key: "",
      keyType: 1,
      coordinatorKeys: [transactionOf(state)],
    }),
    { compare: false },
  ),
  describe("wait for it", (state) => ["any", transactionOf(state)], { compare: false }),
];

function describe(
  title: string,
  ids: (state: State) => string[],
  more: { compare?: false; until?: string } = {},
): Step {
  const { until, ...rest } = more;
  return step(title, describeTransactionsRequest, describeTransactionsResponse, (state) => ({
    transactionalIds: ids(state),
  }), {
    ...rest,
    ...(until !== undefined && {
      until: ({ transactionStates }) => transactionStates[0]?.transactionState === until,
    }),
    pick: ({ transactionStates }, state) =>
      // Kafka keeps no order among partitions.
      transactionStates.map(({ transactionStartTimeMs, producerId, topics, ...others }) => ({
        ...others,
        hasBegun: transactionStartTimeMs > 0,
        isOwn: producerId === state["producerId"],
        topics: topics.map(({ topic, partitions }) => ({
          topic,
          partitions: partitions.toSorted(),
        })),
      })),
  });
}

/** Waits until the story's transaction is in a state, and compares what is said of it. */
const reached = (name: string, title = `until ${name}`) =>
  describe(title, (state) => [transactionOf(state)], { until: name });

function init(title: string, more: { timeoutMs?: number; claims?: Who } = {}): Step {
  const { timeoutMs = 60_000, claims } = more;
  return step(title, initProducerIdRequest, initProducerIdResponse, (state, version) => {
    if (claims !== undefined && version < FIRST_CLAIM_VERSION) return null;
    return {
      transactionalId: transactionOf(state),
      transactionTimeoutMs: timeoutMs,
      ...(claims !== undefined && producer(state, claims)),
    };
  }, {
    until: ({ errorCode }) => !isBusy(errorCode),
    keep: (state, { errorCode, producerId, producerEpoch }) => {
      if (errorCode !== ErrorCode.NONE) return;
      state["isSame"] = producerId === state["producerId"];
      Object.assign(state, { producerId, producerEpoch });
    },
    pick: ({ errorCode, producerEpoch }, state) => [errorCode, producerEpoch, state["isSame"]],
  });
}

function add(
  title: string,
  who: Who & { topics?: readonly string[]; partitions?: number[]; verifyOnly?: boolean } = {},
): Step {
  const { partitions = [0, 1], verifyOnly = false } = who;
  return step(title, addPartitionsToTxnRequest, addPartitionsToTxnResponse, (state, version) => {
    const { producerId, producerEpoch } = producer(state, who);
    const transactionalId = who.transactionalId ?? transactionOf(state);
    const topics = (who.topics ?? [topicOf(state)]).map((name) => ({ name, partitions }));
    if (version >= FIRST_BROKER_VERSION) {
      const one = { transactionalId, producerId, producerEpoch, verifyOnly, topics };
      return {
        transactions: [one],
        v3AndBelowTransactionalId: "",
        v3AndBelowProducerId: 0,
        v3AndBelowProducerEpoch: 0,
        v3AndBelowTopics: [],
      };
    }
    if (verifyOnly) return null;
    return {
      transactions: [],
      v3AndBelowTransactionalId: transactionalId,
      v3AndBelowProducerId: producerId,
      v3AndBelowProducerEpoch: producerEpoch,
      v3AndBelowTopics: topics,
    };
  }, {
    until: (answer) => !errorsOf(answer).some(([, , error]) => isBusy(error)),
    pick: errorsOf,
  });
}

function errorsOf(
  { errorCode, resultsByTransaction, resultsByTopicV3AndBelow }: Decoded<
    typeof addPartitionsToTxnResponse
  >,
) {
  const topics = [
    ...resultsByTransaction.flatMap(({ topicResults }) => topicResults),
    ...resultsByTopicV3AndBelow,
  ];
  const found = topics.flatMap(({ name, resultsByPartition }) =>
    resultsByPartition.map(({ partitionIndex, partitionErrorCode }) =>
      [name.startsWith("diff-missing"), partitionIndex, partitionErrorCode] as const
    )
  );
  return [[false, -1, errorCode] as const, ...found].toSorted((a, b) =>
    Number(a[0]) - Number(b[0]) || a[1] - b[1]
  );
}

function end(title: string, isCommit: boolean, who: Who = {}): Step {
  return step(title, endTxnRequest, endTxnResponse, (state) => ({
    transactionalId: who.transactionalId ?? transactionOf(state),
    ...producer(state, who),
    committed: isCommit,
  }), {
    until: ({ errorCode }) => !isBusy(errorCode),
    keep: (state, { errorCode, producerId, producerEpoch }) => {
      const isTold = errorCode === ErrorCode.NONE && producerId >= 0;
      if (isTold) Object.assign(state, { producerId, producerEpoch });
    },
    pick: ({ errorCode, producerId, producerEpoch }, state) => [
      errorCode,
      producerEpoch,
      producerId < 0 ? "none" : producerId === state["producerId"],
    ],
  });
}

function addOffsets(title: string, who: Who = {}): Step {
  return step(title, addOffsetsToTxnRequest, addOffsetsToTxnResponse, (state) => ({
    transactionalId: who.transactionalId ?? transactionOf(state),
    ...producer(state, who),
    groupId: groupOf(state),
  }), { until: ({ errorCode }) => !isBusy(errorCode) });
}

function commitOffset(title: string, offset: number, who: Who = {}): Step {
  return step(title, txnOffsetCommitRequest, txnOffsetCommitResponse, (state) => ({
    transactionalId: who.transactionalId ?? transactionOf(state),
    groupId: groupOf(state),
    ...producer(state, who),
    topics: [{
      name: topicOf(state),
      topicId: idOf(state),
      partitions: [{
        partitionIndex: 0,
        committedOffset: offset,
        committedLeaderEpoch: 0,
        committedMetadata: "m",
      }],
    }],
  }), {
    until: ({ topics }) =>
      !topics.some(({ partitions }) => partitions.some(({ errorCode }) => isBusy(errorCode))),
  });
}

function marker(
  title: string,
  more: { coordinatorEpoch?: number; epoch?: number; topic?: string; isCommit?: boolean } = {},
): Step {
  return step(title, writeTxnMarkersRequest, writeTxnMarkersResponse, (state) => ({
    markers: [{
      producerId: UNKNOWN_PRODUCER,
      producerEpoch: more.epoch ?? 0,
      transactionResult: more.isCommit ?? true,
      coordinatorEpoch: more.coordinatorEpoch ?? 5,
      topics: [{ name: more.topic ?? topicOf(state), partitionIndexes: [0] }],
    }],
  }), {
    pick: ({ markers }) =>
      markers.map(({ topics }) =>
        topics.map(({ partitions }) => partitions.map(({ errorCode }) => errorCode))
      ),
  });
}

function list(
  title: string,
  more: { states?: string[]; pattern?: string; durationMs?: number },
): Step {
  const { states = [], pattern, durationMs } = more;
  return step(title, listTransactionsRequest, listTransactionsResponse, (state, version) => {
    if (durationMs !== undefined && version < 1) return null;
    if (pattern !== undefined && version < 2) return null;
    return {
      stateFilters: states,
      producerIdFilters: [state["producerId"] as number],
      ...(durationMs !== undefined && { durationFilter: durationMs }),
      ...(pattern !== undefined &&
        { transactionalIdPattern: pattern.replace("TOPIC", topicOf(state)) }),
    };
  }, {
    pick: ({ errorCode, unknownStateFilters, transactionStates }) => [
      errorCode,
      unknownStateFilters,
      transactionStates.map(({ transactionState }) => transactionState),
    ],
  });
}

/** Stories about transactions. */
export const transactionStories: readonly Story[] = [
  ["gives a transactional id epochs that fence", ApiKey.InitProducerId, [
    ...ready,
    init("first"),
    init("second"),
    init("the same again goes on", { claims: {} }),
    init("an answer that got lost", { claims: { epochs: -1 } }),
    init("a zombie", { claims: { epochs: -2 } }),
    init("a stranger", { claims: { isStranger: true } }),
    init("no timeout", { timeoutMs: 0 }),
    init("too long a timeout", { timeoutMs: 900_001 }),
    add("open a transaction"),
    init("whoever comes then"),
    reached("Empty"),
  ]],
  ["lets a producer go on whose transaction is open", ApiKey.InitProducerId, [
    ...ready,
    init("begin"),
    add("open"),
    init("go on", { claims: {} }),
    reached("Empty"),
    init("an answer that got lost", { claims: { epochs: -1 } }),
  ], 3],
  ["makes partitions part of a transaction", ApiKey.AddPartitionsToTxn, [
    ...ready,
    init("begin"),
    add("two"),
    add("one of them, and another", { partitions: [1, 2] }),
    reached("Ongoing"),
    add("an older epoch", { epochs: -1 }),
    add("a newer epoch", { epochs: 1 }),
    add("another producer", { isStranger: true }),
    add("an id that nobody has", { transactionalId: "diff-nobody" }),
    add("no id", { transactionalId: "" }),
    add("a partition that is not there", { partitions: [0, 77] }),
    add("a topic that is not there", { topics: ["diff-missing"] }),
    add("only asked", { partitions: [0], verifyOnly: true }),
    add("asked with an older epoch", { epochs: -1, verifyOnly: true }),
    end("end it", true),
    add("after the end", { partitions: [2] }),
    reached("Ongoing", "and it is open"),
  ]],
  ["makes a group part of a transaction", ApiKey.AddOffsetsToTxn, [
    ...ready,
    ...coordinatorReady,
    init("begin"),
    addOffsets("the group"),
    addOffsets("again"),
    addOffsets("an older epoch", { epochs: -1 }),
    addOffsets("another producer", { isStranger: true }),
    addOffsets("an id that nobody has", { transactionalId: "diff-nobody" }),
    addOffsets("no id", { transactionalId: "" }),
  ]],
  ["ends transactions", ApiKey.EndTxn, [
    ...ready,
    init("begin"),
    end("commit of nothing", true),
    end("of an id that nobody has", true, { transactionalId: "diff-nobody" }),
    end("of no id", true, { transactionalId: "" }),
    end("of another producer", true, { isStranger: true }),
    add("open"),
    end("an older epoch", true, { epochs: -1 }),
    end("a newer epoch", true, { epochs: 1 }),
    end("commit", true),
    reached("CompleteCommit"),
    end("commit again", true),
    add("open the next"),
    end("abort", false),
    reached("CompleteAbort"),
    add("open one more"),
    end("commit after the abort", true),
    reached("CompleteCommit", "and it is committed"),
  ]],
  ["tells an end that comes again from the next one", ApiKey.EndTxn, [
    ...ready,
    init("begin"),
    add("open"),
    end("commit", true),
    reached("CompleteCommit"),
    end("commit again", true, { epochs: -1 }),
    end("abort of what is committed", false, { epochs: -1 }),
    end("commit of nothing", true),
    end("abort of nothing", false),
    reached("CompleteAbort"),
    end("abort again", false, { epochs: -1 }),
    end("commit of what is aborted", true, { epochs: -1 }),
    end("a zombie", false, { epochs: -3 }),
  ], 5],
  ["aborts nothing at all", ApiKey.EndTxn, [
    ...ready,
    init("begin"),
    end("abort", false),
    reached("CompleteAbort"),
    init("goes on", { claims: {} }),
  ], 5],
  ["describes transactions", ApiKey.DescribeTransactions, [
    ...ready,
    init("begin"),
    describe("empty, unknown, none", (state) => [transactionOf(state), "diff-nobody", ""]),
    add("open"),
    describe("open", (state) => [transactionOf(state)]),
    end("commit", true),
    reached("CompleteCommit"),
  ]],
  ["lists transactions", ApiKey.ListTransactions, [
    ...ready,
    init("begin"),
    list("any", {}),
    list("of a state", { states: ["Empty"] }),
    list("of another state", { states: ["Ongoing"] }),
    list("of no state", { states: ["Empty", "Bogus"] }),
    list("of no state at all", { states: ["Bogus"] }),
    add("open"),
    list("open ones", { states: ["Ongoing"] }),
    list("for long", { durationMs: 100_000 }),
    list("for a moment", { durationMs: 0 }),
    list("by a pattern", { pattern: "transaction-TOPIC" }),
    list("by a part of it", { pattern: "transaction-" }),
    list("by another", { pattern: "a.*" }),
    list("by no pattern", { pattern: "" }),
    list("by what is none", { pattern: "(" }),
  ]],
  ["writes markers", ApiKey.WriteTxnMarkers, [
    ...makeTopic(),
    marker("of a producer that nobody knows"),
    marker("the same again"),
    marker("an abort", { isCommit: false }),
    marker("a newer coordinator", { coordinatorEpoch: 6 }),
    marker("an older coordinator", { coordinatorEpoch: 4 }),
    marker("a newer epoch", { epoch: 3, coordinatorEpoch: 6 }),
    marker("an older epoch", { epoch: 2, coordinatorEpoch: 6 }),
    marker("a topic that is not there", { topic: "diff-missing" }),
  ]],
  ["commits offsets in transactions", ApiKey.TxnOffsetCommit, [
    ...ready,
    ...coordinatorReady,
    init("begin"),
    addOffsets("the group"),
    commitOffset("an offset", 3),
    committed("before the end"),
    commitOffset("an older epoch", 4, { epochs: -1 }),
    end("commit", true),
    reached("CompleteCommit"),
    committed("after the end"),
    addOffsets("the group again"),
    commitOffset("another", 5),
    end("abort", false),
    reached("CompleteAbort"),
    committed("after the abort"),
  ]],
];
