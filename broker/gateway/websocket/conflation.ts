/**
 * What a subscriber with `latest` or `sample` has not been sent yet: the newest record of each key, or the newest of all.
 *
 * Bounds: so many keys and so many bytes; past them the oldest are sent early or, where there is no room for that, given
 * up, which is what such a subscriber has asked for. Texts are copies: no fetched memory is held.
 */

import type { KafkaRecord } from "../../../protocol/records.ts";
import { recordFields } from "../../client/record_json.ts";

const MAX_KEYS = 10_000;
const MAX_BYTES = 1024 * 1024;

/** The newest records, oldest first. */
export class Newest {
  readonly #byKey: boolean;
  readonly #texts = new Map<string, string>();
  #byteCount = 0;

  /** `byKey`: the newest of each key; otherwise the newest of all. */
  constructor(byKey: boolean) {
    this.#byKey = byKey;
  }

  get count(): number {
    return this.#texts.size;
  }

  /** True when it is better sent now than later. */
  get isLarge(): boolean {
    return this.#byteCount > MAX_BYTES / 2 || this.#texts.size > MAX_KEYS / 2;
  }

  /** Puts a record in the place of the one before it. */
  add(record: KafkaRecord): void {
    const key = this.#byKey && record.key !== null ? `k${record.key.toBase64()}` : "";
    this.#remove(key);
    const text = JSON.stringify(recordFields(record));
    this.#texts.set(key, text);
    this.#byteCount += text.length + key.length;
    for (const oldest of this.#texts.keys()) {
      if (this.#byteCount <= MAX_BYTES && this.#texts.size <= MAX_KEYS) break;
      if (oldest !== key) this.#remove(oldest);
    }
  }

  #remove(key: string): void {
    const text = this.#texts.get(key);
    if (text === undefined) return;
    this.#byteCount -= text.length + key.length;
    this.#texts.delete(key);
  }

  /** Takes out the newest `count` of them at most; the others are given up. */
  takeOut(count: number): string[] {
    const texts = [...this.#texts.values()].slice(-count);
    this.#texts.clear();
    this.#byteCount = 0;
    return texts;
  }
}
