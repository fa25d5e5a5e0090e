import { beforeEach, describe, expect, test } from "bun:test";
import { errorName } from "../../../protocol/errors.ts";
import { ClusterHarness, uuid } from "./cluster_harness.ts";

let cluster: ClusterHarness;
beforeEach(async () => {
  cluster = await ClusterHarness.start({ brokers: 4 });
  await cluster.makeTopic("t", [[1, 2, 3]]);
});

const alter = async (isr: readonly number[], more: object = {}) =>
  errorName(await cluster.alter("t", isr, more));

describe("Controller.alterPartition", () => {
  test("the ISR shrinks and grows, and the leader's epoch stays", async () => {
    const before = cluster.partition("t");
    expect(await alter([1, 2])).toBe("NONE");
    expect(await alter([1, 2, 3])).toBe("NONE");
    expect(cluster.partition("t") as object).toEqual({
      ...before,
      partitionEpoch: before.partitionEpoch + 2,
    });
  });

  test("what is so already is answered, and nothing is written", async () => {
    const { offset } = cluster.image;
    expect(await alter([1, 2, 3])).toBe("NONE");
    expect(cluster.image.offset).toBe(offset);
  });

  const refusals: readonly [string, readonly number[], object, string][] = [
    ["of a leader that was deposed", [1, 2], { leaderEpoch: -1 }, "FENCED_LEADER_EPOCH"],
    ["that knows an older state", [1, 2], { partitionEpoch: -1 }, "INVALID_UPDATE_VERSION"],
    ["that knows a newer leader", [1, 2], { leaderEpoch: 9 }, "NOT_CONTROLLER"],
    ["that knows a newer state", [1, 2], { partitionEpoch: 9 }, "NOT_CONTROLLER"],
    ["without the leader", [2, 3], {}, "INVALID_REQUEST"],
    ["with nobody", [], {}, "INVALID_REQUEST"],
    ["with one that holds no replica", [1, 4], {}, "INVALID_REQUEST"],
    ["with one twice", [1, 2, 2], {}, "INVALID_REQUEST"],
    ["that begins to recover", [1], { leaderRecoveryState: 1 }, "INVALID_REQUEST"],
    ["with an unknown state", [1], { leaderRecoveryState: 7 }, "INVALID_REQUEST"],
    ["of an unknown topic", [1], { topicId: uuid("nil", 1) }, "UNKNOWN_TOPIC_ID"],
    ["of an unknown partition", [1], { partition: 7 }, "UNKNOWN_TOPIC_OR_PARTITION"],
    [
      "with another incarnation",
      [],
      { isr: [{ brokerId: 1, brokerEpoch: -1 }, { brokerId: 2, brokerEpoch: 1 }] },
      "INELIGIBLE_REPLICA",
    ],
  ];
  test.each(refusals)("a request %s is refused", async (_, isr, more, error) => {
    const before = cluster.partition("t");
    expect(await alter(isr, more)).toBe(error);
    expect(cluster.partition("t")).toBe(before);
  });

  test("one that does not lead is refused, and one of another incarnation", async () => {
    const { leaderEpoch, partitionEpoch } = cluster.partition("t");
    const request = {
      topicId: cluster.image.topicByName("t")!.id,
      partition: 0,
      leaderEpoch,
      partitionEpoch,
      leaderRecoveryState: 0,
      isr: [{ brokerId: 1, brokerEpoch: -1 }],
    };
    const ask = (brokerId: number, brokerEpoch: number) =>
      cluster.controller.alterPartition({ brokerId, brokerEpoch }, [request]);
    const other = await ask(2, cluster.epochs.get(2)!);
    expect("error" in other ? null : errorName(other[0]!.error)).toBe("INVALID_REQUEST");
    const stale = await ask(1, cluster.epochs.get(1)! - 1);
    expect("error" in stale ? errorName(stale.error) : null).toBe("STALE_BROKER_EPOCH");
  });

  test("who is fenced or shuts down does not join", async () => {
    await cluster.silence(3);
    expect(cluster.partition("t").isr).toEqual([1, 2]);
    expect(await alter([1, 2, 3])).toBe("INELIGIBLE_REPLICA");
    await cluster.beat(2, { wantShutDown: true });
    expect(await alter([1, 2])).toBe("INELIGIBLE_REPLICA");
  });

  test("a partition twice in one request: the second one comes too late", async () => {
    const { leaderEpoch, partitionEpoch } = cluster.partition("t");
    const request = (...ids: number[]) => ({
      topicId: cluster.image.topicByName("t")!.id,
      partition: 0,
      leaderEpoch,
      partitionEpoch,
      leaderRecoveryState: 0,
      isr: ids.map((brokerId) => ({ brokerId, brokerEpoch: -1 })),
    });
    const altered = await cluster.controller.alterPartition(
      { brokerId: 1, brokerEpoch: cluster.epochs.get(1)! },
      [request(1, 2), request(1, 3)],
    );
    expect("error" in altered ? [] : altered.map(({ error }) => errorName(error))).toEqual([
      "NONE",
      "INVALID_UPDATE_VERSION",
    ]);
    expect(cluster.partition("t").isr).toEqual([1, 2]);
  });

  test("the change that ends a move can depose the one who asked for it", async () => {
    await cluster.controller.alterPartitionReassignments(
      [{ topic: "t", partition: 0, replicas: [4] }],
      { allowReplicationFactorChange: true },
    );
    expect(await alter([1, 2, 3, 4])).toBe("NEW_LEADER_ELECTED");
    expect(cluster.partition("t")).toMatchObject({ leader: 4, isr: [4], replicas: [4] });
  });
});
