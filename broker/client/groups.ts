/** The groups of a cluster, as its brokers list and delete them. */

import { ErrorCode } from "../../protocol/errors.ts";
import { Calls } from "./calls.ts";
import { type KafkaClient, throwOnError } from "./kafka_client.ts";

/** Types of groups, as Kafka names them in lists. */
export const GROUP_TYPES = ["classic", "consumer", "share", "streams"] as const;

/** States that groups of all types can be in. */
export const GROUP_STATES = [
  "Empty",
  "PreparingRebalance",
  "CompletingRebalance",
  "Assigning",
  "Reconciling",
  "NotReady",
  "Stable",
  "Dead",
] as const;

/** States in which nobody reads, so that offsets may be changed. */
const IDLE_STATES: readonly string[] = ["Empty", "Dead"];

/** One group of a list. Both are empty where a broker is too old to say. */
export interface ListedGroup {
  readonly group: string;
  readonly state: string;
  readonly type: string;
  readonly protocolType: string;
}

/** All groups, by their ids: each broker knows those that it coordinates. Errors: KafkaError, NetworkError. */
export async function listGroups(client: KafkaClient): Promise<ListedGroup[]> {
  const { brokers } = await client.retry(() => client.metadata([]));
  const answers = await Promise.all(brokers.map(({ nodeId }) =>
    client.retry(async () => {
      const connection = await client.broker(nodeId);
      const answer = await connection.request(Calls.listGroups, {
        statesFilter: [],
        typesFilter: [],
      });
      throwOnError(answer.errorCode);
      return answer.groups;
    })
  ));
  return answers.flat()
    .map(({ groupId, groupState, groupType, protocolType }) => ({
      group: groupId,
      state: groupState,
      type: groupType,
      protocolType,
    }))
    .sort((a, b) => (a.group < b.group ? -1 : 1));
}

/** True for a group with members, which read and commit. */
export function isReading({ state }: ListedGroup): boolean {
  return state !== "" && !IDLE_STATES.includes(state);
}

/** Deletes a group with its offsets. Errors: KafkaError, NetworkError. */
export async function deleteGroup(client: KafkaClient, groupId: string): Promise<void> {
  const { results } = await client.askCoordinator(
    groupId,
    Calls.deleteGroups,
    { groupsNames: [groupId] },
    ({ results }) => results[0]?.errorCode ?? ErrorCode.NONE,
  );
  throwOnError(results[0]!.errorCode, results[0]!.errorMessage);
}
