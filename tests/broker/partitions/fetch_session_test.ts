import { describe, expect, test } from "bun:test";
import {
  type FetchContext,
  type FetchPartition,
  FetchSessions,
  type PartitionState,
} from "../../../broker/partitions/fetch_session.ts";
import type { Partition } from "../../../broker/partitions/partition.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { ZERO_UUID } from "../../../protocol/types.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimRandom, testSeeds } from "../../sim/sim_random.ts";
import { NODE_ID } from "../controller/harness.ts";
import { batch, DataHarness, type FetchBody } from "./harness.ts";

const CLOCK = new SimClock();

function sessions(slots = 2, clock = CLOCK): FetchSessions {
  return new FetchSessions({ clock, random: new SimRandom(1), slots, evictionMs: 1000 });
}

function partition(topic: string, index = 0, fetchOffset = 0): FetchPartition {
  return {
    topic,
    topicId: ZERO_UUID,
    partition: index,
    fetchOffset,
    maxBytes: 100,
    currentLeaderEpoch: -1,
    lastFetchedEpoch: -1,
    logStartOffset: -1,
  };
}

function request(
  sessionId: number,
  sessionEpoch: number,
  partitions: readonly FetchPartition[] = [],
  { usesTopicIds = false, isFollower = false, forgotten = [] as readonly FetchPartition[] } = {},
) {
  return { sessionId, sessionEpoch, usesTopicIds, isFollower, partitions, forgotten };
}

const QUIET: PartitionState = {
  highWatermark: 5,
  lastStableOffset: 5,
  logStartOffset: 0,
  hasError: false,
  hasRecords: false,
};

