/**
 * The settings of a group, under Kafka's names: what consumer, share and streams groups may set for
 * themselves (KIP-848, KIP-932, KIP-1071).
 *
 * Source: `spec/configs.json` (Kafka 4.4); the sentences are ours.
 */

import { boolean, int, list, type Setting, string } from "./setting.ts";

/** `latest`, `earliest` or `by_duration:` with an ISO 8601 duration. Source: KIP-932. */
function autoOffsetResetProblem(value: string): string | null {
  const duration = /^P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?$/;
  const word = value.trim().toLowerCase();
  if (word === "latest" || word === "earliest") return null;
  if (word.startsWith("by_duration:")) {
    return duration.test(word.slice("by_duration:".length).toUpperCase())
      ? null
      : "Unparseable duration, expected by_duration:PnDTnHnMn.nS";
  }
  return "Must be one of latest, earliest, by_duration:PnDTnHnMn.nS";
}

const sessionTimeoutMs = (kind: string) =>
  int("45000", {
    min: 1,
    unit: "ms",
    doc: `Time without a heartbeat after which a member of a ${kind} group is taken for dead.`,
  });
const heartbeatIntervalMs = (kind: string) =>
  int("5000", {
    min: 1,
    unit: "ms",
    doc: `Time between two heartbeats of a member of a ${kind} group.`,
  });
const assignmentIntervalMs = (kind: string) =>
  int("1000", {
    min: 0,
    unit: "ms",
    doc: `Shortest time between two assignments of a ${kind} group.`,
  });

/** By name. */
export const GROUP_SETTINGS = {
  "consumer.assignment.interval.ms": assignmentIntervalMs("consumer"),
  "consumer.heartbeat.interval.ms": heartbeatIntervalMs("consumer"),
  "consumer.session.timeout.ms": sessionTimeoutMs("consumer"),
  "errors.deadletterqueue.copy.record.enable": boolean("false", {
    doc: "Whether a dead letter carries the record itself.",
  }),
  "errors.deadletterqueue.topic.name": string("", {
    doc: "Topic that takes the dead letters of a share group; empty for none.",
  }),
  "share.assignment.interval.ms": assignmentIntervalMs("share"),
  "share.auto.offset.reset": string("latest", {
    check: autoOffsetResetProblem,
    doc:
      "Where a share group begins on a partition it has not read: latest, earliest or by_duration:…",
  }),
  "share.delivery.count.limit": int("5", {
    min: 2,
    doc: "How many times a record is handed out before it is given up.",
  }),
  "share.heartbeat.interval.ms": heartbeatIntervalMs("share"),
  "share.isolation.level": string("read_uncommitted", {
    allowed: ["read_committed", "read_uncommitted"],
    doc: "Whether a share group sees records of open and aborted transactions.",
  }),
  "share.partition.max.record.locks": int("2000", {
    min: 100,
    doc: "Most records of a partition that may be handed out at one time.",
  }),
  "share.record.lock.duration.ms": int("30000", {
    min: 1000,
    unit: "ms",
    doc: "How long a record stays with the member that it was handed to.",
  }),
  "share.renew.acknowledge.enable": boolean("true", {
    doc: "Whether a member may ask for more time with a record.",
  }),
  "share.session.timeout.ms": sessionTimeoutMs("share"),
  "streams.assignment.interval.ms": assignmentIntervalMs("streams"),
  "streams.assignor.name": string(null, {
    doc: "Assignor of a streams group; the broker's first when not set.",
  }),
  "streams.heartbeat.interval.ms": heartbeatIntervalMs("streams"),
  "streams.initial.rebalance.delay.ms": int("3000", {
    min: 0,
    unit: "ms",
    doc: "How long a new streams group waits for more members before the first assignment.",
  }),
  "streams.num.standby.replicas": int("0", {
    min: 0,
    doc: "Standby copies of each state store.",
  }),
  "streams.rack.aware.assignment.tags": list("", {
    importance: "low",
    doc: "Client tags over which standby copies are spread.",
  }),
  "streams.session.timeout.ms": sessionTimeoutMs("streams"),
} as const satisfies Readonly<Record<string, Setting>>;

/** What a consumer group sets as `consumer.*` within the broker's `group.consumer.min.*` and `.max.*`. */
export const CONSUMER_GROUP_BOUNDS = [
  "session.timeout.ms",
  "heartbeat.interval.ms",
  "assignment.interval.ms",
] as const;
