/** Any bytes at all: `weir log dump` and `weir log verify` say what they find, and never fall over it. */

import { expect, test } from "bun:test";
import { encodeMessage } from "../../../protocol/compile.ts";
import { CompressionCodec } from "../../../protocol/compression.ts";
import { buildControlBatch } from "../../../protocol/control_records.ts";
import { sealCrc } from "../../../protocol/record_batch.ts";
import { buildBatch } from "../../../protocol/records.ts";
import { Writer } from "../../../protocol/bytes.ts";
import { offsetCommitKey } from "../../../protocol/schemas/records/group.ts";
import { topicRecord } from "../../../protocol/schemas/records/metadata.ts";
import type { Uuid } from "../../../protocol/types.ts";
import { ProducerState } from "../../../storage/producer_state.ts";
import { SimRandom, testSeeds } from "../../sim/sim_random.ts";
import { TestMachine } from "./test_io.ts";

const NAME = "00000000000000000007";
const text = (value: string) => new TextEncoder().encode(value);

function sampleLog(directory: string): Uint8Array {
  const frame = new Writer();
  for (const number of [1, topicRecord.apiKey!, 0]) frame.unsignedVarint(number);
  frame.raw(
    encodeMessage(topicRecord, 0, { name: "a", topicId: "vAlEsYVbTKClcuBUDT5gaA" as Uuid }),
  );
  const key = new Writer();
  key.int16(1);
  key.raw(encodeMessage(offsetCommitKey, 0, { group: "g", topic: "a", partition: 2 }));
  const value = directory.startsWith("__cluster") ? frame.finish() : text("\0\x03value");
  const records = [{ key: key.finish(), value, timestamp: 5 }, {
    key: null,
    value: null,
    timestamp: 6,
  }];
  return Buffer.concat([
    buildBatch({ baseOffset: 7, records, producerId: 3, producerEpoch: 0, baseSequence: 0 }),
    buildBatch({ baseOffset: 9, records, compression: CompressionCodec.gzip }),
    buildControlBatch({
      baseOffset: 11,
      timestamp: 7,
      producerId: 3,
      producerEpoch: 0,
      records: [{ type: "abort", coordinatorEpoch: 1 }],
    }),
  ]);
}

function sampleSnapshot(): Uint8Array {
  const producers = new ProducerState("a");
  const batch = { producerId: 3, producerEpoch: 0, baseSequence: 0, baseOffset: 7, attributes: 0 };
  producers.update({ ...batch, lastOffsetDelta: 1, maxTimestamp: 5 }, null);
  return producers.encodeSnapshot();
}

const SAMPLES: readonly (readonly [name: string, bytes: (directory: string) => Uint8Array])[] = [
  [`${NAME}.log`, sampleLog],
  [`${NAME}-0000000001.checkpoint`, () => sampleLog("__cluster")],
  [`${NAME}.index`, () => Uint8Array.of(0, 0, 0, 3, 0, 0, 0, 90)],
  [`${NAME}.timeindex`, () => Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 4)],
  [`${NAME}.txnindex`, () => new Uint8Array(34)],
  [`${NAME}.snapshot`, sampleSnapshot],
  ["leader-epoch-checkpoint", () => text("0\n1\n0 7\n")],
  ["partition.metadata", () => text("version: 0\ntopic_id: vAlEsYVbTKClcuBUDT5gaA")],
];

/** Turns over bits, cuts, repeats or replaces; now and then puts the checksum right again. */
function mutated(bytes: Uint8Array, random: SimRandom): Uint8Array {
  if (random.chance(0.1)) {
    return Uint8Array.from({ length: random.below(300) }, () => random.below(256));
  }
  let result = bytes.slice();
  for (let i = random.between(1, 4); i > 0 && result.length > 0; i--) {
    const at = random.below(result.length);
    if (random.chance(0.7)) {
      result[at] = random.chance(0.5) ? random.below(256) : random.pick([0, 127, 128, 255]);
    } else if (random.chance(0.5)) result = result.slice(0, at);
    else {result = new Uint8Array(
        Buffer.concat([result.subarray(0, at), result.subarray(at >>> 1)]),
      );}
  }
  if (random.chance(0.5)) {
    try {
      sealCrc(result, 0);
    } catch {
      // There is no batch any more.
    }
  }
  return result;
}

test.each(testSeeds(60))("log dump and log verify: survive any bytes, seed %i", async (seed) => {
  const random = new SimRandom(seed);
  for (
    const directory of [
      "orders-0",
      "__consumer_offsets-1",
      "__cluster_metadata-0",
      "__transaction_state-2",
    ]
  ) {
    const machine = new TestMachine();
    const path = `/data/${directory}`;
    machine.disk.makeDirectory(path);
    for (const [name, sample] of SAMPLES) {
      const bytes = random.chance(0.6) ? mutated(sample(directory), random) : sample(directory);
      const file = machine.disk.open(`${path}/${name}`, "write");
      file.write(0, bytes);
      file.close();
    }
    for (const [name] of SAMPLES) {
      for (const flags of [[], ["--records"], ["--records", "--json"]]) {
        const { exitCode, error } = await machine.run(["log", "dump", `${path}/${name}`, ...flags]);
        expect([0, 1]).toContain(exitCode);
        expect(error === "" || exitCode === 1 || error.includes("no entries")).toBe(true);
      }
    }
    expect([0, 1]).toContain((await machine.run(["log", "verify", path])).exitCode);
  }
});
