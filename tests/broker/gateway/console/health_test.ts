import { describe, expect, test } from "bun:test";
import { healthOf, verdictOf } from "../../../../broker/gateway/console/health.ts";
import type { DescribeClusterResponse } from "../../../../protocol/schemas/describe_cluster.ts";
import type { MetadataResponse } from "../../../../protocol/schemas/metadata.ts";

/** `1,2,3/1,3@1`: replicas, those in sync, the leader. */
function cluster(brokers: string, ...partitions: readonly string[]) {
  const metadata = {
    topics: [{
      name: "orders",
      isInternal: false,
      partitions: partitions.map((text, partitionIndex) => {
        const [, replicas, isr, leader] = /^([\d,]*)\/([\d,]*)@(-?\d+)$/.exec(text)!;
        const ids = (list: string) => list.split(",").filter((id) => id !== "").map(Number);
        return {
          partitionIndex,
          leaderId: Number(leader),
          replicaNodes: ids(replicas!),
          isrNodes: ids(isr!),
        };
      }),
    }],
  } as unknown as MetadataResponse;
  const described = {
    clusterId: "c",
    controllerId: 1,
    brokers: brokers.split(" ").map((text) => ({
      brokerId: parseInt(text, 10),
      host: "h",
      port: 9092,
      rack: null,
      isFenced: text.endsWith("!"),
    })),
  } as unknown as DescribeClusterResponse;
  return healthOf(metadata, described);
}

describe("healthOf", () => {
  test("all is well: one sentence, nothing to look at", () => {
    const health = cluster("1 2 3", "1,2,3/1,2,3@1", "1,2,3/1,2,3@2");
    expect(health.findings).toEqual([]);
    expect(verdictOf(health)).toEqual({
      level: "good",
      text: "All 3 brokers are up, and every partition is in sync.",
    });
    expect(verdictOf(cluster("1"))).toEqual({ level: "good", text: "The broker is up." });
    expect(health.brokers.map(({ leaderCount, replicaCount }) => [leaderCount, replicaCount]))
      .toEqual([[1, 2], [1, 2], [0, 2]]);
  });

  test("a follower that is behind: a warning that names the partition and the broker", () => {
    const health = cluster("1 2", "1,2/1@1", "1,2/1,2@2");
    expect(verdictOf(health)).toEqual({
      level: "warn",
      text: "1 partition has replicas that are not in sync.",
    });
    expect(health.findings).toMatchObject([{
      level: "warn",
      what: "1 partition has replicas that are not in sync",
      names: "orders-0",
      advice: expect.stringContaining("broker 2"),
    }]);
    expect(health.brokers[1]!.laggingCount).toBe(1);
  });

  test("a broker that is down: comes before what follows from it", () => {
    const health = cluster("1 2!", "1,2/1@1", "2/2@-1");
    expect(verdictOf(health)).toEqual({ level: "bad", text: "1 partition has no leader." });
    expect(health.findings.map(({ level, what, names }) => [level, what, names])).toEqual([
      ["bad", "1 partition has no leader", "orders-1"],
      ["bad", "Broker 2 is down", ""],
      ["warn", "1 partition has replicas that are not in sync", "orders-0"],
    ]);
    expect(health.findings[0]!.advice).toContain("broker 2");
  });

  test("many partitions: a few are named", () => {
    const [finding] = cluster("1 2", ...Array(9).fill("1,2/1@1")).findings;
    expect(finding!.what).toBe("9 partitions have replicas that are not in sync");
    expect(finding!.names).toBe("orders-0, orders-1, orders-2, orders-3, orders-4 …");
  });
});
