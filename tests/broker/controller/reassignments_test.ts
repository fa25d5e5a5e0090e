import { beforeEach, describe, expect, test } from "bun:test";
import { ongoingReassignments } from "../../../broker/controller/reassignments.ts";
import { errorName } from "../../../protocol/errors.ts";
import { ClusterHarness } from "./cluster_harness.ts";

let cluster: ClusterHarness;
beforeEach(async () => {
  cluster = await ClusterHarness.start({ brokers: 6 });
  await cluster.makeTopic("t", [[1, 2, 3], [2, 3, 1]]);
});

const move = async (
  replicas: readonly number[] | null,
  { topic = "t", partition = 0, allowReplicationFactorChange = true } = {},
) => {
  const results = await cluster.controller.alterPartitionReassignments(
    [{ topic, partition, replicas }],
    { allowReplicationFactorChange },
  );
  return errorName(results[0]!.error);
};
const ongoing = (partitions: readonly number[] | null = null) =>
  ongoingReassignments(
    cluster.image,
    partitions === null ? null : [{ topic: "t", partitions }, { topic: "nope", partitions: [0] }],
  ).map(({ partition }) => partition.partition);

describe("Controller.alterPartitionReassignments", () => {
  test("a move begins, is listed, and ends when all who stay are in sync", async () => {
    expect(await move([1, 4, 5])).toBe("NONE");
    const { leaderEpoch } = cluster.partition("t");
    expect(cluster.partition("t")).toMatchObject({
      replicas: [1, 4, 5, 2, 3],
      addingReplicas: [4, 5],
      removingReplicas: [2, 3],
      isr: [1, 2, 3],
      leader: 1,
    });
    expect([ongoing(), ongoing([0]), ongoing([1])]).toEqual([[0], [0], []]);
    expect(await cluster.alter("t", [1, 2, 3, 4])).toBe(0);
    expect(ongoing()).toEqual([0]);
    expect(await cluster.alter("t", [1, 2, 3, 4, 5])).toBe(0);
    expect(ongoing()).toEqual([]);
    expect(cluster.partition("t") as object).toMatchObject({
      replicas: [1, 4, 5],
      addingReplicas: [],
      removingReplicas: [],
      isr: [1, 4, 5],
      leader: 1,
      leaderEpoch: leaderEpoch + 1,
    });
  });

  test("another order, and fewer replicas, are there at once", async () => {
    expect(await move([3, 1, 2])).toBe("NONE");
    expect(cluster.partition("t")).toMatchObject({ replicas: [3, 1, 2], leader: 1 });
    expect(await move([3, 2])).toBe("NONE");
    expect(cluster.partition("t")).toMatchObject({ replicas: [3, 2], isr: [2, 3], leader: 3 });
    expect(ongoing()).toEqual([]);
  });

  test("a move is taken back, with what had come in", async () => {
    await move([1, 4, 5]);
    await cluster.alter("t", [1, 2, 3, 4]);
    expect(await move(null)).toBe("NONE");
    expect(cluster.partition("t")).toMatchObject({
      replicas: [1, 2, 3],
      addingReplicas: [],
      removingReplicas: [],
      isr: [1, 2, 3],
      leader: 1,
    });
  });

  test("another target takes the place of the first, and a cancel goes back to the begin", async () => {
    await move([1, 4, 5]);
    expect(await move([1, 4, 6])).toBe("NONE");
    expect(cluster.partition("t")).toMatchObject({
      replicas: [1, 4, 6, 2, 3, 5],
      addingReplicas: [4, 5, 6],
      removingReplicas: [2, 3, 5],
    });
    await move(null);
    expect(cluster.partition("t").replicas).toEqual([1, 2, 3]);
  });

  test("the target that it came from ends the move at once", async () => {
    await move([1, 4, 5]);
    expect(await move([1, 2, 3])).toBe("NONE");
    expect(cluster.partition("t")).toMatchObject({ replicas: [1, 2, 3], isr: [1, 2, 3] });
    expect(ongoing()).toEqual([]);
  });

  test("where only new replicas are in sync, a cancel would lose records", async () => {
    await cluster.makeTopic("u", [[1]]);
    const moveU = (replicas: readonly number[] | null) => move(replicas, { topic: "u" });
    await moveU([4, 5]);
    await cluster.alter("u", [1, 4]);
    await cluster.silence(1);
    expect(cluster.partition("u")).toMatchObject({ isr: [4], leader: 4 });
    expect(await moveU(null)).toBe("INVALID_REPLICA_ASSIGNMENT");
    await cluster.controller.incrementalAlterConfigs([{
      resource: { type: "topic", name: "u" },
      operations: [{ name: "unclean.leader.election.enable", operation: "set", value: "true" }],
    }]);
    expect(await moveU(null)).toBe("NONE");
    expect(cluster.partition("u")).toMatchObject({ replicas: [1], isr: [1], leader: -1 });
  });

  const refusals: readonly [string, readonly number[] | null, object, string][] = [
    ["of an unknown topic", [1], { topic: "nope" }, "UNKNOWN_TOPIC_OR_PARTITION"],
    ["of an unknown partition", [1], { partition: 9 }, "UNKNOWN_TOPIC_OR_PARTITION"],
    ["to nobody", [], {}, "INVALID_REPLICA_ASSIGNMENT"],
    ["to one twice", [1, 4, 4], {}, "INVALID_REPLICA_ASSIGNMENT"],
    ["to one that is not registered", [1, 99], {}, "INVALID_REPLICA_ASSIGNMENT"],
    [
      "to more replicas, where that is ruled out",
      [1, 2, 3, 4],
      { allowReplicationFactorChange: false },
      "INVALID_REPLICATION_FACTOR",
    ],
    ["that is not there, back", null, {}, "NO_REASSIGNMENT_IN_PROGRESS"],
  ];
  test.each(refusals)("a move %s is refused", async (_, replicas, more, error) => {
    const before = cluster.partition("t");
    expect(await move(replicas, more)).toBe(error);
    expect(cluster.partition("t")).toBe(before);
  });
});

