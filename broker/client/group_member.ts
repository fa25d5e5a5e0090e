/**
 * A member of a consumer group by the classic protocol, with the range assignor.
 *
 *     join ──→ (leader: assign) ──→ sync ──→ stable, heartbeats ──┐
 *      ↑                                                          │ REBALANCE_IN_PROGRESS,
 *      └──────────────────────────────────────────────────────────┘ a generation that has passed
 *
 * Source: KIP-62 (heartbeats), KIP-394 (member ids), ConsumerProtocol of Kafka.
 */

import { Reader, Writer } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { JoinGroupResponse } from "../../protocol/schemas/join_group.ts";
import {
  consumerProtocolAssignment,
  consumerProtocolSubscription,
} from "../../protocol/schemas/records/consumer_protocol.ts";
import type { TopicPartition } from "../../protocol/types.ts";
import type { Timer } from "../../storage/platform.ts";
import { Calls } from "./calls.ts";
import { type KafkaClient, throwOnError } from "./kafka_client.ts";

const PROTOCOL_TYPE = "consumer";
const PROTOCOL_NAME = "range";
const SESSION_TIMEOUT_MS = 45_000;
const REBALANCE_TIMEOUT_MS = 60_000;
const HEARTBEAT_EVERY_MS = 3000;
/**
 * The answer to a join comes when the rebalance is over, and may be so much later; as with Kafka's clients. A
 * coordinator whose machine lost its power says nothing, and nobody else is asked until then.
 */
const JOIN_ANSWER_MS = 5_000;
const WRITTEN_VERSION = 1;
const KNOWN_VERSION = 3;

/** An offset to be committed or that was. −1 where a partition has none. */
export interface GroupOffset extends TopicPartition {
  readonly offset: number;
}

/** Who joins what. */
export interface GroupMemberOptions {
  readonly groupId: string;
  readonly topic: string;
  /** A member of which nothing is heard for so long is taken for gone. */
  readonly sessionTimeoutMs?: number;
  /** How long the others wait for this member when all join again. */
  readonly rebalanceTimeoutMs?: number;
}

/** One member of one group, subscribed to one topic. */
export class GroupMember {
  readonly #client: KafkaClient;
  readonly #groupId: string;
  readonly #topic: string;
  #memberId = "";
  readonly #sessionTimeoutMs: number;
  readonly #rebalanceTimeoutMs: number;
  #generationId = -1;
  #timer: Timer | null = null;
  #mustRejoin = true;
  #left = false;

  constructor(client: KafkaClient, options: GroupMemberOptions) {
    const { groupId, topic, sessionTimeoutMs, rebalanceTimeoutMs } = options;
    this.#client = client;
    this.#sessionTimeoutMs = sessionTimeoutMs ?? SESSION_TIMEOUT_MS;
    this.#rebalanceTimeoutMs = rebalanceTimeoutMs ?? REBALANCE_TIMEOUT_MS;
    this.#groupId = groupId;
    this.#topic = topic;
  }

  /** True when the partitions are no longer this member's and it has to join again. */
  get mustRejoin(): boolean {
    return this.#mustRejoin;
  }

  /** Joins and waits for the group to settle. Returns: the partitions that are now this member's. */
  async join(): Promise<TopicPartition[]> {
    this.#timer?.cancel();
    for (;;) {
      const joined = await this.#joinOnce();
      if (joined === null) continue;
      const assignment = await this.#sync(joined);
      if (assignment === null) continue;
      this.#mustRejoin = false;
      this.#scheduleHeartbeat();
      return assignment;
    }
  }

  async #joinOnce(): Promise<JoinGroupResponse | null> {
    const metadata = encodeSubscription([this.#topic]);
    const answer = await this.#client.askCoordinator(
      this.#groupId,
      Calls.joinGroup,
      {
        groupId: this.#groupId,
        sessionTimeoutMs: this.#sessionTimeoutMs,
        rebalanceTimeoutMs: this.#rebalanceTimeoutMs,
        memberId: this.#memberId,
        protocolType: PROTOCOL_TYPE,
        protocols: [{ name: PROTOCOL_NAME, metadata }],
      },
      ({ errorCode }) => errorCode,
      this.#rebalanceTimeoutMs + JOIN_ANSWER_MS,
    );
    switch (answer.errorCode) {
      case ErrorCode.MEMBER_ID_REQUIRED:
        this.#memberId = answer.memberId;
        return null;
      case ErrorCode.UNKNOWN_MEMBER_ID:
        this.#memberId = "";
        return null;
      case ErrorCode.REBALANCE_IN_PROGRESS:
        return null;
    }
    throwOnError(answer.errorCode);
    this.#memberId = answer.memberId;
    this.#generationId = answer.generationId;
    return answer;
  }

