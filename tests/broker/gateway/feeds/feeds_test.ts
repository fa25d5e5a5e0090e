import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { FeedBatch } from "../../../../broker/gateway/feeds/feed_batch.ts";
import { Feeds, type FeedStart } from "../../../../broker/gateway/feeds/feeds.ts";
import type {
  FeedEnd,
  FeedGap,
  FeedSubscriber,
} from "../../../../broker/gateway/feeds/subscriber.ts";
import type { Subscription } from "../../../../broker/gateway/feeds/subscription.ts";
import { SimRandom } from "../../../sim/sim_random.ts";
import { GatewayWorld } from "../gateway_world.ts";

const decoder = new TextDecoder();
const TEXT = Symbol("text");

/** Notes what it is given, and takes no more than it has room for. */
class Reader implements FeedSubscriber {
  readonly values: string[] = [];
  readonly offsets: number[] = [];
  readonly gaps: FeedGap[] = [];
  end: FeedEnd | null = null;
  room = Infinity;
  subscription: Subscription | null = null;

  take(batch: FeedBatch): number {
    const count = Math.min(this.room, batch.records.length);
    const texts = batch.made(TEXT, textsOf);
    for (let i = 0; i < count; i++) {
      this.offsets.push(batch.records[i]!.offset);
      this.values.push(texts[i]!);
    }
    this.room -= count;
    return count;
  }

  gap(gap: FeedGap): void {
    this.gaps.push(gap);
  }

  ended(end: FeedEnd): void {
    this.end = end;
  }
}

let madeCount = 0;
function textsOf(batch: FeedBatch): string[] {
  madeCount++;
  return batch.records.map(({ value }) => decoder.decode(value ?? new Uint8Array(0)));
}

let world: GatewayWorld;
let feeds: Feeds;

beforeEach(async () => {
  world = new GatewayWorld();
  await world.start();
  feeds = new Feeds({ client: () => world.client, clock: world.machine.clock });
  await world.machine.succeed("topic create orders -p 2");
});
afterEach(async () => {
  await world.run(feeds.stop());
  await world.end();
});

async function subscribe(start: FeedStart, reader = new Reader(), partition = 0): Promise<Reader> {
  const request = { topic: "orders", partition, start };
  reader.subscription = await world.run(feeds.subscribe(request, reader));
  return reader;
}

const range = (start: number, end: number) =>
  Array.from({ length: end - start }, (_, i) => start + i);

