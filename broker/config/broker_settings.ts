/**
 * The settings of a broker that weir acts on, under Kafka's names; weir's own begin with `weir.` or
 * `http.`. Names that Kafka knows and weir does not act on are in `unused_settings.ts`.
 *
 * Where a default is not Kafka's, the sentence says so: a fresh weir is one node on one machine, which
 * keeps its data beside it and is reached from that machine only.
 *
 * Source: `spec/configs.json` (Kafka 4.4), KIP-226 for what may change while running; the sentences are
 * ours.
 */

import {
  addressListProblem,
  advertisedListenersProblem,
  listenersProblem,
  securityProtocolMapProblem,
} from "./listeners.ts";
import { bootstrapServersProblem, votersProblem } from "./roles.ts";
import { GATEWAY_SOCKET_SETTINGS } from "./gateway_settings.ts";
import {
  boolean,
  double,
  int,
  INT_MAX,
  list,
  long,
  LONG_MAX,
  parseList,
  type Setting,
  short,
  string,
} from "./setting.ts";
import { TOPIC_SETTINGS } from "./topic_settings.ts";

const high = { importance: "high" } as const;
const low = { importance: "low" } as const;
const pending = { pending: true } as const;
const dynamic = { mode: "cluster-wide" } as const;
const topic = TOPIC_SETTINGS;

/** What connects a node with its clients and with the network. */
const NETWORK = {
  "listeners": list("PLAINTEXT://127.0.0.1:9092", {
    ...high,
    check: listenersProblem,
    doc:
      "Where the Kafka protocol is served, as NAME://host:port; an empty host is every address. " +
      "Kafka's default is every address.",
  }),
  "advertised.listeners": list(null, {
    ...high,
    check: advertisedListenersProblem,
    doc:
      "Addresses that clients are told to connect to; the address that a client reached when not set.",
  }),
  "listener.security.protocol.map": string("PLAINTEXT:PLAINTEXT", {
    ...low,
    check: securityProtocolMapProblem,
    doc: "Security protocol of each listener name. Kafka's default names its four protocols.",
  }),
  "inter.broker.listener.name": string(null, {
    doc: "Listener that brokers use among themselves; the first when not set.",
  }),
  "controller.listener.names": list(null, {
    ...high,
    doc:
      "Listeners for controllers and those who speak to them, of which nodes use the first; closed without " +
      "process.roles.",
  }),
  "http.listeners": list("127.0.0.1:8080", {
    check: addressListProblem,
    doc: "Where HTTP is served, as host:port; empty for nowhere.",
  }),
  "socket.request.max.bytes": int("104857600", {
    ...high,
    min: 1,
    unit: "bytes",
    doc: "Largest request that is read.",
  }),
  "connections.max.idle.ms": long("600000", {
    min: 1,
    unit: "ms",
    doc: "How long a connection may be silent before it is closed.",
  }),
  "max.connections": int(String(INT_MAX) as "2147483647", {
    ...dynamic,
    min: 0,
    doc: "Most connections at one time.",
  }),
  "max.connections.per.ip": int(String(INT_MAX) as "2147483647", {
    ...dynamic,
    min: 0,
    doc: "Most connections from one address at one time.",
  }),
  "request.timeout.ms": int("30000", {
    ...high,
    min: 1,
    unit: "ms",
    doc:
      "How long a broker waits for what a request needs from elsewhere: an active controller, for one.",
  }),
  "max.request.partition.size.limit": int("2000", {
    min: 1,
    doc: "Most partitions in one answer of DescribeTopicPartitions.",
  }),
} as const satisfies Readonly<Record<string, Setting>>;

