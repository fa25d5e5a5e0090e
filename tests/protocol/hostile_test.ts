/**
 * Bytes from an enemy: whatever they are, a decoder gives a value or a WireError, in bounded time
 * and memory, and the twin gives the same verdict. `WEIR_SEED` picks other bytes.
 */

import { describe, expect, test } from "bun:test";
import {
  MAX_ARRAY_ELEMENTS,
  MAX_TAGGED_FIELDS,
  Reader,
  WireError,
  Writer,
} from "../../protocol/bytes.ts";
import { codec, decodeMessage, encodeMessage } from "../../protocol/compile.ts";
import { decodeRequestHeader } from "../../protocol/headers.ts";
import type { Message } from "../../protocol/schema.ts";
import { messages } from "../../protocol/schemas/index.ts";
import { createTopicsRequest } from "../../protocol/schemas/create_topics.ts";
import { fetchRequest } from "../../protocol/schemas/fetch.ts";
import { metadataRequest, metadataResponse } from "../../protocol/schemas/metadata.ts";
import { produceRequest } from "../../protocol/schemas/produce.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { Interpreter, TwinError } from "./interpreter.ts";
import { everyVersion, randomValue } from "./random_values.ts";

const seed = Number(process.env["WEIR_SEED"] ?? 1);
const cases = everyVersion(messages);

/** What came of decoding: the value, or "refused" for the one error that is allowed. */
function verdict(decode: () => unknown, refusal: new (message: string) => Error): unknown {
  try {
    return decode();
  } catch (error) {
    if (error instanceof refusal) return "refused";
    throw error;
  }
}

function checkBoth(message: Message, version: number, bytes: Uint8Array): void {
  const found = verdict(() => decodeMessage(message, version, bytes), WireError);
  const expected = verdict(() => new Interpreter(message, version).decode(bytes), TwinError);
  try {
    expect(found).toStrictEqual(expected);
  } catch (cause) {
    const name = `${message.name} version ${version}, bytes ${bytes.toHex()}`;
    throw new Error(`${name}: ${cause}`, { cause });
  }
}

/** An encoding of a random value, small enough to be tried at every byte. */
function sample(message: Message, version: number, label: string): Uint8Array {
  const random = new SimRandom(seed).fork(`${label} ${message.name} ${version}`);
  let bytes: Uint8Array;
  do {
    bytes = encodeMessage(message, version, randomValue(random, message, version) as never);
  } while (bytes.length > 200);
  return bytes;
}

describe(`decodeMessage: hostile bytes, seed ${seed}`, () => {
  test("decodeMessage: an encoding that is cut at any byte is refused", () => {
    for (const { message, version } of cases) {
      const bytes = sample(message, version, "cut");
      for (let length = 0; length < bytes.length; length++) {
        const cut = bytes.subarray(0, length);
        expect(verdict(() => decodeMessage(message, version, cut), WireError)).toBe("refused");
      }
    }
  }, 60_000);

  test("decodeMessage: bytes after the end are refused", () => {
    for (const { message, version } of cases) {
      const bytes = sample(message, version, "longer");
      const longer = new Uint8Array(bytes.length + 1);
      longer.set(bytes);
      expect(() => decodeMessage(message, version, longer)).toThrow("1 bytes follow");
    }
  });

  test(
    "decodeMessage: with any single bit flipped it gives a value or a WireError, as the twin",
    () => {
      for (const { message, version } of cases) {
        const bytes = sample(message, version, "flip").slice();
        const step = Math.max(1, Math.ceil((bytes.length * 8) / 100));
        for (let bit = 0; bit < bytes.length * 8; bit += step) {
          bytes[bit >> 3]! ^= 1 << (bit & 7);
          checkBoth(message, version, bytes);
          bytes[bit >> 3]! ^= 1 << (bit & 7);
        }
      }
    },
    60_000,
  );

  const lies = [
    "7fffffff",
    "80000000",
    "ffffffff",
    "fffffffe",
    "000f4240",
    "000f4241",
    "7fff",
    "ffffffff0f",
  ]
    .map((hex) => Uint8Array.fromHex(hex));
  test(
    "decodeMessage: a lying length at any place gives a value or a WireError, as the twin",
    () => {
      for (const { message, version } of cases) {
        const bytes = sample(message, version, "lie");
        const step = Math.max(1, Math.ceil(bytes.length / 25));
        for (let at = 0; at < bytes.length; at += step) {
          for (const lie of lies) {
            const lying = bytes.slice();
            lying.set(lie.subarray(0, bytes.length - at), at);
            checkBoth(message, version, lying);
          }
        }
      }
    },
    60_000,
  );

  test("decodeMessage: random bytes give a value or a WireError, as the twin", () => {
    for (const { message, version } of cases) {
      const random = new SimRandom(seed).fork(`noise ${message.name} ${version}`);
      for (let round = 0; round < 20; round++) {
        const length = random.uint32() % 60;
        // Small numbers make lengths that fit, so that the decoder gets deep.
        const mask = round % 2 === 0 ? 0xff : 0x03;
        checkBoth(message, version, Uint8Array.from({ length }, () => random.uint32() & mask));
      }
    }
  }, 60_000);

  test("decodeRequestHeader: every 4 bytes of key and version, and cuts, give a head or a WireError", () => {
    const random = new SimRandom(seed).fork("header");
    for (let round = 0; round < 5000; round++) {
      const bytes = Uint8Array.from({ length: random.uint32() % 30 }, () => random.uint32() & 0xff);
      if (bytes.length > 1 && round % 2 === 0) bytes.set([0, random.uint32() % 100]);
      verdict(() => decodeRequestHeader(new Reader(bytes)), WireError);
    }
  });
});