describe("Feeds", () => {
  test("subscribe: the end, the beginning, an offset and a time, each from where it says", async () => {
    await world.produce("orders", ["a", "b"]);
    await world.machine.clock.advance(10_000);
    const timestampMs = world.machine.clock.wallMs();
    await world.produce("orders", ["c"]);
    const [latest, earliest, third, timed] = [
      await subscribe({ kind: "end" }),
      await subscribe({ kind: "beginning" }),
      await subscribe({ kind: "offset", offset: 1 }),
      await subscribe({ kind: "timestamp", timestampMs }),
    ];
    await world.until(
      "all are live",
      () => [latest, earliest, third, timed].every(({ subscription }) => subscription!.isLive),
    );
    await world.produce("orders", ["d"]);
    await world.until("the last record comes", () => latest.values.length === 1);
    expect(latest.values).toEqual(["d"]);
    expect(earliest.values).toEqual(["a", "b", "c", "d"]);
    expect(third.values).toEqual(["b", "c", "d"]);
    expect(timed.values).toEqual(["c", "d"]);
    expect(timed.subscription!.position).toBe(4);
  });

  test("subscribe: live ones share what is fetched, decoded and made", async () => {
    const readers = await Promise.all(range(0, 50).map(() => subscribe({ kind: "end" })));
    await world.produce("orders", ["x"]);
    await world.until("all have it", () => readers.every(({ values }) => values.length === 1));
    madeCount = 0;
    await world.produce("orders", ["y", "z"]);
    await world.until("all have them", () => readers.every(({ values }) => values.length === 3));
    expect(madeCount).toBe(1);
    expect(feeds.partitionCount).toBe(1);
    for (const { subscription } of readers) subscription!.close();
    expect(feeds.partitionCount).toBe(0);
  });

  test("subscribe: refuses what is not there", async () => {
    const missing = feeds.subscribe(
      { topic: "none", partition: 0, start: { kind: "end" } },
      new Reader(),
    );
    await expect(world.run(missing)).rejects.toThrow("topic none does not exist");
    await expect(subscribe({ kind: "end" }, new Reader(), 2)).rejects.toThrow(
      "partition 2 does not exist; topic orders has partitions 0 to 1",
    );
    expect(feeds.partitionCount).toBe(0);
  });

  test("take: a full subscriber holds nobody up, and goes on without gap once it has room", async () => {
    const full = new Reader();
    full.room = 3;
    const [quick] = [await subscribe({ kind: "end" }), await subscribe({ kind: "end" }, full)];
    for (let i = 0; i < 10; i++) await world.produce("orders", [`${2 * i}`, `${2 * i + 1}`]);
    await world.until("the quick one has all", () => quick.values.length === 20);
    expect(full.values).toEqual(["0", "1", "2"]);
    expect(full.subscription!.isLive).toBeFalse();
    full.room = 4;
    full.subscription!.resume();
    await world.until("it has what there was room for", () => full.values.length === 7);
    full.room = Infinity;
    full.subscription!.resume();
    await world.until("it is live", () => full.subscription!.isLive);
    await world.produce("orders", ["20"]);
    await world.until("both have it", () => full.values.length + quick.values.length === 42);
    expect(full.values).toEqual(quick.values);
  });

  test("gap: what retention took before it was read is told, for those behind and for the feed", async () => {
    await world.produce("orders", ["a", "b", "c", "d"]);
    const slow = new Reader();
    slow.room = 1;
    await subscribe({ kind: "beginning" }, slow);
    await world.until("it is full", () => slow.values.length === 1);
    await world.machine.succeed("topic trim orders --before 3");
    slow.room = Infinity;
    slow.subscription!.resume();
    await world.until("it goes on", () => slow.values.length === 2);
    expect(slow.values).toEqual(["a", "d"]);
    expect(slow.gaps).toEqual([{ reason: "retention", fromOffset: 1, toOffset: 3 }]);
    const early = await subscribe({ kind: "offset", offset: 0 });
    await world.until("it goes on", () => early.values.length === 1);
    expect(early.gaps).toEqual([{ reason: "retention", fromOffset: 0, toOffset: 3 }]);
  });

  test("resume: a place of a leader that this node knows nothing of is believed for ten seconds", async () => {
    await world.produce("orders", ["a"]);
    const others = await subscribe({ kind: "beginning" });
    const ahead = await subscribe({ kind: "resume", offset: 9, leaderEpoch: 99 });
    await world.machine.clock.advance(9_000);
    await world.produce("orders", ["b"]);
    await world.until("the others are not held up", () => others.values.length === 2);
    expect(ahead.gaps).toEqual([]);
    await world.machine.clock.advance(3_000);
    await world.until("it is live", () => ahead.subscription!.isLive);
    expect(ahead.gaps).toEqual([{ reason: "truncation", fromOffset: 9, toOffset: 2 }]);
  });

  test("gap: an offset past the end goes on at the end, and says that records were lost", async () => {
    await world.produce("orders", ["a"]);
    const ahead = await subscribe({ kind: "offset", offset: 9 });
    await world.until("it is live", () => ahead.subscription!.isLive);
    expect(ahead.gaps).toEqual([{ reason: "truncation", fromOffset: 9, toOffset: 1 }]);
    await world.produce("orders", ["b"]);
    await world.until("it goes on", () => ahead.values.length === 1);
    expect(ahead.values).toEqual(["b"]);
  });

  test("ended: a topic that is deleted, also when another one has its name at once", async () => {
    const live = await subscribe({ kind: "end" });
    const stalled = new Reader();
    stalled.room = 0;
    await subscribe({ kind: "end" }, stalled);
    await world.produce("orders", ["a"]);
    await world.until("it comes", () => live.values.length === 1);
    await world.machine.succeed("topic delete orders");
    await world.machine.succeed("topic create orders -p 2");
    await world.produce("orders", ["another topic's"]);
    await world.until("it ends", () => live.end !== null);
    expect(live.end!.reason).toBe("deleted");
    expect(stalled.end!.reason).toBe("deleted");
    expect(live.values).toEqual(["a"]);
    const anew = await subscribe({ kind: "beginning" });
    await world.until("the new one is read", () => anew.values.length === 1);
  });

  test("stop: tells all, waits for what is under way and leaves no timer", async () => {
    const reader = await subscribe({ kind: "end" });
    await world.run(feeds.stop());
    expect(reader.end!.reason).toBe("unavailable");
    await expect(subscribe({ kind: "end" })).rejects.toThrow("this node serves no more");
  });

  test("restart: the broker goes and comes back, and everybody goes on without gap", async () => {
    const [live, behind] = [await subscribe({ kind: "end" }), new Reader()];
    behind.room = 1;
    await subscribe({ kind: "end" }, behind);
    await world.produce("orders", ["a", "b"]);
    await world.until("they come", () => live.values.length === 2);
    await world.run(world.broker.stop());
    await world.machine.clock.advance(3_000);
    behind.room = Infinity;
    behind.subscription!.resume();
    await world.machine.clock.advance(3_000);
    await world.start();
    await world.produce("orders", ["c"]);
    await world.until("both go on", () => live.values.length + behind.values.length === 6);
    expect(live.values).toEqual(["a", "b", "c"]);
    expect(behind.values).toEqual(["a", "b", "c"]);
    expect([...live.gaps, ...behind.gaps]).toEqual([]);
  });
});

