import { describe, expect, test } from "bun:test";
import { LeaderEpochs } from "../../../broker/client/leader_epochs.ts";
import { type Uuid, ZERO_UUID } from "../../../protocol/types.ts";
import { SimRandom } from "../../sim/sim_random.ts";

const ID = "iFS005fTRkGDmMEueF3B3A" as Uuid;

/** What a broker says of a topic: of each partition the leader and its epoch. */
function topic(partitions: readonly (readonly [leaderId: number, epoch: number])[], topicId = ID) {
  return {
    errorCode: 0,
    name: "orders",
    topicId,
    isInternal: false,
    topicAuthorizedOperations: 0,
    partitions: partitions.map(([leaderId, leaderEpoch], partitionIndex) => ({
      errorCode: 0,
      partitionIndex,
      leaderId,
      leaderEpoch,
      replicaNodes: [1, 2, 3],
      isrNodes: [1, 2, 3],
      offlineReplicas: [],
    })),
  };
}

const leadersIn = (
  { partitions }: { readonly partitions: readonly { readonly leaderId: number }[] },
) => partitions.map(({ leaderId }) => leaderId);

describe("LeaderEpochs", () => {
  test("a broker that is behind is not believed, partition by partition", () => {
    const epochs = new LeaderEpochs();
    const first = topic([[1, 4], [2, 0]]);
    expect(epochs.checked(first)).toBe(first);
    expect(leadersIn(epochs.checked(topic([[3, 5], [2, 0]])))).toEqual([3, 2]);
    expect(leadersIn(epochs.checked(first))).toEqual([-1, 2]);
    expect(leadersIn(epochs.checked(topic([[3, 5], [2, 0]])))).toEqual([3, 2]);
  });

  test("another topic of that name begins anew, and one without an id is believed", () => {
    const epochs = new LeaderEpochs();
    epochs.checked(topic([[1, 9]]));
    expect(leadersIn(epochs.checked(topic([[2, 0]], "M1Wc2bTnQ2aXgk0Zb1rQ8w" as Uuid)))).toEqual([
      2,
    ]);
    epochs.checked(topic([[1, 9]], ZERO_UUID));
    expect(leadersIn(epochs.checked(topic([[2, 0]], ZERO_UUID)))).toEqual([2]);
  });

  test("whatever is said, a leader that is told has the newest epoch so far", () => {
    const random = new SimRandom(7);
    const epochs = new LeaderEpochs();
    const newest = [-1, -1, -1];
    for (let i = 0; i < 2000; i++) {
      const said = topic(newest.map(() => [random.below(3), random.below(1 + i / 100)]));
      const { partitions } = epochs.checked(said);
      for (const [index, { leaderId, leaderEpoch }] of said.partitions.entries()) {
        const isBehind = leaderEpoch < newest[index]!;
        expect(partitions[index]!.leaderId).toBe(isBehind ? -1 : leaderId);
        if (!isBehind) newest[index] = leaderEpoch;
      }
    }
  });
});