/** Who the node is, and where its data lies. */
const NODE = {
  "process.roles": list(null, {
    ...high,
    allowed: ["broker", "controller"],
    doc:
      "What this node is in a cluster of several; a broker and a controller that needs no other node when " +
      "not set. Kafka has no default.",
  }),
  "controller.quorum.voters": list("", {
    ...high,
    check: votersProblem,
    doc: "The controllers, for good, as id@host:port.",
  }),
  "controller.quorum.bootstrap.servers": list("", {
    ...high,
    check: bootstrapServersProblem,
    doc:
      "Where some of the controllers are, as host:port, when the metadata log says who they are; a new " +
      "controller that names none but itself begins a cluster.",
  }),
  "controller.quorum.auto.join.enable": boolean("false", {
    ...low,
    doc:
      "Whether a controller that has no vote asks for one, and takes the place of itself with another directory: " +
      "where kraft.version is 1.",
  }),
  "controller.quorum.election.timeout.ms": int("1000", {
    ...high,
    min: 0,
    unit: "ms",
    doc:
      "How long a controller without a leader waits before it stands for election, and as much by chance.",
  }),
  "controller.quorum.election.backoff.max.ms": int("1000", {
    ...high,
    min: 0,
    unit: "ms",
    doc: "Longest wait between two elections that nobody won.",
  }),
  "controller.quorum.fetch.timeout.ms": int("1200", {
    ...high,
    min: 0,
    unit: "ms",
    doc:
      "How long a controller waits for the leader's answers before it stands for election; a leader that a " +
      "majority is silent to for half as long again steps down. Kafka's default is 2000.",
  }),
  "controller.quorum.request.timeout.ms": int("2000", {
    min: 0,
    unit: "ms",
    doc: "How long a controller waits for the answer to one request of the quorum.",
  }),
  "controller.quorum.retry.backoff.ms": int("20", {
    ...low,
    min: 0,
    unit: "ms",
    doc: "Wait before a request of the quorum that failed is made again.",
  }),
  "controller.quorum.fetch.max.bytes": int("1048576", {
    ...low,
    min: 1,
    unit: "bytes",
    doc: "Most records of the metadata that are asked for at once.",
  }),
  "controller.quorum.fetch.snapshot.max.bytes": int("1048576", {
    ...low,
    min: 1,
    unit: "bytes",
    doc: "Most of a snapshot of the metadata that is asked for at once.",
  }),
  "node.id": int("1", {
    ...high,
    min: 0,
    doc: "Number of this node in its cluster. Kafka has no default.",
  }),
  "broker.rack": string(null, { doc: "Place of this node; replicas are spread over places." }),
  "log.dirs": list(null, {
    ...high,
    doc:
      "Directories that hold the data, one for each disk; log.dir when not set. A new partition goes to " +
      "the disk with the most room.",
  }),
  "log.dir": list("./data", {
    ...high,
    doc:
      "Directory that holds the data where log.dirs is not set. Kafka's default is /tmp/kafka-logs.",
  }),
  "metadata.log.dir": string(null, {
    ...high,
    doc: "Directory that holds the metadata log; the first of log.dirs when not set.",
  }),
  "log.dir.failure.timeout.ms": long("30000", {
    ...low,
    min: 1,
    unit: "ms",
    doc:
      "How long the controller may take to hear of a log directory that has failed; the process ends after it.",
  }),
  "cordoned.log.dirs": list("", {
    mode: "per-broker",
    doc:
      "Directories of log.dirs that get no new partitions, by the names that log.dirs gives them; * for all.",
  }),
  "num.replica.fetchers": int("1", {
    ...high,
    min: 1,
    doc:
      "Connections over which this node fetches from one leader; its partitions are spread over them.",
  }),
  "replica.fetch.max.bytes": int("1048576", {
    min: 0,
    unit: "bytes",
    doc: "Bytes that one fetch of a follower asks of one partition; a larger batch comes whole.",
  }),
  "replica.fetch.response.max.bytes": int("10485760", {
    min: 0,
    unit: "bytes",
    doc: "Bytes that one fetch of a follower asks for; a larger batch comes whole.",
  }),
  "replica.fetch.min.bytes": int("1", {
    ...high,
    unit: "bytes",
    doc: "Bytes that the leader waits for until it answers the fetch of a follower.",
  }),
  "replica.fetch.wait.max.ms": int("500", {
    ...high,
    unit: "ms",
    doc: "How long the fetch of a follower waits at its leader at most.",
  }),
  "replica.fetch.backoff.ms": int("1000", {
    min: 0,
    unit: "ms",
    doc:
      "The longest time after which a partition or leader that could not be fetched is tried again.",
  }),
  "replica.socket.timeout.ms": int("30000", {
    ...high,
    unit: "ms",
    doc:
      "How long the fetch of a follower may take; weir gives up earlier, shortly after its wait.",
  }),
  "replica.selector.class": string(null, {
    doc:
      "How consumers find a replica to read from: org.apache.kafka.common.replica.RackAwareReplicaSelector " +
      "for one in their own rack; from the leader with anything else.",
  }),
  "replica.lag.time.max.ms": long("30000", {
    ...high,
    unit: "ms",
    doc: "How long a follower may lack records until it is not in sync any more.",
  }),
  "num.replica.alter.log.dirs.threads": int(null, {
    ...high,
    doc:
      "Replicas that are copied from one log directory to another at the same time; as many as there are " +
      "directories when not set.",
  }),
  "auto.create.topics.enable": boolean("true", {
    ...high,
    doc: "Whether asking for a topic that is not there makes it.",
  }),
  "delete.topic.enable": boolean("true", { ...high, doc: "Whether topics can be deleted." }),
  "num.partitions": int("1", {
    min: 1,
    doc: "Partitions of a topic that is made without saying how many.",
  }),
  "default.replication.factor": int("1", {
    min: 1,
    doc: "Replicas of a topic that is made without saying how many.",
  }),
  "num.recovery.threads.per.data.dir": int("2", {
    ...high,
    ...dynamic,
    min: 1,
    doc: "Logs of one directory that are recovered at the same time, each on a thread of its own.",
  }),
  "metadata.log.segment.bytes": int("1073741824", {
    ...high,
    min: 8_388_608,
    unit: "bytes",
    doc: "Size at which a segment of the metadata log is closed; a snapshot closes it earlier.",
  }),
  "metadata.log.segment.ms": long("604800000", {
    ...high,
    min: 1,
    unit: "ms",
    doc: "Age at which a segment of the metadata log is closed.",
  }),
  "metadata.log.max.record.bytes.between.snapshots": long("20971520", {
    ...high,
    min: 1,
    unit: "bytes",
    doc: "Bytes of metadata records after which a snapshot is written.",
  }),
  "metadata.log.max.snapshot.interval.ms": long("3600000", {
    ...high,
    min: 0,
    unit: "ms",
    doc:
      "Time after a change of the metadata after which a snapshot is written; 0 for no such time.",
  }),
  "metadata.max.retention.bytes": long("104857600", {
    ...high,
    unit: "bytes",
    doc:
      "Size of the metadata log and its snapshots beyond which the oldest go; -1 for no bound. " +
      "The two newest snapshots and what follows them stay.",
  }),
  "metadata.max.retention.ms": long("604800000", {
    ...high,
    unit: "ms",
    doc:
      "Age of a snapshot beyond which it goes, with the log before the next one; -1 for no bound.",
  }),
} as const satisfies Readonly<Record<string, Setting>>;

