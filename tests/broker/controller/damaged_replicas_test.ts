/** What the controller makes of a replica that is LOST: damaged, and about to be thrown away. */

import { beforeEach, describe, expect, test } from "bun:test";
import { errorName } from "../../../protocol/errors.ts";
import { DirectoryId, leaderEpoch, type Uuid } from "../../../protocol/types.ts";
import { ClusterHarness, uuid } from "./cluster_harness.ts";

let cluster: ClusterHarness;
beforeEach(async () => {
  cluster = await ClusterHarness.start();
});

/** A broker says where its replica of `t` lies. Returns: the error's name. */
async function assign(id: number, directoryId: Uuid): Promise<string> {
  const topicId = cluster.image.topicByName("t")!.id;
  const [assigned] = await cluster.controller.assignReplicasToDirs(id, [
    { topicId, partition: 0, directoryId },
  ]);
  return errorName(assigned!.error);
}

async function replicatedTopic(configs: Record<string, string> = {}): Promise<void> {
  await cluster.makeTopic("t", [[1, 2, 3]], configs);
  for (const id of [1, 2, 3]) expect(await assign(id, uuid("dir", id))).toBe("NONE");
}

describe("planDirectoryAssignments: a replica that is lost", () => {
  test("hands over, and leaves the ISR with the same record", async () => {
    await replicatedTopic();
    const { partitionEpoch } = cluster.partition("t");
    expect(await assign(1, DirectoryId.LOST)).toBe("NONE");
    expect(cluster.partition("t")).toMatchObject({
      leader: 2,
      isr: [2, 3],
      elr: [],
      partitionEpoch: partitionEpoch + 1,
    });
  });

  test("of a follower begins a new epoch of the same leader, and does not lead before it is somewhere", async () => {
    await replicatedTopic();
    const { leaderEpoch: epoch } = cluster.partition("t");
    expect(await assign(3, DirectoryId.LOST)).toBe("NONE");
    const { partitionEpoch } = cluster.partition("t");
    expect(cluster.partition("t")).toMatchObject({
      leader: 1,
      isr: [1, 2],
      leaderEpoch: epoch + 1,
    });
    const join = async () => errorName(await cluster.alter("t", [1, 2, 3]));
    expect(await join()).toBe("INELIGIBLE_REPLICA");
    expect(cluster.partition("t").partitionEpoch).toBe(partitionEpoch);
    expect(await assign(3, uuid("dir", 3))).toBe("NONE");
    expect(cluster.partition("t")).toMatchObject({
      isr: [1, 2],
      leaderEpoch: leaderEpoch(epoch + 1),
    });
    expect(await join()).toBe("NONE");
    expect(cluster.partition("t").isr).toEqual([1, 2, 3]);
  });

  test("is not let go as the last that has what was acknowledged, whatever the topic allows", async () => {
    await replicatedTopic({ "unclean.leader.election.enable": "true", "min.insync.replicas": "1" });
    await cluster.beat(2, { wantFence: true });
    await cluster.beat(3, { wantFence: true });
    const before = cluster.partition("t");
    expect(before).toMatchObject({ leader: 1, isr: [1], elr: [] });
    await cluster.beat(2);
    await cluster.beat(3);
    expect(await assign(1, DirectoryId.LOST)).toBe("ELIGIBLE_LEADERS_NOT_AVAILABLE");
    expect(cluster.partition("t")).toEqual(before);
  });

  test("gives way to one that is eligible (KIP-966)", async () => {
    await replicatedTopic({ "min.insync.replicas": "2" });
    await cluster.beat(2, { wantFence: true });
    await cluster.beat(3, { wantFence: true });
    expect(cluster.partition("t")).toMatchObject({ leader: 1, isr: [1] });
    expect(cluster.partition("t").elr.length).toBeGreaterThan(0);
    expect(await assign(1, DirectoryId.LOST)).toBe("ELIGIBLE_LEADERS_NOT_AVAILABLE");
    const [eligible] = cluster.partition("t").elr;
    await cluster.beat(eligible!);
    expect(await assign(1, DirectoryId.LOST)).toBe("NONE");
    expect(cluster.partition("t")).toMatchObject({ leader: eligible, isr: [eligible] });
    expect(cluster.partition("t").elr).not.toContain(1);
  });

  test("twice is once, and it is led by nobody who is lost", async () => {
    await replicatedTopic();
    expect(await assign(1, DirectoryId.LOST)).toBe("NONE");
    const once = cluster.partition("t");
    expect(await assign(1, DirectoryId.LOST)).toBe("NONE");
    expect(cluster.partition("t")).toEqual(once);
    const [elected] = await cluster.controller.electLeaders("preferred", [
      { topic: "t", partitions: [0] },
    ]);
    expect(errorName(elected!.error)).toBe("PREFERRED_LEADER_NOT_AVAILABLE");
  });
});

test("Controller: nobody leads who lacks records, where all others have restarted uncleanly and one disk is new", async () => {
  await replicatedTopic({ "min.insync.replicas": "1" });
  // Each comes back as after a kill, and none has caught up before the next one goes.
  for (const id of [2, 3]) {
    await cluster.beat(id, { wantFence: true });
    await cluster.register(id, { previousBrokerEpoch: -1 });
  }
  expect(cluster.partition("t")).toMatchObject({ leader: 1, isr: [1], elr: [] });
  await cluster.beat(1, { wantFence: true });
  await cluster.register(1, { previousBrokerEpoch: -1, logDirs: [uuid("dir", 11)] });
  for (const id of [1, 2, 3]) await cluster.beat(id);
  // KIP-966: with a minimum of one only who is in sync is eligible, and who led last has lost what it had.
  expect(cluster.partition("t")).toMatchObject({ leader: -1, isr: [], elr: [], lastKnownElr: [1] });
  // An operator may have one of the others lead, with what it has.
  const elected = cluster.controller.electLeaders("unclean", [{ topic: "t", partitions: [0] }]);
  expect((await elected).map(({ error }) => errorName(error))).toEqual(["NONE"]);
  expect(cluster.partition("t")).toMatchObject({ leader: 2, isr: [2], leaderRecoveryState: 1 });
});
