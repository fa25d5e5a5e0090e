import { expect, test } from "bun:test";
import { encodeMessage } from "../../../protocol/compile.ts";
import { CompressionCodec } from "../../../protocol/compression.ts";
import { buildControlBatch } from "../../../protocol/control_records.ts";
import { Writer } from "../../../protocol/bytes.ts";
import { RECORD_BATCH_OVERHEAD, sealCrc } from "../../../protocol/record_batch.ts";
import { buildBatch } from "../../../protocol/records.ts";
import { offsetCommitKey, offsetCommitValue } from "../../../protocol/schemas/records/group.ts";
import { shareSnapshotKey } from "../../../protocol/schemas/records/share.ts";
import { topicRecord } from "../../../protocol/schemas/records/metadata.ts";
import type { Uuid } from "../../../protocol/types.ts";
import { TestMachine } from "./test_io.ts";

const NAME = "00000000000000000100";
const text = (value: string) => new TextEncoder().encode(value);

function machineWith(path: string, ...pieces: Uint8Array[]): TestMachine {
  const machine = new TestMachine();
  machine.disk.makeDirectory(path.slice(0, path.lastIndexOf("/")));
  const file = machine.disk.open(path, "write");
  file.write(0, Buffer.concat(pieces));
  file.close();
  return machine;
}

const json = (out: string) => out.trim().split("\n").map((line) => JSON.parse(line));

const plainBatch = () =>
  buildBatch({
    baseOffset: 100,
    compression: CompressionCodec.zstd,
    records: [
      { key: text("k"), value: text("v"), timestamp: 1_700_000_000_000 },
      { key: null, value: Uint8Array.of(255), timestamp: 5, headers: [{ key: "h", value: null }] },
    ],
  });
const marker = () =>
  buildControlBatch({
    baseOffset: 102,
    timestamp: 1_700_000_000_001,
    producerId: 7,
    producerEpoch: 1,
    records: [{ type: "commit", coordinatorEpoch: 3 }],
  });

test("log dump: batches and records of a segment, for people and as JSON", async () => {
  const path = `/data/orders-0/${NAME}.log`;
  const machine = machineWith(path, plainBatch(), marker());
  const { out, exitCode } = await machine.run(["log", "dump", path, "--records"]);
  expect(exitCode).toBe(0);
  expect(out.split("\n").slice(0, 3)).toEqual([
    expect.stringMatching(
      /^offsets 100 to 101, 2 records, at 0, \d+ bytes, zstd, leader epoch -1, 2023-11-14T22:13:20.000Z, crc ok$/,
    ),
    '  100  1700000000000  {"key":"k","value":"v"}',
    '  101  5  {"key":null,"valueBase64":"/w==","headers":[{"key":"h","value":null}]}',
  ]);
  expect(out).toContain('  102  1700000000001  {"type":"commit","coordinatorEpoch":3}\n');
  const [first, second] = json((await machine.run(["log", "dump", path, "-r", "--json"])).out);
  expect(first).toMatchObject({
    baseOffset: 100,
    recordCount: 2,
    crcValid: true,
    isControl: false,
  });
  expect(first.records.length).toBe(2);
  expect(second).toMatchObject({ producerId: 7, isControl: true, isTransactional: true });
});

test("log dump: damage is reported and ends with 1, and what is whole is printed", async () => {
  const path = `/data/orders-0/${NAME}.log`;
  const flipped = plainBatch();
  flipped[70]! ^= 1;
  const damaged = await machineWith(path, flipped, marker()).run(["log", "dump", path, "-r"]);
  expect(damaged).toMatchObject({ exitCode: 1 });
  expect(damaged.out).toContain("crc WRONG");
  expect(damaged.out).toContain("coordinatorEpoch");
  expect(damaged.error).toBe(`Cannot dump ${path}: 1 batches have a wrong checksum\n`);
  const whole = plainBatch();
  for (const cut of [1, 11, 60, 61, whole.length - 1]) {
    const machine = machineWith(path, whole, whole.subarray(0, cut));
    const { exitCode, out, error } = await machine.run(["log", "dump", path]);
    expect(exitCode).toBe(1);
    expect(out).toContain("offsets 100 to 101");
    expect(error).toContain(
      `the last ${cut} bytes, from position ${whole.length} on, are no whole`,
    );
  }
});

