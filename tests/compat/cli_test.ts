/**
 * The command line as people run it: a large file through `weir produce` and `weir consume`, with a broker that is killed
 * in the middle, and every command against Apache Kafka.
 */

import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { join } from "node:path";
import {
  codecNames,
  eventually,
  KAFKA,
  repositoryRoot,
  runProgram,
  scratchDirectory,
  spawnKafka,
  startWeir,
  testWith,
} from "./harness.ts";
import { freePeerPort } from "./kafka_peer.ts";

const WEIR = [process.execPath, join(repositoryRoot, "main.ts")];
const REAL_FILE_BYTES = 100_000_000;
const CHUNK_BYTES = 1 << 20;

/** Lines of 0 to some 300 bytes with UTF-8 and, here and there, CR LF: `byteCount` bytes, in chunks. */
function* realFile(byteCount: number): Generator<Uint8Array, void, void> {
  const words = ["orders", "größe", "日本", "temperature", "ok", "-", "0.25", "weir", "\t", "café"];
  let state = 7;
  const roll = (bound: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % bound;
  };
  let line = 0;
  for (let left = byteCount; left > 0;) {
    let text = "";
    while (text.length < CHUNK_BYTES) {
      text += `${line++}`;
      for (let i = roll(40); i > 0; i--) text += ` ${words[roll(words.length)]}`;
      text += roll(50) === 0 ? "\r\n\n" : "\n";
    }
    const bytes = Buffer.from(text).subarray(0, left);
    left -= bytes.length;
    // The file ends with a line feed, as text files do.
    if (left === 0) bytes[bytes.length - 1] = 10;
    yield bytes;
  }
}

async function sha256Of(stream: ReadableStream<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of stream) hash.update(chunk);
  return hash.digest("hex");
}

async function consumedSha256(bootstrap: string, topic: string): Promise<string> {
  const child = Bun.spawn([...WEIR, "consume", topic, "-b", bootstrap], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const digest = await sha256Of(child.stdout);
  expect(await child.exited).toBe(0);
  return digest;
}

test(
  "produce, consume: 100 MB of lines come back with the same SHA-256, with two kill -9 on the way",
  async () => {
    let broker = await startWeir();
    const { bootstrap, port, dataDirectory } = broker;
    const producer = Bun.spawn([...WEIR, "produce", "real", "-b", bootstrap], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
    const told = new Response(producer.stderr).text();
    const hash = createHash("sha256");
    let writtenBytes = 0;
    const kills = [REAL_FILE_BYTES * 0.3, REAL_FILE_BYTES * 0.7];
    for (const chunk of realFile(REAL_FILE_BYTES)) {
      hash.update(chunk);
      await producer.stdin.write(chunk);
      await producer.stdin.flush();
      writtenBytes += chunk.length;
      if (writtenBytes > kills[0]!) {
        kills.shift();
        await broker.kill();
        broker = await startWeir({ port, dataDirectory });
      }
    }
    await producer.stdin.end();
    expect(await producer.exited).toBe(0);
    expect(await told).toMatch(/^Produced [\d,]+ records \(\d+\.\d MB\) to real in /);
    expect(await consumedSha256(bootstrap, "real")).toBe(hash.digest("hex"));
    expect(await broker.stop()).toBe(0);
  },
  300_000,
);

test(
  "produce: exits with 1 when the broker is gone for good, and says how many it acknowledged",
  async () => {
    const broker = await startWeir();
    const producer = Bun.spawn(
      [...WEIR, "produce", "gone", "-b", broker.bootstrap, "--timeout-ms", "2000"],
      { stdin: "pipe", stdout: "pipe", stderr: "pipe" },
    );
    const told = new Response(producer.stderr).text();
    await producer.stdin.write("one\ntwo\n");
    await producer.stdin.flush();
    await eventually("both records are there", async () => {
      const { stdout } = await runProgram([...WEIR, "consume", "gone", "-b", broker.bootstrap]);
      return stdout === "one\ntwo\n" ? true : undefined;
    });
    await broker.kill();
    await producer.stdin.write("three\n");
    await producer.stdin.end();
    expect(await producer.exited).toBe(1);
    expect(await told).toMatch(/; 2 of 3 records read were acknowledged\n$/);
  },
  60_000,
);

testWith("Apache Kafka (peers)", "the commands: work against Apache Kafka", async () => {
  const directory = join(scratchDirectory("kafka"), "peer");
  const port = await freePeerPort();
  const kafka = spawnKafka([KAFKA, "broker", "--port", String(port), "--dir", directory], {
    heapMegabytes: 512,
  });
  const weir = async (line: string, input = "") => {
    const { code, stdout, stderr } = await runProgram(
      [...WEIR, ...line.split(" "), "-b", `127.0.0.1:${port}`],
      { input },
    );
    return { code, stdout, stderr };
  };
  try {
    await eventually("Kafka answers", async () => {
      return (await weir("cluster describe")).code === 0 ? true : undefined;
    }, 60_000);
    expect(await weir("topic create orders -p 2")).toMatchObject({ code: 0 });
    expect(await weir("topic create orders")).toMatchObject({ code: 1 });
    const text = Array.from({ length: 5000 }, (_, i) => `line ${i}\n`).join("");
    for (const codec of codecNames) {
      expect(await weir(`produce t-${codec} --compression ${codec}`, text)).toMatchObject({
        code: 0,
      });
      expect(await weir(`consume t-${codec}`)).toMatchObject({ code: 0, stdout: text });
    }
    await weir("produce orders --format key-value", "a:1\nb:2\nc:3\n");
    const read = await weir("consume orders --group g --format %k=%v");
    expect(read.stdout.split("\n").sort()).toEqual(["", "a=1", "b=2", "c=3"]);
    expect((await weir("group list --json")).stdout).toContain('"group":"g","state":"Empty"');
    await weir("group reset-offsets g --all-topics --to beginning --execute");
    const again = await weir("consume orders --group g --format %k=%v");
    expect(again.stdout.split("\n").sort()).toEqual(["", "a=1", "b=2", "c=3"]);
    expect(await weir("group delete g")).toMatchObject({ code: 0 });
    expect(await weir("config set topic orders retention.ms=1000")).toMatchObject({ code: 0 });
    expect((await weir("config get topic orders")).stdout).toContain("retention.ms  1000");
    expect(await weir("topic alter orders -p 3")).toMatchObject({ code: 0 });
    expect((await weir("topic describe orders --json")).stdout).toContain('"partition":2');
    const log = join(directory, "data", "__cluster_metadata-0", "00000000000000000000.log");
    const dumped = await weir(`log dump ${log} --records`);
    expect(dumped).toMatchObject({ code: 0 });
    expect(dumped.stdout).toContain('"type":"TopicRecord","value":{"name":"orders"');
    expect(await weir("topic delete orders")).toMatchObject({ code: 0 });
  } finally {
    kafka.kill("SIGKILL");
    await kafka.exited;
  }
}, 180_000);