/** What stands in for a topic's settings; each has the bounds of the topic's. */
const TOPIC_DEFAULTS = {
  "log.cleanup.policy": list("delete", { ...topic["cleanup.policy"], ...dynamic }),
  "compression.type": string("producer", { ...topic["compression.type"], ...high, ...dynamic }),
  "compression.gzip.level": int("-1", { ...topic["compression.gzip.level"], ...dynamic }),
  "compression.lz4.level": int("9", { ...topic["compression.lz4.level"], ...dynamic }),
  "compression.zstd.level": int("3", { ...topic["compression.zstd.level"], ...dynamic }),
  "log.cleaner.delete.retention.ms": long("86400000", {
    ...topic["delete.retention.ms"],
    ...dynamic,
  }),
  "log.cleaner.min.compaction.lag.ms": long("0", { ...topic["min.compaction.lag.ms"], ...dynamic }),
  "log.cleaner.max.compaction.lag.ms": long(LONG_MAX, {
    ...topic["max.compaction.lag.ms"],
    ...dynamic,
  }),
  "log.cleaner.min.cleanable.ratio": double("0.5", {
    ...topic["min.cleanable.dirty.ratio"],
    ...dynamic,
  }),
  "log.segment.delete.delay.ms": long("60000", {
    ...topic["file.delete.delay.ms"],
    ...high,
    ...dynamic,
  }),
  "log.flush.interval.messages": long(LONG_MAX, {
    ...topic["flush.messages"],
    ...high,
    ...dynamic,
  }),
  "log.flush.interval.ms": long(null, { ...topic["flush.ms"], ...high, ...dynamic }),
  "log.flush.scheduler.interval.ms": long(LONG_MAX, { ...topic["flush.ms"], ...high }),
  "log.index.interval.bytes": int("4096", { ...topic["index.interval.bytes"], ...dynamic }),
  "log.index.size.max.bytes": int("10485760", { ...topic["segment.index.bytes"], ...dynamic }),
  "log.local.retention.bytes": long("-2", { ...topic["local.retention.bytes"], ...dynamic }),
  "log.local.retention.ms": long("-2", { ...topic["local.retention.ms"], ...dynamic }),
  "log.remote.copy.lag.bytes": long("-1", { ...topic["remote.copy.lag.bytes"], ...dynamic }),
  "log.remote.copy.lag.ms": long("0", { ...topic["remote.copy.lag.ms"], ...dynamic }),
  "max.decompressed.message.bytes": int("2147483639", {
    ...topic["max.decompressed.message.bytes"],
    ...dynamic,
  }),
  "message.max.bytes": int("1048588", { ...topic["max.message.bytes"], ...high, ...dynamic }),
  "log.message.timestamp.type": string("CreateTime", {
    ...topic["message.timestamp.type"],
    ...dynamic,
  }),
  "log.message.timestamp.before.max.ms": long(LONG_MAX, {
    ...topic["message.timestamp.before.max.ms"],
    ...dynamic,
  }),
  "log.message.timestamp.after.max.ms": long("3600000", {
    ...topic["message.timestamp.after.max.ms"],
    ...dynamic,
  }),
  "min.insync.replicas": int("1", { ...topic["min.insync.replicas"], ...high, ...dynamic }),
  "log.preallocate": boolean("false", { ...topic["preallocate"], ...dynamic }),
  "log.retention.bytes": long("-1", { ...topic["retention.bytes"], ...high, ...dynamic }),
  "log.retention.ms": long(null, { ...topic["retention.ms"], ...high, ...dynamic }),
  "log.retention.minutes": int(null, {
    ...high,
    unit: "minutes",
    doc:
      "Age beyond which segments are deleted, where log.retention.ms is not set; -1 for no bound.",
  }),
  "log.retention.hours": int("168", {
    ...high,
    unit: "hours",
    doc:
      "Age beyond which segments are deleted, where neither ms nor minutes is set; -1 for no bound.",
  }),
  "log.segment.bytes": int("1073741824", { ...topic["segment.bytes"], ...high, ...dynamic }),
  "log.roll.ms": long(null, { ...topic["segment.ms"], ...high, ...dynamic }),
  "log.roll.hours": int("168", {
    ...high,
    min: 1,
    unit: "hours",
    doc: "Age at which a segment is closed although it is not full, where log.roll.ms is not set.",
  }),
  "log.roll.jitter.ms": long(null, { ...topic["segment.jitter.ms"], ...high, ...dynamic }),
  "log.roll.jitter.hours": int("0", {
    ...high,
    min: 0,
    unit: "hours",
    doc: "Most that is taken off log.roll.hours at random, where log.roll.jitter.ms is not set.",
  }),
  "unclean.leader.election.enable": boolean("false", {
    ...topic["unclean.leader.election.enable"],
    ...high,
    ...dynamic,
  }),
} as const satisfies Readonly<Record<string, Setting>>;