test("log dump: records of the cluster's own topics are decoded by their directory's name", async () => {
  const key = new Writer();
  key.int16(1);
  key.raw(encodeMessage(offsetCommitKey, 0, { group: "g", topic: "orders", partition: 2 }));
  const value = new Writer();
  value.int16(3);
  value.raw(
    encodeMessage(offsetCommitValue, 3, { offset: 42, metadata: "", commitTimestamp: 9 } as never),
  );
  const commits = buildBatch({
    records: [
      { key: key.finish(), value: value.finish(), timestamp: 1 },
      { key: Uint8Array.of(0, 99), value: text("?"), timestamp: 1 },
    ],
  });
  const path = `/data/__consumer_offsets-7/${NAME}.log`;
  const { out } = await machineWith(path, commits).run(["log", "dump", path, "-r", "--json"]);
  const [batch] = json(out);
  expect(batch.records[0]).toMatchObject({
    type: "OffsetCommit",
    key: { group: "g", topic: "orders", partition: 2 },
    value: { offset: 42 },
  });
  expect(batch.records[1].error).toContain("type 99 is unknown");

  const shareKey = new Writer();
  shareKey.int16(0);
  const topicId = "vAlEsYVbTKClcuBUDT5gaA" as Uuid;
  shareKey.raw(encodeMessage(shareSnapshotKey, 0, { groupId: "s", topicId, partition: 4 }));
  const shares = buildBatch({
    records: [{ key: shareKey.finish(), value: null, timestamp: 1 }],
  });
  const sharePath = `/data/__share_group_state-0/${NAME}.log`;
  const shared = await machineWith(sharePath, shares).run(["log", "dump", sharePath, "-r"]);
  expect(shared.out).toContain(
    `{"type":"ShareSnapshot","key":{"groupId":"s","topicId":"${topicId}","partition":4},"value":null}`,
  );

  const frame = new Writer();
  for (const number of [1, topicRecord.apiKey!, 0]) frame.unsignedVarint(number);
  frame.raw(encodeMessage(topicRecord, 0, { name: "orders", topicId }));
  const metadata = buildBatch({ records: [{ key: null, value: frame.finish(), timestamp: 1 }] });
  const metadataPath = `/data/__cluster_metadata-0/${NAME}.log`;
  const dumped = await machineWith(metadataPath, metadata).run(["log", "dump", metadataPath, "-r"]);
  expect(dumped.out).toContain(
    `{"type":"TopicRecord","value":{"name":"orders","topicId":"${topicId}"}}`,
  );
  const raw = await machineWith(metadataPath, metadata).run([
    ...["log", "dump", metadataPath, "-r", "--decode", "none"],
  ]);
  expect(raw.out).not.toContain("TopicRecord");
});

test("log dump: records that cannot be read in spite of their checksum do not end it", async () => {
  const path = `/data/orders-0/${NAME}.log`;
  const odd = buildBatch({
    baseOffset: 100,
    records: [{ key: null, value: text("v"), timestamp: 1 }],
  });
  odd[RECORD_BATCH_OVERHEAD] = 2;
  sealCrc(odd, 0);
  const machine = machineWith(path, odd, marker());
  const { exitCode, out, error } = await machine.run(["log", "dump", path, "-r"]);
  expect(exitCode).toBe(1);
  expect(out).toContain("  Cannot read record at position");
  expect(out).toContain('"coordinatorEpoch":3');
  expect(error).toBe(`Cannot dump ${path}: 1 batches hold records that cannot be read\n`);
  const [first] = json((await machine.run(["log", "dump", path, "-r", "--json"])).out);
  expect(first).toMatchObject({ crcValid: true, records: [], problem: expect.any(String) });
});