describe("Controller.electLeaders", () => {
  const elect = async (
    type: "preferred" | "unclean",
    partitions: readonly number[] | null,
    topic = "t",
  ) =>
    (await cluster.controller.electLeaders(
      type,
      partitions === null ? null : [{ topic, partitions }],
    )).map(({ topic: name, partition, error }) => `${name}-${partition} ${errorName(error)}`);

  test("the first replica leads again, where it is in sync", async () => {
    await cluster.silence(1);
    expect(await elect("preferred", [0, 1, 7])).toEqual([
      "t-0 PREFERRED_LEADER_NOT_AVAILABLE",
      "t-1 ELECTION_NOT_NEEDED",
      "t-7 UNKNOWN_TOPIC_OR_PARTITION",
    ]);
    await cluster.join(1);
    expect(await elect("preferred", [0])).toEqual(["t-0 PREFERRED_LEADER_NOT_AVAILABLE"]);
    await cluster.alter("t", [2, 3, 1]);
    expect(await elect("preferred", [0, 0])).toEqual(["t-0 NONE", "t-0 ELECTION_NOT_NEEDED"]);
    expect(cluster.partition("t")).toMatchObject({ leader: 1, isr: [2, 3, 1] });
    expect(await elect("preferred", [0], "nope")).toEqual(["nope-0 UNKNOWN_TOPIC_OR_PARTITION"]);
  });

  test("of all partitions only those that needed it are in the answer", async () => {
    await cluster.silence(1);
    await cluster.join(1);
    await cluster.alter("t", [2, 3, 1]);
    expect(await elect("preferred", null)).toEqual(["t-0 NONE"]);
    expect(await elect("preferred", null)).toEqual([]);
  });

  test("an unclean election is for partitions that nobody leads, whatever is set", async () => {
    await cluster.makeTopic("u", [[1, 2]]);
    expect(await elect("unclean", [0], "u")).toEqual(["u-0 ELECTION_NOT_NEEDED"]);
    await cluster.alter("u", [1]);
    await cluster.silence(1);
    expect(cluster.partition("u")).toMatchObject({ leader: -1 });
    expect(await elect("preferred", [0], "u")).toEqual(["u-0 PREFERRED_LEADER_NOT_AVAILABLE"]);
    expect(await elect("unclean", [0], "u")).toEqual(["u-0 NONE"]);
    expect(cluster.partition("u")).toMatchObject({ leader: 2, isr: [2], leaderRecoveryState: 1 });
    await cluster.silence(2);
    expect(await elect("unclean", [0], "u")).toEqual(["u-0 ELIGIBLE_LEADERS_NOT_AVAILABLE"]);
  });
});

describe("Controller, unasked", () => {
  test("gives partitions back to their first replicas", async () => {
    await cluster.silence(1);
    await cluster.join(1);
    await cluster.alter("t", [2, 3, 1]);
    expect(cluster.partition("t").leader).toBe(2);
    await cluster.pass(300_000, [1, 2, 3, 4, 5, 6]);
    expect(cluster.partition("t").leader).toBe(1);
  });

  test("leaves them where they are when that is switched off", async () => {
    cluster = await ClusterHarness.start({ flags: { "auto.leader.rebalance.enable": "false" } });
    await cluster.makeTopic("t", [[1, 2, 3]]);
    await cluster.silence(1);
    await cluster.join(1);
    await cluster.alter("t", [2, 3, 1]);
    await cluster.pass(300_000, [1, 2, 3]);
    expect(cluster.partition("t").leader).toBe(2);
  });

  test("elects among those who lack records as soon as a topic allows it", async () => {
    await cluster.makeTopic("u", [[1, 2]]);
    await cluster.alter("u", [1]);
    await cluster.silence(1);
    expect(cluster.partition("u").leader).toBe(-1);
    await cluster.controller.incrementalAlterConfigs([{
      resource: { type: "topic", name: "u" },
      operations: [{ name: "unclean.leader.election.enable", operation: "set", value: "true" }],
    }]);
    await cluster.pass(500, [2, 3, 4, 5, 6]);
    expect(cluster.partition("u")).toMatchObject({ leader: 2, isr: [2], leaderRecoveryState: 1 });
  });
});