/** What the broker does in the background, and how much of a kind it keeps. */
const WORK = {
  "log.retention.check.interval.ms": long("300000", {
    min: 1,
    unit: "ms",
    doc: "Time between two looks for segments to delete.",
  }),
  "log.flush.offset.checkpoint.interval.ms": int("60000", {
    ...pending,
    ...high,
    min: 0,
    unit: "ms",
    doc: "Time between two writes of the recovery points.",
  }),
  "log.flush.start.offset.checkpoint.interval.ms": int("60000", {
    ...pending,
    ...high,
    min: 0,
    unit: "ms",
    doc: "Time between two writes of the log start offsets.",
  }),
  "log.cleaner.enable": boolean("true", {
    doc: "Whether compacted topics are compacted.",
  }),
  "log.cleaner.backoff.ms": long("15000", {
    ...dynamic,
    min: 0,
    unit: "ms",
    doc: "Time between two looks for logs to compact, 100 ms at least.",
  }),
  "log.cleaner.dedupe.buffer.size": long("16777216", {
    ...dynamic,
    unit: "bytes",
    doc:
      "Memory for the keys of one pass over a log, 24 bytes each; 1 MiB at least. More keys take more " +
      "passes. Kafka's default is 134217728.",
  }),
  "log.cleaner.io.buffer.load.factor": double("0.9", {
    ...dynamic,
    doc: "Share of log.cleaner.dedupe.buffer.size that may be filled; a fuller one is slower.",
  }),
  "log.cleaner.io.buffer.size": int("524288", {
    ...dynamic,
    min: 0,
    unit: "bytes",
    doc: "Memory for reading and writing while a log is compacted.",
  }),
  "log.cleaner.io.max.bytes.per.second": double("1.7976931348623157E308", {
    ...dynamic,
    doc: "Most bytes that compaction reads and writes in a second, both together.",
  }),
  "fetch.max.bytes": int("57671680", {
    min: 1024,
    unit: "bytes",
    doc: "Most bytes in one answer to Fetch.",
  }),
  "max.incremental.fetch.session.cache.slots": int("1000", {
    min: 0,
    doc: "Most fetch sessions that are remembered.",
  }),
  "producer.id.expiration.ms": int("86400000", {
    ...low,
    min: 1,
    unit: "ms",
    doc: "How long an idempotent producer that is silent is remembered.",
  }),
  "producer.id.expiration.check.interval.ms": int("600000", {
    ...low,
    min: 1,
    unit: "ms",
    doc: "Time between two looks for producers that have been silent for too long.",
  }),
  "transaction.max.timeout.ms": int("900000", {
    ...high,
    min: 1,
    unit: "ms",
    doc: "Longest timeout that a transactional producer may ask for.",
  }),
  "transactional.id.expiration.ms": int("604800000", {
    ...high,
    min: 1,
    unit: "ms",
    doc: "How long a transactional id is remembered that is not used.",
  }),
  "transaction.remove.expired.transaction.cleanup.interval.ms": int("3600000", {
    ...low,
    min: 1,
    unit: "ms",
    doc: "Time between two looks for transactional ids that have not been used for too long.",
  }),
  "transaction.abort.timed.out.transaction.cleanup.interval.ms": int("10000", {
    ...low,
    min: 1,
    unit: "ms",
    doc:
      "How soon the abort of a transaction that took too long is tried again, where it could not be written. " +
      "The first try comes with the transaction's own timeout; Kafka looks for such transactions at this interval.",
  }),
  "transaction.state.log.num.partitions": int("50", {
    ...high,
    min: 1,
    doc: "Partitions of __transaction_state; not to be changed once the topic is there.",
  }),
  "transaction.state.log.replication.factor": short(null, {
    ...high,
    min: 1,
    doc:
      "Replicas of __transaction_state; when not set, 3, or as many as there are brokers when it is made. " +
      "Kafka's default is 3.",
  }),
  "transaction.state.log.min.isr": int(null, {
    ...high,
    min: 1,
    doc:
      "In-sync replicas that a decision has to be in; when not set, 2, or 1 where __transaction_state has one " +
      "replica. Kafka's default is 2.",
  }),
  "transaction.state.log.segment.bytes": int("104857600", {
    ...high,
    min: 1,
    unit: "bytes",
    doc: "Size of the segments of __transaction_state.",
  }),
  "transaction.partition.verification.enable": boolean("true", {
    ...low,
    ...dynamic,
    doc:
      "Whether the coordinator of a transaction is asked before its first batch is appended to a partition.",
  }),
  "add.partitions.to.txn.retry.backoff.ms": int("20", {
    ...high,
    min: 1,
    unit: "ms",
    doc:
      "Time between two tries to add partitions to a transaction while the one before is being ended.",
  }),
  "add.partitions.to.txn.retry.backoff.max.ms": int("100", {
    ...high,
    min: 0,
    unit: "ms",
    doc:
      "How long a broker tries to add partitions to a transaction while the one before is being ended.",
  }),
} as const satisfies Readonly<Record<string, Setting>>;

