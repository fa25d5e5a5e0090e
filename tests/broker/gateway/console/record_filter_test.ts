import { describe, expect, test } from "bun:test";
import { ClientError } from "../../../../broker/client/client_error.ts";
import { parseFilter } from "../../../../broker/gateway/console/record_filter.ts";
import type { KafkaRecord } from "../../../../protocol/records.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const order = {
  offset: 7,
  timestamp: 1000,
  key: bytes("Alice"),
  value: bytes('{"total": 12.5, "status": "paid", "items": [{"sku": "A-1"}], "note": null}'),
  headers: [{ key: "Trace", value: bytes("xyz") }],
} as unknown as KafkaRecord;
const tombstone = { ...order, key: bytes("bob"), value: null, headers: [] } as KafkaRecord;

describe("parseFilter", () => {
  const cases: readonly (readonly [filter: string, isFound: boolean])[] = [
    ["alice", true],
    ["ALICE", true],
    ["paid", true],
    ["xyz", true],
    ["trace", true],
    ["absent", false],
    ["key:alice", true],
    ["key:paid", false],
    ["value:paid", true],
    ["value:alice", false],
    ["header:xyz", true],
    ["header:paid", false],
    ['"status": ', true],
    ['value:"\\"status\\": \\"paid\\""', true],
    ["alice paid", true],
    ["alice absent", false],
    ["$.total = 12.5", true],
    ["$.total=12.5", true],
    ["$.total > 12", true],
    ["$.total > 12.5", false],
    ["$.total >= 12.5", true],
    ["$.total < 13 alice", true],
    ["$.total != 12.5", false],
    ['$.status = "paid"', true],
    ["$.status = paid", true],
    ["$.status != open", true],
    ["$.status > 3", false],
    ["$.items[0].sku = A-1", true],
    ["$.items[1].sku = A-1", false],
    ["$.note = null", true],
    ["$.absent != 1", false],
    ["$.toString != 1", false],
  ];
  test.each(cases)("%s: found %p", (filter, isFound) => {
    expect(parseFilter(filter)!(order)).toBe(isFound);
  });

  test("a record without a value: is found by its key alone", () => {
    expect(parseFilter("key:bob")!(tombstone)).toBeTrue();
    expect(parseFilter("$.total = 1")!(tombstone)).toBeFalse();
    expect(parseFilter("value:x")!(tombstone)).toBeFalse();
  });

  test("a value that is no JSON: has nothing at any place", () => {
    const text = { ...order, value: bytes("{broken") } as KafkaRecord;
    expect(parseFilter("$.total = 1")!(text)).toBeFalse();
    expect(parseFilter("$.total != 1")!(text)).toBeFalse();
  });

  test("nothing: no filter", () => {
    expect(parseFilter("")).toBeNull();
    expect(parseFilter("   ")).toBeNull();
  });

  test("a quotation mark that is not closed: is told", () => {
    expect(() => parseFilter('"open')).toThrow(ClientError);
    expect(() => parseFilter('key:"')).toThrow("the quotation mark is not closed");
  });
});
