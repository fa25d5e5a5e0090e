/**
 * Random values of every message at every version: the compiler and its slow twin make the same
 * bytes of them and the same values of the bytes. `WEIR_SEED` picks another stream of values,
 * `WEIR_ROUNDS` how many of each.
 */

import { describe, expect, test } from "bun:test";
import { codec, decodeMessage, encodeMessage } from "../../protocol/compile.ts";
import { Reader, WireError, Writer } from "../../protocol/bytes.ts";
import { messages } from "../../protocol/schemas/index.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { Interpreter, TwinError } from "./interpreter.ts";
import { everyVersion, randomValue } from "./random_values.ts";

const seed = Number(process.env["WEIR_SEED"] ?? 1);
const rounds = Number(process.env["WEIR_ROUNDS"] ?? 5);
const cases = everyVersion(messages);

/** Runs a check on every message and version; says which one, and the seed, when it fails. */
function forAll(label: string, check: (each: (typeof cases)[number], random: SimRandom) => void) {
  for (const each of cases) {
    const name = `${each.message.name} version ${each.version}`;
    const random = new SimRandom(seed).fork(`${label} ${name}`);
    try {
      check(each, random);
    } catch (cause) {
      throw new Error(`${name} with WEIR_SEED=${seed}: ${cause}`, { cause });
    }
  }
}

describe(`codecs, seed ${seed}, ${rounds} rounds`, () => {
  test("encodeMessage, decodeMessage: agree with the twin, and values come back", () => {
    forAll("round trip", ({ message, version }, random) => {
      const twin = new Interpreter(message, version);
      for (let round = 0; round < rounds; round++) {
        const value = randomValue(random, message, version);
        const bytes = encodeMessage(message, version, value as never);
        expect(bytes.toHex()).toBe(twin.encode(value).toHex());
        const decoded = decodeMessage(message, version, bytes) as unknown;
        expect(decoded).toStrictEqual(value);
        expect(twin.decode(bytes)).toStrictEqual(value);
      }
    });
  }, 120_000);

  test("Codec.encode: an empty object is the message with every default, where they can be written", () => {
    forAll("empty", ({ message, version }) => {
      const twin = new Interpreter(message, version);
      let expected: string;
      try {
        expected = twin.encode({}).toHex();
      } catch (error) {
        if (!(error instanceof TwinError)) throw error;
        expect(() => encodeMessage(message, version, {} as never)).toThrow(WireError);
        return;
      }
      expect(encodeMessage(message, version, {} as never).toHex()).toBe(expected);
    });
  });

  test("Codec.encode: a value of another version is written, or refused, as by the twin", () => {
    const highest = new Map(cases.map(({ message, version }) => [message.name, version]));
    forAll("other version", ({ message, version }, random) => {
      const twin = new Interpreter(message, version);
      for (let round = 0; round < rounds; round++) {
        const value = randomValue(random, message, highest.get(message.name)!);
        let expected: string;
        try {
          expected = twin.encode(value).toHex();
        } catch (error) {
          if (!(error instanceof TwinError)) throw error;
          expect(() => encodeMessage(message, version, value as never)).toThrow(WireError);
          continue;
        }
        expect(encodeMessage(message, version, value as never).toHex()).toBe(expected);
      }
    });
  });

  test("Codec: reads and writes in the middle of a buffer, and leaves the position behind the message", () => {
    forAll("middle", ({ message, version }, random) => {
      const value = randomValue(random, message, version);
      const alone = encodeMessage(message, version, value as never);
      const writer = new Writer(8);
      writer.int32(7);
      codec(message, version).encode(writer, value as never);
      writer.int32(9);
      const whole = writer.finish();
      expect(whole.length).toBe(alone.length + 8);
      const padded = new Uint8Array(whole.length + 5);
      padded.set(whole, 5);
      const reader = new Reader(padded.subarray(5));
      expect(reader.int32()).toBe(7);
      expect(codec(message, version).decode(reader) as unknown).toStrictEqual(value);
      expect(reader.int32()).toBe(9);
      expect(reader.remaining).toBe(0);
    });
  });

  test("Codec.decode: all versions of a message decode to the same members in the same order", () => {
    const keys = new Map<string, string>();
    forAll("shape", ({ message, version }, random) => {
      const value = randomValue(random, message, version);
      const bytes = encodeMessage(message, version, value as never);
      const found = Object.keys(decodeMessage(message, version, bytes)).join();
      expect(found).toBe(keys.get(message.name) ?? found);
      expect(found).toBe(Object.keys(message.fields).join());
      keys.set(message.name, found);
    });
  });
});