/** The broker has assignors of its own, and loads no classes. */
function assignorsProblem(value: string): string | null {
  const unknown = parseList(value).find((name) => name !== "uniform" && name !== "range");
  return unknown === undefined ? null : `there is no assignor ${unknown}, only uniform and range`;
}

function migrationPolicyProblem(value: string): string | null {
  const policies = ["disabled", "downgrade", "upgrade", "bidirectional"];
  return policies.includes(value.toLowerCase()) ? null : `it must be one of ${policies.join(", ")}`;
}

/** Groups and their offsets. */
const GROUPS = {
  "group.initial.rebalance.delay.ms": int("3000", {
    min: 0,
    unit: "ms",
    doc: "How long a new group waits for more members before its first rebalance.",
  }),
  "group.min.session.timeout.ms": int("6000", {
    min: 0,
    unit: "ms",
    doc: "Shortest session timeout that a member may ask for.",
  }),
  "group.max.session.timeout.ms": int("1800000", {
    min: 0,
    unit: "ms",
    doc: "Longest session timeout that a member may ask for.",
  }),
  "group.max.size": int(String(INT_MAX) as "2147483647", {
    min: 1,
    doc: "Most members of one group.",
  }),
  "group.consumer.session.timeout.ms": int("45000", {
    min: 1,
    unit: "ms",
    doc: "Time without a heartbeat after which a member of a consumer group is taken for dead.",
  }),
  "group.consumer.min.session.timeout.ms": int("45000", {
    min: 1,
    unit: "ms",
    doc: "Shortest session timeout that a consumer group may have.",
  }),
  "group.consumer.max.session.timeout.ms": int("60000", {
    min: 1,
    unit: "ms",
    doc: "Longest session timeout that a consumer group may have.",
  }),
  "group.consumer.heartbeat.interval.ms": int("5000", {
    min: 1,
    unit: "ms",
    doc: "Time between two heartbeats of a member of a consumer group.",
  }),
  "group.consumer.min.heartbeat.interval.ms": int("5000", {
    min: 1,
    unit: "ms",
    doc: "Shortest heartbeat interval that a consumer group may have.",
  }),
  "group.consumer.max.heartbeat.interval.ms": int("15000", {
    min: 1,
    unit: "ms",
    doc: "Longest heartbeat interval that a consumer group may have.",
  }),
  "group.consumer.assignment.interval.ms": int("1000", {
    mode: "cluster-wide",
    min: 0,
    unit: "ms",
    doc: "Shortest time between two assignments of a consumer group.",
  }),
  "group.consumer.min.assignment.interval.ms": int("0", {
    min: 0,
    unit: "ms",
    doc: "Shortest assignment interval that a consumer group may have.",
  }),
  "group.consumer.max.assignment.interval.ms": int("15000", {
    min: 0,
    unit: "ms",
    doc: "Longest assignment interval that a consumer group may have.",
  }),
  "group.consumer.max.size": int(String(INT_MAX) as "2147483647", {
    min: 1,
    doc: "Most members of one consumer group.",
  }),
  "group.consumer.migration.policy": string("bidirectional", {
    check: migrationPolicyProblem,
    doc: "Whether groups go over between the classic and the consumer protocol while they have " +
      "members: disabled, upgrade, downgrade or bidirectional.",
  }),
  "group.consumer.assignors": list("uniform,range", {
    check: assignorsProblem,
    doc: "Assignors that consumer groups may ask for, the first for groups that ask for none.",
  }),
  "offset.metadata.max.bytes": int("4096", {
    ...high,
    min: 0,
    unit: "bytes",
    doc: "Most bytes of text that may go with a committed offset.",
  }),
  "offsets.commit.timeout.ms": int("5000", {
    ...high,
    min: 1,
    unit: "ms",
    doc: "How long a commit may take to be stored.",
  }),
  "offsets.load.buffer.size": int("5242880", {
    ...pending,
    ...high,
    min: 1,
    unit: "bytes",
    doc: "Bytes that are read at a time while offsets are loaded.",
  }),
  "offsets.retention.minutes": int("10080", {
    ...high,
    min: 1,
    unit: "minutes",
    doc: "How long the offsets of a group without members are kept.",
  }),
  "offsets.retention.check.interval.ms": long("600000", {
    ...high,
    min: 1,
    unit: "ms",
    doc: "Time between two looks for offsets that are too old.",
  }),
  "offsets.topic.num.partitions": int("50", {
    ...high,
    min: 1,
    doc: "Partitions of __consumer_offsets; not to be changed once the topic is there.",
  }),
  "offsets.topic.replication.factor": short(null, {
    ...high,
    min: 1,
    doc:
      "Replicas of __consumer_offsets; when not set, 3, or as many as there are brokers when it is made. " +
      "Kafka's default is 3.",
  }),
  "offsets.topic.compression.codec": int("0", {
    ...high,
    min: 0,
    max: 4,
    doc: "Compression of __consumer_offsets: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.",
  }),
  "offsets.topic.segment.bytes": int("104857600", {
    ...high,
    min: 1,
    unit: "bytes",
    doc: "Size of the segments of __consumer_offsets.",
  }),
} as const satisfies Readonly<Record<string, Setting>>;