  async #sync(joined: JoinGroupResponse): Promise<TopicPartition[] | null> {
    const leads = joined.leader === joined.memberId && !joined.skipAssignment;
    const answer = await this.#client.askCoordinator(
      this.#groupId,
      Calls.syncGroup,
      {
        groupId: this.#groupId,
        generationId: this.#generationId,
        memberId: this.#memberId,
        protocolType: PROTOCOL_TYPE,
        protocolName: PROTOCOL_NAME,
        assignments: leads ? await this.#assignAll(joined) : [],
      },
      ({ errorCode }) => errorCode,
      this.#rebalanceTimeoutMs + JOIN_ANSWER_MS,
    );
    if (this.#hasLapsed(answer.errorCode)) return null;
    throwOnError(answer.errorCode);
    return decodeAssignment(answer.assignment);
  }

  async #assignAll(joined: JoinGroupResponse) {
    const subscriptions = joined.members.map(({ memberId, metadata }) => ({
      memberId,
      topics: decodeSubscription(metadata),
    }));
    const partitionCounts = new Map<string, number>();
    for (const topic of new Set(subscriptions.flatMap(({ topics }) => topics))) {
      const { topics } = await this.#client.metadata([topic]);
      partitionCounts.set(topic, topics[0]?.partitions.length ?? 0);
    }
    return [...assignRanges(subscriptions, partitionCounts)].map(([memberId, partitions]) => ({
      memberId,
      assignment: encodeAssignment(partitions),
    }));
  }

  /** True for the codes that say: join again. Forgets the member id that the group does not know. */
  #hasLapsed(code: number): boolean {
    if (code === ErrorCode.UNKNOWN_MEMBER_ID) this.#memberId = "";
    const lapsed = code === ErrorCode.UNKNOWN_MEMBER_ID || code === ErrorCode.ILLEGAL_GENERATION ||
      code === ErrorCode.REBALANCE_IN_PROGRESS;
    this.#mustRejoin ||= lapsed;
    return lapsed;
  }

  #scheduleHeartbeat(): void {
    this.#timer = this.#client.clock.timer(HEARTBEAT_EVERY_MS, () => void this.#heartbeat());
  }

  async #heartbeat(): Promise<void> {
    try {
      const answer = await this.#client.askCoordinator(
        this.#groupId,
        Calls.heartbeat,
        {
          groupId: this.#groupId,
          generationId: this.#generationId,
          memberId: this.#memberId,
        },
        ({ errorCode }) => errorCode,
      );
      this.#hasLapsed(answer.errorCode);
    } catch {
      // Whatever it was, the next join meets it again and tells it.
      this.#mustRejoin = true;
    }
    if (!this.#mustRejoin && !this.#left) this.#scheduleHeartbeat();
  }

  /** Committed offsets of partitions; −1 where there is none. */
  async committed(partitions: readonly TopicPartition[]): Promise<GroupOffset[]> {
    return await fetchGroupOffsets(this.#client, this.#groupId, partitions);
  }

  /** Commits, unless the group has moved on, in which case the partitions are another member's to commit. */
  async commit(offsets: readonly GroupOffset[]): Promise<void> {
    if (offsets.length === 0) return;
    const codes = await commitGroupOffsets(this.#client, this.#groupId, offsets, {
      memberId: this.#memberId,
      generationId: this.#generationId,
    });
    for (const code of codes) if (!this.#hasLapsed(code)) throwOnError(code);
  }

  /** Leaves, so that the others need not wait for the session to run out. */
  async leave(): Promise<void> {
    this.#left = true;
    this.#timer?.cancel();
    if (this.#memberId === "") return;
    const connection = await this.#client.coordinator(this.#groupId);
    await connection.request(Calls.leaveGroup, {
      groupId: this.#groupId,
      memberId: "",
      members: [{ memberId: this.#memberId, reason: "the command ended" }],
    });
  }
}

/** Commits offsets. Returns: the error code of each partition. */
export async function commitGroupOffsets(
  client: KafkaClient,
  groupId: string,
  offsets: readonly GroupOffset[],
  member: { readonly memberId: string; readonly generationId: number } = {
    memberId: "",
    generationId: -1,
  },
): Promise<number[]> {
  const answer = await client.askCoordinator(
    groupId,
    Calls.offsetCommit,
    {
      groupId,
      generationIdOrMemberEpoch: member.generationId,
      memberId: member.memberId,
      topics: [...Map.groupBy(offsets, ({ topic }) => topic)].map(([name, partitions]) => ({
        name,
        partitions: partitions.map(({ partition, offset }) => ({
          partitionIndex: partition,
          committedOffset: offset,
          committedMetadata: "",
        })),
      })),
    },
    ({ topics }) => topics[0]?.partitions[0]?.errorCode ?? ErrorCode.NONE,
  );
  return answer.topics.flatMap(({ partitions }) => partitions.map(({ errorCode }) => errorCode));
}

/**
 * Committed offsets; of all partitions that have one when `partitions` is null. Waits for open transactions that would
 * change them, unless `requireStable` is false. Errors: KafkaError.
 */
export async function fetchGroupOffsets(
  client: KafkaClient,
  groupId: string,
  partitions: readonly TopicPartition[] | null,
  { requireStable = true }: { readonly requireStable?: boolean } = {},
): Promise<GroupOffset[]> {
  const byTopic = partitions === null ? null : Map.groupBy(partitions, ({ topic }) => topic);
  const topics = byTopic === null ? null : [...byTopic].map(([name, wanted]) => ({
    name,
    partitionIndexes: wanted.map(({ partition }) => partition),
  }));
  const answer = await client.askCoordinator(
    groupId,
    Calls.offsetFetch,
    { groupId: "", topics: [], groups: [{ groupId, topics }], requireStable },
    ({ groups }) => {
      const group = groups[0];
      return group?.errorCode || group?.topics[0]?.partitions[0]?.errorCode || ErrorCode.NONE;
    },
  );
  const group = answer.groups[0]!;
  throwOnError(group.errorCode);
  return group.topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionIndex, committedOffset, errorCode }) => {
      throwOnError(errorCode);
      return { topic: name, partition: partitionIndex, offset: committedOffset };
    })
  );
}

