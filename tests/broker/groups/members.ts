/** What members of groups say: the subscription of a classic one, the heartbeat of a consumer group's. */

import type { ConsumerHeartbeat } from "../../../broker/groups/consumer_group.ts";
import type { NamedPartitions } from "../../../broker/groups/consumer_protocol.ts";
import { Writer } from "../../../protocol/bytes.ts";
import { codec } from "../../../protocol/compile.ts";
import { consumerProtocolSubscription } from "../../../protocol/schemas/records/consumer_protocol.ts";

/** A consumer's subscription in bytes. */
export function encodeSubscription(
  { version = 0, topics = [], userData = null, owned = new Map() }: {
    readonly version?: number;
    readonly topics?: readonly string[];
    readonly userData?: Uint8Array | null;
    /** What it has as it joins; from version 1 on. */
    readonly owned?: NamedPartitions;
  },
): Uint8Array {
  const writer = new Writer();
  writer.int16(version);
  codec(consumerProtocolSubscription, version).encode(writer, {
    topics,
    userData,
    ownedPartitions: [...owned].map(([topic, partitions]) => ({ topic, partitions })),
  });
  return writer.finish();
}

/** A heartbeat that says nothing new but what `more` has. */
export function heartbeatOf(
  memberId: string,
  memberEpoch: number,
  more: Partial<ConsumerHeartbeat> = {},
): ConsumerHeartbeat {
  return {
    memberId,
    memberEpoch,
    instanceId: null,
    rackId: null,
    rebalanceTimeoutMs: -1,
    clientId: memberId,
    clientHost: "/h",
    subscribedTopicNames: null,
    subscribedTopicRegex: null,
    serverAssignor: null,
    owned: null,
    ...more,
  };
}