/** weir's own. */
const WEIR = {
  "weir.replica.silence.max.ms": long("3000", {
    min: 1000,
    unit: "ms",
    doc:
      "How long a follower that lacks records may fetch nothing until it is not in sync any more, though " +
      "replica.lag.time.max.ms is not over: it is dead, or cut off.",
  }),
  "weir.cluster.id": string(null, {
    doc:
      "Id of the cluster that this node belongs to: a new data directory gets it, one of another " +
      "cluster is refused. Left out: made of controller.quorum.voters, or asked of the controllers, or drawn, " +
      "at the first start, and then what the directory says.",
  }),
  "weir.memory.budget.bytes": long("67108864", {
    ...high,
    min: 1_048_576,
    unit: "bytes",
    doc: "Bytes that requests and answers of all connections may hold at one time.",
  }),
  "weir.flush.max.dirty.bytes": long("33554432", {
    min: 65_536,
    unit: "bytes",
    doc: "Bytes written and not yet on stable storage beyond which a sync is begun unasked.",
  }),
  "weir.producer.state.bytes": long("33554432", {
    min: 65_536,
    unit: "bytes",
    doc:
      "Memory for what is known of idempotent producers, 128 bytes for each in each partition; past it " +
      "those that were silent longest are forgotten early.",
  }),
  "weir.disk.reserve.bytes": long("16777216", {
    min: 0,
    unit: "bytes",
    doc: "Free space of the disk below which Produce is refused, so that the rest can go on.",
  }),
  "weir.recovery.max.bytes": long("536870912", {
    min: 1_048_576,
    unit: "bytes",
    doc:
      "Bytes of a log directory that a start after a crash may have to read again, about: beyond it " +
      "logs store what makes them shorter to recover.",
  }),
  "weir.scrub.interval.ms": long("604800000", {
    min: 60_000,
    unit: "ms",
    doc: "Time from the end of one check of all closed segments to the begin of the next.",
  }),
  "weir.scrub.max.bytes.per.second": long("8388608", {
    min: 0,
    unit: "bytes",
    doc:
      "Bytes a second that the check of closed segments reads, of each log directory; 0 switches it off.",
  }),
  "weir.shutdown.timeout.ms": int("10000", {
    min: 0,
    unit: "ms",
    doc:
      "How long a stop waits until others lead what was led here, and then for requests in progress.",
  }),
  "weir.gateway.allowed.origins": list("", {
    doc:
      "Origins such as https://shop.example whose pages may change things over HTTP; * for all. Pages of " +
      "the gateway itself always may.",
  }),
  "weir.gateway.allowed.hosts": list("", {
    doc:
      "Names under which browsers and programs may reach the HTTP port, besides addresses, names without " +
      "a dot or in a private domain, and those in listeners and advertised.listeners; * for all.",
  }),
  "weir.gateway.max.body.bytes": int("4194304", {
    min: 1024,
    unit: "bytes",
    doc: "Largest body of an HTTP request, and largest record of one that streams records.",
  }),
  "weir.gateway.memory.bytes": long("33554432", {
    min: 1_048_576,
    unit: "bytes",
    doc:
      "Bytes of large bodies of HTTP requests that may be here at one time; further ones are refused, and " +
      "may come again.",
  }),
  "weir.gateway.max.streams": int("1000", {
    min: 1,
    doc: "Streams of records over HTTP that may be open at one time, in either direction.",
  }),
  "weir.log.level": string("info", {
    allowed: ["debug", "info", "warn", "error"],
    doc: "Least level of the lines that are logged.",
  }),
  "weir.log.format": string("auto", {
    allowed: ["auto", "text", "json"],
    doc:
      "Shape of log lines: text for people, json for machines, auto by whether it is a terminal.",
  }),
} as const satisfies Readonly<Record<string, Setting>>;