/**
 * Kafka's range assignor: of each topic, the members in the order of their ids get runs of partitions, the
 * first ones one more where it does not divide evenly.
 */
export function assignRanges(
  subscriptions: readonly { readonly memberId: string; readonly topics: readonly string[] }[],
  partitionCounts: ReadonlyMap<string, number>,
): Map<string, TopicPartition[]> {
  const assigned = new Map<string, TopicPartition[]>();
  for (const { memberId } of subscriptions) assigned.set(memberId, []);
  for (const [topic, partitionCount] of partitionCounts) {
    const members = subscriptions
      .filter(({ topics }) => topics.includes(topic))
      .map(({ memberId }) => memberId)
      .sort();
    let next = 0;
    for (const [i, memberId] of members.entries()) {
      const extra = i < partitionCount % members.length ? 1 : 0;
      const share = Math.floor(partitionCount / members.length) + extra;
      for (const end = next + share; next < end; next++) {
        assigned.get(memberId)!.push({ topic, partition: next });
      }
    }
  }
  return assigned;
}

/** A member's metadata: int16 version, then the subscription. */
export function encodeSubscription(topics: readonly string[]): Uint8Array {
  const writer = new Writer();
  writer.int16(WRITTEN_VERSION);
  codec(consumerProtocolSubscription, WRITTEN_VERSION).encode(writer, { topics });
  return writer.finish();
}

/** Topics of a subscription of any version. Errors: WireError. */
export function decodeSubscription(bytes: Uint8Array): readonly string[] {
  const reader = new Reader(bytes);
  const version = Math.min(reader.int16(), KNOWN_VERSION);
  return codec(consumerProtocolSubscription, version).decode(reader).topics;
}

/** A member's assignment: int16 version, then the partitions by topic. */
export function encodeAssignment(partitions: readonly TopicPartition[]): Uint8Array {
  const writer = new Writer();
  writer.int16(WRITTEN_VERSION);
  const byTopic = Map.groupBy(partitions, ({ topic }) => topic);
  codec(consumerProtocolAssignment, WRITTEN_VERSION).encode(writer, {
    assignedPartitions: [...byTopic].map(([topic, wanted]) => ({
      topic,
      partitions: wanted.map(({ partition }) => partition),
    })),
  });
  return writer.finish();
}

/** Partitions of an assignment of any version; none for no bytes. Errors: WireError. */
export function decodeAssignment(bytes: Uint8Array): TopicPartition[] {
  if (bytes.length === 0) return [];
  const reader = new Reader(bytes);
  const version = Math.min(reader.int16(), KNOWN_VERSION);
  const { assignedPartitions } = codec(consumerProtocolAssignment, version).decode(reader);
  return assignedPartitions.flatMap(({ topic, partitions }) =>
    partitions.map((partition) => ({ topic, partition }))
  );
}