function times<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index));
}

/** An array that announces `count` elements and carries `body`. */
function announcing(count: number, body: Uint8Array): Uint8Array {
  const writer = new Writer();
  writer.int32(count);
  writer.raw(body);
  return writer.finish();
}

describe("decodeMessage: caps", () => {
  const cap = MAX_ARRAY_ELEMENTS;

  test("decodeMessage: an array up to the cap is read, one past it is refused", () => {
    // MetadataRequest version 0: an array of strings, here empty ones of two bytes.
    const full = decodeMessage(metadataRequest, 0, announcing(cap, new Uint8Array(2 * cap)));
    expect(full.topics).toHaveLength(cap);
    const over = announcing(cap + 1, new Uint8Array(2 * (cap + 1)));
    expect(() => decodeMessage(metadataRequest, 0, over)).toThrow(`cap ${cap}`);
  });

  test("decodeMessage: the elements of all arrays of a message are capped together", () => {
    // Produce version 3: 10 topics, which count themselves, of 100,000 partitions without records.
    const produce = (partitions: number): Uint8Array => {
      const writer = new Writer();
      writer.raw(Uint8Array.fromHex("ffff0001000000000000000a"));
      for (let topic = 0; topic < 10; topic++) {
        writer.nullableString("a");
        writer.int32(partitions);
        for (let index = 0; index < partitions; index++) {
          writer.int32(index);
          writer.nullableBytes(null);
        }
      }
      return writer.finish();
    };
    const full = decodeMessage(produceRequest, 3, produce(cap / 10 - 1));
    expect(full.topicData[9]!.partitionData).toHaveLength(cap / 10 - 1);
    const over = produce(cap / 10);
    expect(() => decodeMessage(produceRequest, 3, over)).toThrow(`cap ${cap}`);
    // The count is of a message, not of the reader: the next one starts anew.
    const reader = new Reader(produce(cap / 20));
    for (let i = 0; i < 3; i++) {
      reader.position = 0;
      expect(codec(produceRequest, 3).decode(reader).topicData).toHaveLength(10);
    }
  });

  test("decodeMessage: integers in arrays do not count towards the cap of the message", () => {
    const replicas = Array.from({ length: 300_000 }, (_, i) => i);
    const partition = { errorCode: 0, partitionIndex: 0, leaderId: 0 };
    const answer = {
      brokers: [],
      controllerId: 0,
      topics: times(2, (topic) => ({
        errorCode: 0,
        name: `t${topic}`,
        partitions: [{ ...partition, replicaNodes: replicas, isrNodes: replicas }],
      })),
    };
    const found = decodeMessage(metadataResponse, 1, encodeMessage(metadataResponse, 1, answer));
    expect(found.topics[1]!.partitions[0]!.isrNodes).toHaveLength(300_000);
  });

  test("decodeMessage: a count that cannot fit is refused before an element is made", () => {
    const lies = [
      { message: metadataRequest, version: 0, bytes: announcing(cap, new Uint8Array(40)) },
      // A name takes two bytes at least, so one byte short of them all is a lie.
      { message: metadataRequest, version: 0, bytes: announcing(cap, new Uint8Array(2 * cap - 1)) },
      {
        message: fetchRequest,
        version: 4,
        bytes: Uint8Array.fromHex(`${"00".repeat(17)}000f4240${"00".repeat(40)}`),
      },
      {
        message: createTopicsRequest,
        version: 7,
        bytes: Uint8Array.fromHex(`c1843d${"00".repeat(40)}`),
      },
    ];
    const startedMs = performance.now();
    for (let round = 0; round < 1000; round++) {
      for (const { message, version, bytes } of lies) {
        const reader = new Reader(bytes);
        expect(() => codec<Message>(message, version).decode(reader)).toThrow("elements announced");
      }
    }
    // Making a million elements takes milliseconds, so 4,000 times that is far past this bound.
    expect(performance.now() - startedMs).toBeLessThan(2000);
  });

  test("decodeMessage: more tagged fields than the cap are refused, up to it they are skipped", () => {
    const withTags = (count: number): Uint8Array => {
      const writer = new Writer();
      // MetadataRequest version 9: null topics, three bools, tagged fields.
      writer.raw(Uint8Array.of(0, 1, 1, 1));
      writer.unsignedVarint(count);
      for (let tag = 0; tag < count; tag++) {
        writer.unsignedVarint(tag);
        writer.unsignedVarint(1);
        writer.int8(1);
      }
      return writer.finish();
    };
    expect(decodeMessage(metadataRequest, 9, withTags(MAX_TAGGED_FIELDS)).topics).toBe(null);
    expect(() => decodeMessage(metadataRequest, 9, withTags(MAX_TAGGED_FIELDS + 1))).toThrow(
      `cap ${MAX_TAGGED_FIELDS}`,
    );
  });

  test("decodeMessage: byte fields that lie allocate nothing, and true ones are views", () => {
    const records = new Uint8Array(100_000).fill(7);
    const topicData = [{ name: "a", partitionData: [{ index: 0, records }] }];
    const bytes = encodeMessage(produceRequest, 8, { acks: 1, timeoutMs: 1, topicData });
    const before = process.memoryUsage().arrayBuffers;
    const kept = Array.from({ length: 100 }, () => decodeMessage(produceRequest, 8, bytes));
    expect(kept[0]!.topicData[0]!.partitionData[0]!.records!.buffer).toBe(bytes.buffer);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
    const lying = bytes.slice();
    lying.set([0x7f, 0xff, 0xff, 0xff], lying.length - records.length - 4);
    expect(() => decodeMessage(produceRequest, 8, lying)).toThrow("2147483647 bytes");
  });
});