const throttle = (doc: string) =>
  long(LONG_MAX, { min: 0, unit: "bytes", mode: "per-broker", doc });

/** Bounds on copying while partitions move, which the tools for that set and take back. */
const THROTTLES = {
  "follower.replication.throttled.rate": throttle(
    "Most bytes a second that this broker fetches of replicas that are throttled.",
  ),
  "leader.replication.throttled.rate": throttle(
    "Most bytes a second that this broker serves to followers of replicas that are throttled.",
  ),
  "replica.alter.log.dirs.io.max.bytes.per.second": long(LONG_MAX, {
    ...pending,
    min: 0,
    unit: "bytes",
    mode: "per-broker",
    doc: "Most bytes a second that are copied from one log directory of this broker to another.",
  }),
} as const satisfies Readonly<Record<string, Setting>>;

/** How the active controller watches over brokers and their leaderships. */
const CONTROLLER = {
  "auto.leader.rebalance.enable": boolean("true", {
    ...high,
    doc: "Whether partitions are given back to their first replica once it is in sync again.",
  }),
  "broker.heartbeat.interval.ms": int("300", {
    min: 1,
    unit: "ms",
    doc: "Time between two heartbeats of a broker to the controller. Kafka's default is 2000.",
  }),
  "broker.session.timeout.ms": int("1500", {
    min: 1,
    unit: "ms",
    doc:
      "How long a broker may be silent before others lead what it led; it decides how long partitions " +
      "stand still after a node is gone. Kafka's default is 9000.",
  }),
  "controlled.shutdown.enable": boolean("true", {
    doc: "Whether a stop first gives to other brokers what this one leads.",
  }),
  "initial.broker.registration.timeout.ms": int("2147483647", {
    unit: "ms",
    doc:
      "How long a start waits for a controller that registers it; the process ends after it. Kafka's " +
      "default is 60000: here a node waits for the others as long as they take.",
  }),
  "leader.imbalance.check.interval.seconds": long("300", {
    ...high,
    min: 1,
    doc:
      "Time between two looks for partitions that are not led by their first replica, in seconds.",
  }),
} as const satisfies Readonly<Record<string, Setting>>;

/** By name. */
export const BROKER_SETTINGS = {
  ...NETWORK,
  ...NODE,
  ...TOPIC_DEFAULTS,
  ...WORK,
  ...GROUPS,
  ...CONTROLLER,
  ...THROTTLES,
  ...WEIR,
  ...GATEWAY_SOCKET_SETTINGS,
} as const;

/** A broker's settings have these names. */
export type BrokerSettingName = keyof typeof BROKER_SETTINGS;
