import { beforeEach, expect, test } from "bun:test";
import { previousBrokerEpoch, type PreviousLife } from "../../broker/previous_epoch.ts";
import { ClusterHarness, uuid } from "./controller/cluster_harness.ts";

let cluster: ClusterHarness;
beforeEach(async () => {
  cluster = await ClusterHarness.start({ brokers: 2 });
});

const epoch = (more: Partial<PreviousLife> = {}) =>
  previousBrokerEpoch({
    image: cluster.image,
    config: cluster.harness.config,
    nodeId: 2,
    logDirs: [uuid("dir", 2), uuid("new", 2)],
    markedEpoch: -1,
    ...more,
  });

test("previousBrokerEpoch: is the last one, however the process ended", () => {
  expect(epoch()).toBe(cluster.epochs.get(2)!);
  expect(epoch({ markedEpoch: 3 })).toBe(cluster.epochs.get(2)!);
});

test("previousBrokerEpoch: is unknown without a directory, or to a node that nobody knows", () => {
  expect(epoch({ logDirs: [uuid("new", 2)] })).toBe(-1);
  expect(epoch({ logDirs: [] })).toBe(-1);
  expect(epoch({ nodeId: 7 })).toBe(-1);
  // But for what a clean stop has left word of.
  expect(epoch({ nodeId: 7, markedEpoch: 3 })).toBe(3);
  expect(epoch({ logDirs: [uuid("new", 2)], markedEpoch: 3 })).toBe(-1);
});

test("previousBrokerEpoch: is unknown after a crash where a topic is acknowledged before it is synced", async () => {
  await cluster.makeTopic("strict", [[1]], { "flush.messages": "9223372036854775807" });
  expect(epoch()).toBe(cluster.epochs.get(2)!);
  await cluster.makeTopic("relaxed", [[1]], { "flush.ms": "1000" });
  expect(epoch()).toBe(-1);
  expect(epoch({ markedEpoch: 3 })).toBe(cluster.epochs.get(2)!);
});

test("previousBrokerEpoch: is unknown after a crash where all topics are", async () => {
  cluster = await ClusterHarness.start({ flags: { "log.flush.interval.messages": "10" } });
  expect(epoch()).toBe(-1);
});
