import { expect, test } from "bun:test";
import { Config } from "../../broker/config/config.ts";
import { DEFAULT_RAFT_SETTINGS } from "../../broker/controller/quorum.ts";
import { raftSettings } from "../../broker/quorum_membership.ts";

const settingsOf = (flags: Readonly<Record<string, string>>) =>
  raftSettings(Config.load({ flags }));

test("raftSettings: those of controller.quorum.*, whose defaults are Kafka's", () => {
  const { firstElectionMs: _, ...others } = settingsOf({});
  expect(others).toEqual(DEFAULT_RAFT_SETTINGS);
  expect(settingsOf({
    "controller.quorum.election.timeout.ms": "3001",
    "controller.quorum.election.backoff.max.ms": "3002",
    "controller.quorum.fetch.timeout.ms": "3003",
    "controller.quorum.request.timeout.ms": "3004",
    "controller.quorum.retry.backoff.ms": "35",
    "controller.quorum.fetch.max.bytes": "3006",
    "controller.quorum.fetch.snapshot.max.bytes": "3007",
  })).toMatchObject({
    electionTimeoutMs: 3001,
    electionBackoffMaxMs: 3002,
    fetchTimeoutMs: 3003,
    requestTimeoutMs: 3004,
    retryBackoffMs: 35,
    fetchMaxWaitMs: DEFAULT_RAFT_SETTINGS.fetchMaxWaitMs,
    fetchMaxBytes: 3006,
    fetchSnapshotMaxBytes: 3007,
  });
});

test("raftSettings: a Fetch is kept for less than it is waited for, and nothing waits for no time", () => {
  for (const name of ["fetch.timeout.ms", "request.timeout.ms"]) {
    const settings = settingsOf({ [`controller.quorum.${name}`]: "300" });
    expect(settings.fetchMaxWaitMs).toBe(150);
  }
  const none = Object.fromEntries(
    [
      "election.timeout.ms",
      "election.backoff.max.ms",
      "fetch.timeout.ms",
      "request.timeout.ms",
      "retry.backoff.ms",
    ].map((name) => [`controller.quorum.${name}`, "0"]),
  );
  for (const value of Object.values(settingsOf(none))) expect(value).toBeGreaterThan(0);
});
