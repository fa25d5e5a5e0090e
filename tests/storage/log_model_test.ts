/** What the model of a log takes for cleaned once a truncation has dropped what it was cleaned for. */

import { expect, test } from "bun:test";
import { buildBatch, type NewBatch } from "../../protocol/records.ts";
import { LogModel, ModelBatch } from "./log_model.ts";

const PRODUCER = { producerId: 7, producerEpoch: 0, transactional: true };
const ABORT = new Uint8Array([0, 0, 0, 0]);
const CLEANABLE = 4;

/** Appends a batch of one record. */
function append(model: LogModel, key: string | Uint8Array, over: Partial<NewBatch> = {}): void {
  const record = { key: Uint8Array.from(Buffer.from(key)), value: new Uint8Array(6), timestamp: 1 };
  const sent = buildBatch({ records: [record], ...over });
  const { end: baseOffset } = model;
  model.append(new ModelBatch({ baseOffset, epoch: 0, sent, bytes: null, logAppendTimeMs: -1 }));
}

/** A log of single records with these keys, of which the cleaner has seen the first four. */
function cleanedModel(keys: string): LogModel {
  const model = new LogModel();
  for (const key of keys) append(model, key);
  model.compactedBelow = CLEANABLE;
  return model;
}

function maybeCleaned(model: LogModel): number[] {
  return model.batches.map(({ baseOffset }) => baseOffset).filter((at) => model.isMaybeCleaned(at));
}

test.each([
  ["what a newer record has superseded", "abca", 2, [0]],
  ["nothing of which the cleaner has not seen a newer one", "abcda", 3, []],
  ["nothing that was the newest", "abac", 3, [0]],
  ["all but the newest", "aaaa", 3, [0, 1, 2]],
])("LogModel.noteCleaned: may be gone is %s", (_, keys, endOffset, expected) => {
  const model = cleanedModel(keys);
  expect(maybeCleaned(model)).toEqual([]);
  model.noteCleaned();
  model.cutTo(endOffset);
  expect(maybeCleaned(model)).toEqual(expected);
});

test("LogModel.noteCleaned: says nothing of what is written later, at the same offsets too", () => {
  const model = cleanedModel("aaaa");
  model.noteCleaned();
  model.cutTo(3);
  append(model, "a");
  expect(maybeCleaned(model)).toEqual([0, 1, 2]);
  model.cutTo(1);
  append(model, "a");
  expect(maybeCleaned(model)).toEqual([0]);
  model.restartAt(0);
  append(model, "a");
  expect(maybeCleaned(model)).toEqual([]);
});

test("LogModel.noteCleaned: what was aborted may be gone, and is open without its marker", () => {
  for (const isLastOfProducer of [true, false]) {
    const model = new LogModel();
    append(model, "a");
    append(model, "b", { ...PRODUCER, baseSequence: 0 });
    append(model, ABORT, { ...PRODUCER, control: true });
    append(model, "c", isLastOfProducer ? {} : { ...PRODUCER, baseSequence: 1 });
    model.compactedBelow = CLEANABLE;
    model.noteCleaned();
    model.cutTo(2);
    expect(maybeCleaned(model)).toEqual([1]);
    expect(model.isMaybeForgotten(model.batches[1]!)).toBe(!isLastOfProducer);
    const { open, surelyOpen } = model.transactions(0);
    expect([...open]).toEqual([[PRODUCER.producerId, 1]]);
    // Of the last batch of a producer the cleaner leaves the header.
    expect([...surelyOpen]).toEqual(isLastOfProducer ? [[PRODUCER.producerId, 1]] : []);
  }
});