describe("FetchSessions", () => {
  test("epoch 0 makes a session, later epochs need not name its partitions again", () => {
    const cache = sessions();
    const first = cache.open(request(0, 0, [partition("a"), partition("b")]));
    expect(first.sessionId).not.toBe(0);
    const next = cache.open(request(first.sessionId, 1));
    expect(next.toRead().map(({ topic }) => topic)).toEqual(["a", "b"]);
  });

  test("epoch −1 ends a session, and is answered without one", () => {
    const cache = sessions();
    const { sessionId } = cache.open(request(0, 0, [partition("a")]));
    const last = cache.open(request(sessionId, -1, [partition("b")]));
    expect([last.sessionId, last.partitionCount, cache.size]).toEqual([0, 1, 0]);
  });

  test("epoch 0 with an id replaces the session", () => {
    const cache = sessions();
    const { sessionId } = cache.open(request(0, 0, [partition("a")]));
    const again = cache.open(request(sessionId, 0, [partition("b")]));
    expect(again.sessionId).not.toBe(sessionId);
    expect(cache.size).toBe(1);
  });

  test("what does not fit a session is refused, and the session lives on", () => {
    const cache = sessions();
    const { sessionId } = cache.open(request(0, 0, [partition("a")]));
    expect(cache.open(request(sessionId + 1, 1)).error).toBe(ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
    expect(cache.open(request(sessionId, 2)).error).toBe(ErrorCode.INVALID_FETCH_SESSION_EPOCH);
    expect(cache.open(request(sessionId, 1, [], { usesTopicIds: true })).error)
      .toBe(ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR);
    expect(cache.open(request(sessionId, 1)).error).toBe(ErrorCode.NONE);
    expect(cache.open(request(sessionId, 1)).error).toBe(ErrorCode.INVALID_FETCH_SESSION_EPOCH);
  });

  test("partitions are added, changed and forgotten; an empty session ends", () => {
    const cache = sessions();
    const { sessionId } = cache.open(request(0, 0, [partition("a"), partition("b")]));
    const changed = cache.open(request(sessionId, 1, [partition("a", 0, 9), partition("c")], {
      forgotten: [partition("b")],
    }));
    expect(changed.toRead().map(({ topic, fetchOffset }) => [topic, fetchOffset]))
      .toEqual([["a", 9], ["c", 0]]);
    const empty = cache.open(request(sessionId, 2, [], {
      forgotten: [partition("a"), partition("c")],
    }));
    expect([empty.sessionId, empty.partitionCount, cache.size]).toEqual([0, 0, 0]);
  });

  test("only news is said, and each piece of news once", () => {
    const cache = sessions();
    const a = partition("a");
    const first = cache.open(request(0, 0, [a]));
    expect(first.include(first.toRead()[0]!, QUIET)).toBe(true);
    const news: readonly [Partial<PartitionState>, boolean][] = [
      [{}, false],
      [{ highWatermark: 6 }, true],
      [{ highWatermark: 6 }, false],
      [{ highWatermark: 6, logStartOffset: 1 }, true],
      [{ highWatermark: 6, logStartOffset: 1, lastStableOffset: 6 }, true],
      [{ highWatermark: 6, logStartOffset: 1, lastStableOffset: 6, hasRecords: true }, true],
      [{ highWatermark: 6, logStartOffset: 1, lastStableOffset: 6, hasRecords: true }, true],
      [{ hasError: true }, true],
      [{ hasError: true }, true],
      // The error is over: the client must hear of it.
      [{}, true],
      [{}, false],
    ];
    news.forEach(([change, isNews], index) => {
      const context = cache.open(request(first.sessionId, index + 1));
      const isSaid = context.include(context.toRead()[0]!, { ...QUIET, ...change });
      expect([index, isSaid]).toEqual([index, isNews]);
    });
  });

  test("a partition that gave records goes behind the others", () => {
    const cache = sessions();
    const all = ["a", "b", "c"].map((topic) => partition(topic));
    const { sessionId, toRead, include } = cache.open(request(0, 0, all));
    include(toRead()[0]!, { ...QUIET, hasRecords: true });
    const next = cache.open(request(sessionId, 1));
    expect(next.toRead().map(({ topic }) => topic)).toEqual(["b", "c", "a"]);
  });

  test("a full cache evicts the session that was idle longest, if idle long enough", async () => {
    const clock = new SimClock();
    const cache = sessions(2, clock);
    const one = cache.open(request(0, 0, [partition("a")]));
    await clock.advance(600);
    const two = cache.open(request(0, 0, [partition("a")]));
    expect(cache.open(request(0, 0, [partition("a")])).sessionId).toBe(0);
    await clock.advance(600);
    const three = cache.open(request(0, 0, [partition("a")]));
    expect(three.sessionId).not.toBe(0);
    expect(cache.open(request(one.sessionId, 1)).error).toBe(ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
    expect(cache.open(request(two.sessionId, 1)).error).toBe(ErrorCode.NONE);
    expect([cache.size, cache.partitionCount, cache.evictionCount]).toEqual([2, 2, 1]);
  });

  test("the epoch wraps to 1, never to 0 or −1", () => {
    const cache = sessions();
    const { sessionId } = cache.open(request(0, 0, [partition("a")]));
    let epoch = 1;
    for (let i = 0; i < 10; i++) expect(cache.open(request(sessionId, epoch++)).error).toBe(0);
  });

  // The twin: after each exchange, a client that folds incremental answers into what it knew must know
  // exactly what a full fetch without a session tells.
  test.each(testSeeds(20))("incremental answers fold up to full ones, seed %i", async (seed) => {
    const random = new SimRandom(seed);
    const node = await DataHarness.start({ seed });
    const topics = ["a", "b", "c"];
    for (const topic of topics) await node.makeTopic(topic, { partitionCount: 2 });
    const wanted = new Map<string, { topic: string; partition: number; fetchOffset: number }>();
    /** What the session holds, and what the client knows. */
    const held = new Set<string>();
    const known = new Map<string, string>();
    const changed = new Set<string>();
    let sessionId = 0;
    let sessionEpoch = 0;
    let savedCount = 0;
    for (let round = 0; round < 30; round++) {
      await disturb(node, random);
      for (let times = random.below(4); times > 0; times--) {
        const topic = random.pick(topics);
        const partition = random.below(3);
        const key = `${topic}-${partition}`;
        if (!wanted.has(key)) {
          wanted.set(key, { topic, partition, fetchOffset: random.below(8) });
          changed.add(key);
        } else if (wanted.size > 1) {
          wanted.delete(key);
          changed.delete(key);
        }
      }
      if (wanted.size === 0) continue;
      const forgottenTopicsData = [...held].filter((key) => !wanted.has(key)).map((key) => {
        held.delete(key);
        known.delete(key);
        return { topic: key.slice(0, 1), partitions: [Number(key.slice(2))] };
      });
      const body = (keys: Iterable<string>) => ({
        maxWaitMs: 0,
        topics: [...keys].map((key) => {
          const { topic, ...rest } = wanted.get(key)!;
          return { topic, partitions: [rest] };
        }),
      });
      const asked = sessionEpoch === 0 ? wanted.keys() : changed;
      const incremental = await node.run(
        node.fetch({ ...body(asked), sessionId, sessionEpoch, forgottenTopicsData }).answer,
      );
      expect(incremental!.errorCode).toBe(ErrorCode.NONE);
      const full = await node.run(node.fetch(body(wanted.keys())).answer);
      const said = saidOf(incremental!);
      savedCount += wanted.size - said.size;
      for (const [key, news] of said) known.set(key, news);
      expect(new Map([...known].sort())).toEqual(new Map([...saidOf(full!)].sort()));
      sessionId = incremental!.sessionId;
      sessionEpoch++;
      changed.clear();
      for (const [key, place] of wanted) {
        held.add(key);
        // Records are of one answer only; who got some goes on behind them, mostly.
        known.set(key, known.get(key)!.replace(/r\d+$/, "r0"));
        const end = Number(/h(-?\d+)/.exec(known.get(key)!)![1]);
        if (end < 0 || place.fetchOffset === end || random.chance(0.3)) continue;
        place.fetchOffset = end;
        changed.add(key);
      }
    }
    expect(savedCount).toBeGreaterThan(0);
  });

  // The twin: a second follower that asks for everything each time, without a session.
  test.each(testSeeds(20))(
    "a follower hears in a session what others hear, seed %i",
    async (seed) => {
      const random = new SimRandom(seed);
      const node = await DataHarness.start({ seed });
      const keys = ["a-0", "a-1", "b-0", "b-1", "c-0", "c-1"];
      const partitionOf = (key: string) => node.partition(key.slice(0, 1), Number(key.slice(2)));
      for (const topic of ["a", "b", "c"]) await node.makeTopic(topic, { partitionCount: 2 });
      for (const key of keys) lead(partitionOf(key));
      const offsets = new Map(keys.map((key) => [key, 0]));
      const ask = async (replicaId: number, asked: Iterable<string>, body: FetchBody = {}) => {
        const topics = [...asked].map((key) => ({
          topic: key.slice(0, 1),
          partitions: [{ partition: Number(key.slice(2)), fetchOffset: offsets.get(key)! }],
        }));
        return (await node.run(
          node.fetch({ replicaId, maxWaitMs: 0, topics, ...body }, 12).answer,
        ))!;
      };
      const held = new Set(keys.slice(0, 2));
      let changed = new Set(held);
      const known = new Map<string, string>();
      let [sessionId, sessionEpoch, saidCount] = [0, 0, 0];
      for (let round = 0; round < 40; round++) {
        await disturb(node, random);
        for (const key of keys) partitionOf(key).requestCommit();
        await node.clock.advance(random.below(30));
        // Now and then the other one comes later, and commits what this one has named.
        const isAhead = random.chance(0.3);
        if (!isAhead) await ask(3, keys);
        const maxWaitMs = random.pick([0, 20]);
        const answer = await ask(2, changed, { sessionId, sessionEpoch, maxWaitMs });
        sessionId = answer.sessionId;
        sessionEpoch++;
        for (const [key, news] of saidOf(answer)) known.set(key, news), saidCount++;
        const full = [...saidOf(await ask(3, keys))].filter(([key]) => held.has(key));
        if (!isAhead) expect(new Map([...known].sort())).toEqual(new Map(full.sort()));
        changed = new Set();
        for (const key of keys) {
          if (!held.has(key) && random.chance(0.8)) continue;
          const { syncedOffset } = partitionOf(key).log;
          const isNamed = !held.has(key) || offsets.get(key)! < syncedOffset && random.chance(0.7);
          if (isNamed) changed.add(key);
          if (isNamed && held.has(key)) offsets.set(key, syncedOffset);
          held.add(key);
          const before = known.get(key);
          if (before !== undefined) known.set(key, before.replace(/r\d+$/, "r0"));
        }
      }
      expect(saidCount).toBeLessThan(40 * keys.length);
    },
  );

  test("a follower's session reads what has moved alone, and all now and then", async () => {
    const node = await DataHarness.start();
    const indexes = [0, 1, 2];
    await node.makeTopic("a", { partitionCount: indexes.length });
    for (const index of indexes) lead(node.partition("a", index));
    const cache = sessions(2, node.clock);
    const follower = { isFollower: true };
    const asked = indexes.map((index) => partition("a", index));
    const read = (context: FetchContext) => {
      const list = context.toRead();
      for (const fetch of list) {
        const found = node.partition("a", fetch.partition);
        const { highWatermark, lastStableOffset } = found;
        const state = { ...QUIET, highWatermark, lastStableOffset, logStartOffset: 0 };
        fetch.remembered!.watch(found);
        context.include(fetch, state);
        fetch.remembered!.settle(state);
      }
      return list.map((fetch) => fetch.partition);
    };
    const first = cache.open(request(0, 0, asked, follower));
    expect(read(first)).toEqual([0, 1, 2]);
    expect(read(cache.open(request(first.sessionId, 1, [], follower)))).toEqual([]);
    await node.produced("a", batch(1), { index: 1, acks: 1 });
    expect(read(cache.open(request(first.sessionId, 2, [], follower)))).toEqual([1]);
    const named = [partition("a", 2)];
    expect(read(cache.open(request(first.sessionId, 3, named, follower)))).toEqual([2]);
    await node.clock.advance(1000);
    expect(read(cache.open(request(first.sessionId, 4, [], follower)))).toEqual([0, 1, 2]);
    const forgotten = [partition("a", 1)];
    read(cache.open(request(first.sessionId, 5, [], { ...follower, forgotten })));
    await node.produced("a", batch(1), { index: 1, acks: 1 });
    expect(read(cache.open(request(first.sessionId, 6, [], follower)))).toEqual([]);
  });
});

/** Nodes 2 and 3 follow it. */
function lead(led: Partition): void {
  const replicas = [NODE_ID, 2, 3];
  led.updateImage({ ...led.image, replicas, isr: replicas, partitionEpoch: 1 });
}

/** Something happens to the partitions. */
async function disturb(node: DataHarness, random: SimRandom): Promise<void> {
  for (let times = random.below(3); times > 0; times--) {
    const topic = random.pick(["a", "b", "c"]);
    const index = random.below(2);
    if (random.chance(0.8)) {
      await node.produced(topic, batch(1 + random.below(3)), { index, acks: 1 });
    } else {
      const found = node.partition(topic, index);
      const { log, highWatermark } = found;
      const upTo = log.logStartOffset + random.below(highWatermark - log.logStartOffset + 1);
      found.deleteRecordsBefore(upTo as never);
    }
  }
}

/** What an answer says, by partition: error, high watermark, last stable and log start offset, bytes. */
function saidOf(
  answer: NonNullable<Awaited<ReturnType<DataHarness["fetch"]>["answer"]>>,
): Map<string, string> {
  const said = new Map<string, string>();
  for (const { topic, partitions } of answer.responses) {
    for (const found of partitions) {
      const { partitionIndex, errorCode, highWatermark, lastStableOffset, logStartOffset } = found;
      said.set(
        `${topic}-${partitionIndex}`,
        `e${errorCode} h${highWatermark} s${lastStableOffset} l${logStartOffset} ` +
          `r${found.records!.length}`,
      );
    }
  }
  return said;
}
