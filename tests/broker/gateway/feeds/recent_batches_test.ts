import { expect, test } from "bun:test";
import { FeedBatch, MAX_KEPT_FORMS } from "../../../../broker/gateway/feeds/feed_batch.ts";
import { RecentBatches, RecentBudget } from "../../../../broker/gateway/feeds/recent_batches.ts";
import type { Uuid } from "../../../../protocol/types.ts";
import { SimRandom } from "../../../sim/sim_random.ts";

const MIB = 1024 * 1024;

function batchOf(startOffset: number, nextOffset: number, byteCount: number): FeedBatch {
  const value = new Uint8Array(byteCount);
  const records = [{ offset: startOffset, timestamp: 0, key: null, value, headers: [] }];
  const topicId = "dGhlIHRvcGljJ3MgaWQuLg" as Uuid;
  const place = { topic: "t", topicId, partition: 0, startOffset, nextOffset, leaderEpoch: 0 };
  return new FeedBatch({ ...place, records });
}

for (const seed of [1, 2, 3, 4, 5]) {
  test(`RecentBatches: an offset finds its batch or none, within one bound for all feeds (seed ${seed})`, () => {
    const random = new SimRandom(seed);
    const budget = new RecentBudget();
    const feeds = Array.from({ length: 3 }, () => ({
      recent: new RecentBatches(budget),
      all: [] as FeedBatch[],
      end: 0,
      clearedAt: 0,
    }));
    for (let step = 0; step < 2000; step++) {
      const feed = feeds[random.below(3)]!;
      if (random.below(100) === 0) {
        feed.recent.clear();
        feed.clearedAt = feed.end;
        expect(feed.recent.isEmpty).toBeTrue();
      }
      const next = feed.end + 1 + random.below(5);
      const size = random.below(20) === 0 ? random.below(MIB) : random.below(2000);
      const batch = batchOf(feed.end, next, size);
      feed.end = next;
      feed.all.push(batch);
      feed.recent.add(batch);
      expect(budget.byteCount).toBeLessThanOrEqual(16 * MIB);
      // The newest is here, unless it alone is past the bound; before a clear there is nothing.
      expect(feed.recent.at(batch.startOffset)).toBe(batch);
      expect(feed.recent.at(feed.end)).toBeNull();
      const asked = random.below(feed.end);
      const found = feed.recent.at(asked);
      const right = feed.all.find((it) => it.startOffset <= asked && asked < it.nextOffset)!;
      if (found !== null) expect(found).toBe(right);
      if (asked < feed.clearedAt) expect(found).toBeNull();
    }
  });
}

test("made: forms that few want are let go with the round, those of many are kept", () => {
  const batch = batchOf(0, 1, 1);
  let made = 0;
  const make = (form: number) => batch.made(form, () => ++made);
  make(0);
  batch.settle();
  make(0);
  expect(made).toBe(1);
  for (let form = 1; form <= MAX_KEPT_FORMS; form++) make(form);
  batch.settle();
  make(0);
  expect(made).toBe(MAX_KEPT_FORMS + 2);
});