interface Joined {
  readonly reader: Reader;
  readonly partition: number;
  /** Null: at the end, wherever that was. */
  readonly from: number | null;
  isClosed: boolean;
}

/** Produces, joins, leaves, makes room and lets time pass, as chance has it. Returns: who joined, and the ends. */
async function liveThrough(random: SimRandom): Promise<{ joined: Joined[]; ends: number[] }> {
  const joined: Joined[] = [];
  const ends = [0, 0];
  // One after another in a partition, beside everything else.
  const produced: Promise<unknown>[] = [Promise.resolve(), Promise.resolve()];
  const begun: Promise<unknown>[] = [];
  for (let step = 0; step < 200; step++) {
    const partition = random.below(2);
    const end = ends[partition]!;
    const pick = random.below(10);
    const chosen = joined[random.below(Math.max(joined.length, 1))];
    if (pick < 5) {
      const values = range(end, end + 1 + random.below(6)).map(String);
      ends[partition]! += values.length;
      produced[partition] = produced[partition]!.then(() =>
        world.send("orders", values, partition)
      );
    } else if (pick < 7) {
      const reader = new Reader();
      if (random.below(2) === 0) reader.room = random.below(5);
      const from = random.below(3) === 0 ? null : 0;
      const start: FeedStart = from === null ? { kind: "end" } : { kind: "offset", offset: from };
      joined.push({ reader, partition, from, isClosed: false });
      begun.push(
        feeds.subscribe({ topic: "orders", partition, start }, reader)
          .then((subscription) => reader.subscription = subscription),
      );
    } else if (pick < 9) {
      if (chosen !== undefined) chosen.reader.room += random.below(8);
      chosen?.reader.subscription?.resume();
    } else if (chosen?.reader.subscription != null) {
      chosen.isClosed = true;
      chosen.reader.subscription.close();
    }
    if (random.below(2) === 0) await world.machine.clock.advance(random.below(8));
  }
  await world.run(Promise.all([...produced, ...begun]));
  return { joined, ends };
}

for (const seed of range(1, 13)) {
  test(`Feeds: whoever joins, leaves or stalls, each sees every record once and in order (seed ${seed})`, async () => {
    const { joined, ends } = await liveThrough(new SimRandom(seed));
    for (const { reader } of joined) {
      reader.room = Infinity;
      reader.subscription!.resume();
    }
    await world.until(
      "all are live",
      () => joined.every(({ reader, isClosed }) => isClosed || reader.subscription!.isLive),
    );
    await world.machine.clock.advance(1000);
    for (const { reader, from, partition, isClosed } of joined) {
      const count = reader.offsets.length;
      const first = from ?? reader.offsets[0] ?? ends[partition]!;
      const end = isClosed ? first + count : ends[partition]!;
      expect(reader.offsets).toEqual(range(first, end));
      expect(reader.values).toEqual(reader.offsets.map(String));
    }
  });
}