function words(write: (view: DataView) => void, sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  write(new DataView(bytes.buffer));
  return bytes;
}

test("log dump: index files count from the base offset in their name; unused room is left out", async () => {
  const index = words((view) => {
    view.setInt32(0, 5);
    view.setInt32(4, 4096);
    view.setInt32(8, 9);
    view.setInt32(12, 8192);
  }, 80);
  const path = `/data/orders-0/${NAME}.index`;
  const { out } = await machineWith(path, index).run(["log", "dump", path]);
  expect(out).toBe("OFFSET  POSITION\n   105      4096\n   109      8192\n");

  const timeIndex = words((view) => {
    view.setBigInt64(0, 1_700_000_000_000n);
    view.setInt32(8, 5);
  }, 24);
  const timePath = `/data/orders-0/${NAME}.timeindex`;
  const times = await machineWith(timePath, timeIndex).run(["log", "dump", timePath, "--json"]);
  expect(json(times.out)).toEqual([{ timestamp: 1_700_000_000_000, offset: 105 }]);

  const aborted = words((view) => {
    view.setBigInt64(2, 7n);
    view.setBigInt64(10, 100n);
    view.setBigInt64(18, 104n);
    view.setBigInt64(26, 100n);
  }, 34);
  const abortedPath = `/data/orders-0/${NAME}.txnindex`;
  const dumped = await machineWith(abortedPath, aborted).run([
    "log",
    "dump",
    abortedPath,
    "--json",
  ]);
  expect(json(dumped.out)).toEqual([
    { producerId: 7, firstOffset: 100, lastOffset: 104, lastStableOffset: 100 },
  ]);
});

test("log dump: a file that is not there, of another kind, or damaged, ends with 1 and a sentence", async () => {
  const machine = machineWith(`/data/a-0/${NAME}.snapshot`, text("garbage"));
  machineWith("/data/a-0/x", text("y"));
  const failures = [
    ["/data/none.log", "there is no such file"],
    [`/data/a-0/${NAME}.snapshot`, "Cannot read producer snapshot"],
  ];
  for (const [path, expected] of failures) {
    const { exitCode, error } = await machine.run(["log", "dump", path!]);
    expect(exitCode).toBe(1);
    expect(error).toStartWith(`Cannot dump ${path}: `);
    expect(error).toContain(expected!);
  }
  const other = await machineWith("/data/a-0/notes.txt", text("y")).run([
    ...["log", "dump", "/data/a-0/notes.txt"],
  ]);
  expect(other).toMatchObject({ exitCode: 1 });
  expect(other.error).toContain("its name ends with none of");
});

test("log dump: checkpoints and properties", async () => {
  const cases: readonly [string, string, object[]][] = [
    ["/data/o-0/leader-epoch-checkpoint", "0\n1\n3 120\n", [{ epoch: 3, startOffset: 120 }]],
    ["/data/o-0/leader-epoch-checkpoint", "", []],
    [
      "/data/recovery-point-offset-checkpoint",
      "0\n1\no 0 7\n",
      [{ topic: "o", partition: 0, offset: 7 }],
    ],
    ["/data/meta.properties", "#x\nnode.id=4\n", [{ name: "node.id", value: "4" }]],
    [
      "/data/o-0/partition.metadata",
      "version: 0\ntopic_id: abc",
      [{ name: "version", value: "0" }, { name: "topic_id", value: "abc" }],
    ],
  ];
  for (const [path, content, rows] of cases) {
    const { out, exitCode } = await machineWith(path, text(content)).run([
      "log",
      "dump",
      "--json",
      path,
    ]);
    expect({ path, exitCode }).toEqual({ path, exitCode: 0 });
    expect(out === "" ? [] : json(out)).toEqual(rows);
  }
  for (const [path, content] of [["/d/x-offset-checkpoint", "0\n9\n"], ["/d/other", "x"]]) {
    const { exitCode } = await machineWith(path!, text(content!)).run(["log", "dump", path!]);
    expect({ path, exitCode }).toEqual({ path, exitCode: 1 });
  }
});
