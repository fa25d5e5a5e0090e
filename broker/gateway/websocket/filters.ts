/**
 * Which records a subscription wants: conditions on key, headers and fields of a JSON value.
 *
 * Bounds: a condition looks at a record once; a value is read as JSON once for all subscribers, and not at all past a
 * size. Those with the same filter share what passes it.
 */

import type { KafkaRecord } from "../../../protocol/records.ts";
import type { FeedBatch } from "../feeds/feed_batch.ts";
import type { FilterSpec } from "./messages.ts";

/** Larger values are not read as JSON, and pass no condition on JSON. */
const MAX_JSON_BYTES = 256 * 1024;
const PARSED = Symbol("values read as JSON");
const NOTHING = Symbol("no such field");

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What of a batch passes a filter. */
export interface Passed {
  readonly records: readonly KafkaRecord[];
  /** Places of these records in the batch; null where they are all of it. */
  readonly places: readonly number[] | null;
}

type Condition = (record: KafkaRecord, parsed: () => unknown) => boolean;

/** A filter that is ready to be used. */
export class Filter {
  /** The same for filters that ask the same. */
  readonly name: string;
  readonly #conditions: readonly Condition[];

  constructor(spec: FilterSpec) {
    this.name = `filter ${JSON.stringify(spec)}`;
    this.#conditions = conditionsOf(spec);
  }

  /** What passes; worked out once for all subscribers of the batch. */
  pass(batch: FeedBatch): Passed {
    return batch.made(this.name, () => this.#pass(batch));
  }

  #pass(batch: FeedBatch): Passed {
    const parsed = batch.made(PARSED, () => new Map<KafkaRecord, unknown>());
    const records: KafkaRecord[] = [];
    const places: number[] = [];
    for (const [place, record] of batch.records.entries()) {
      const value = () => {
        if (!parsed.has(record)) parsed.set(record, parse(record.value));
        return parsed.get(record);
      };
      if (!this.#conditions.every((holds) => holds(record, value))) continue;
      records.push(record);
      places.push(place);
    }
    return { records, places };
  }
}

function parse(value: Uint8Array | null): unknown {
  if (value === null || value.length > MAX_JSON_BYTES) return NOTHING;
  try {
    return JSON.parse(decoder.decode(value));
  } catch {
    return NOTHING;
  }
}

function conditionsOf({ key, headers, json }: FilterSpec): Condition[] {
  const conditions: Condition[] = [];
  if (key?.equals !== undefined) {
    const wanted = encoder.encode(key.equals);
    conditions.push((record) => isSame(record.key, wanted));
  }
  if (key?.prefix !== undefined) {
    const wanted = encoder.encode(key.prefix);
    conditions.push(({ key: found }) =>
      found !== null && isSame(found.subarray(0, wanted.length), wanted)
    );
  }
  for (const [name, text] of Object.entries(headers ?? {})) {
    const wanted = encoder.encode(text);
    conditions.push((record) =>
      record.headers.some((header) => header.key === name && isSame(header.value, wanted))
    );
  }
  for (const { path, is, value } of json ?? []) {
    const names = path.split(".");
    const wanted = value ?? null;
    conditions.push((_, parsed) => compare(fieldAt(parsed(), names), is, wanted));
  }
  return conditions;
}

function isSame(found: Uint8Array | null, wanted: Uint8Array): boolean {
  if (found === null || found.length !== wanted.length) return false;
  for (let i = 0; i < wanted.length; i++) if (found[i] !== wanted[i]) return false;
  return true;
}

function fieldAt(value: unknown, names: readonly string[]): unknown {
  let found = value;
  for (const name of names) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, name)) return NOTHING;
    found = (found as Record<string, unknown>)[name];
  }
  return found;
}

type Comparison = NonNullable<FilterSpec["json"]>[number]["is"];
type Scalar = string | number | boolean | null;

function compare(found: unknown, is: Comparison, wanted: Scalar): boolean {
  if (is === "exists") return found !== NOTHING;
  if (is === "=") return found === wanted;
  if (is === "!=") return found !== NOTHING && found !== wanted;
  const areNumbers = typeof found === "number" && typeof wanted === "number";
  const areTexts = typeof found === "string" && typeof wanted === "string";
  if (!areNumbers && !areTexts) return false;
  switch (is) {
    case "<":
      return found < wanted;
    case "<=":
      return found <= wanted;
    case ">":
      return found > wanted;
    case ">=":
      return found >= wanted;
  }
}
