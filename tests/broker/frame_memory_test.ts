import { describe, expect, test } from "bun:test";
import { FrameMemory } from "../../broker/frame_memory.ts";
import { concat, requestFrame, Script, World } from "./server/harness.ts";

const LARGE_BYTES = 20_000;
const KEPT = true;
const FREED = false;

/** A scripted body, made long. */
function large(line: string): Uint8Array {
  const bytes = new Uint8Array(LARGE_BYTES).fill(0x2e);
  bytes.set(new TextEncoder().encode(`${line}:`));
  return bytes;
}

/** A server with a client, and which of the bodies handed over can still be looked at. */
async function start({ isFrameFreed = true } = {}) {
  const script = new Script();
  script.isFrameFreed = isFrameFreed;
  const world = new World({ apis: [script.api()] });
  const client = await world.connect();
  const kept = () => script.views.map(({ length }) => length > 0);
  return { world, script, client, kept };
}

describe("ServerConnection: memory of frames", () => {
  test("ServerConnection: a frame is given back with its answer, not before", async () => {
    const { world, script, client, kept } = await start();
    client.send(large("later:a"));
    await world.pass();
    expect(kept()).toEqual([KEPT]);
    script.settle("a");
    await world.pass();
    expect(client.bodies).toEqual(["a"]);
    expect(kept()).toEqual([FREED]);
  });

  test("ServerConnection: frames of one chunk are given back with the last answer", async () => {
    const { world, script, client, kept } = await start();
    client.send(large("now:a"), "later:b", "now:c");
    await world.pass();
    expect(client.bodies).toEqual(["a"]);
    expect(kept()).toEqual([KEPT, KEPT, KEPT]);
    script.settle("b");
    await world.pass();
    expect(kept()).toEqual([FREED, FREED, FREED]);
  });

  test("ServerConnection: a frame that spans chunks has memory of its own", async () => {
    const { world, script, client, kept } = await start();
    const bytes = concat([
      requestFrame(1, large("later:a")),
      requestFrame(2, large("now:b")),
      requestFrame(3, large("later:c")),
    ]);
    const cut = LARGE_BYTES + LARGE_BYTES / 2;
    client.sendBytes(bytes.subarray(0, cut));
    await world.pass();
    client.sendBytes(bytes.subarray(cut));
    await world.pass();
    expect(kept()).toEqual([KEPT, KEPT, KEPT]);
    script.settle("a");
    await world.pass();
    expect(client.bodies).toEqual(["a", "b"]);
    expect(kept()).toEqual([FREED, FREED, KEPT]);
  });

  test("ServerConnection: what a connection leaves behind is given back once it is handled", async () => {
    const { world, script, client, kept } = await start();
    client.send(large("later:a"));
    await world.pass();
    client.link.close();
    await world.pass();
    expect(kept()).toEqual([KEPT]);
    script.settle("a");
    await world.pass();
    expect(kept()).toEqual([FREED]);
  });

  test("ServerConnection: a handler that failed may have handed its frame on", async () => {
    const { world, script, client, kept } = await start();
    client.send(large("later:a"));
    await world.pass();
    script.fail("a", new Error("planted"));
    await world.pass();
    expect(client.isClosed).toBe(true);
    expect(kept()).toEqual([KEPT]);
  });

  test("ServerConnection: an API that does not say so keeps its frames", async () => {
    const { world, client, kept } = await start({ isFrameFreed: false });
    client.send(large("now:a"));
    await world.pass();
    expect(client.bodies).toEqual(["a"]);
    expect(kept()).toEqual([KEPT]);
  });
});

describe("FrameMemory", () => {
  test("FrameMemory.of: there is none of a part of something else, and none of little", () => {
    const chunk = new Uint8Array(LARGE_BYTES);
    expect(FrameMemory.of(chunk)).not.toBeNull();
    expect(FrameMemory.of(chunk.subarray(1))).toBeNull();
    expect(FrameMemory.of(new Uint8Array(1000))).toBeNull();
  });

  test("FrameMemory.keep: what one of several may look at later is not given back", () => {
    const chunk = new Uint8Array(LARGE_BYTES);
    const memory = FrameMemory.of(chunk)!;
    memory.hold();
    memory.hold();
    memory.keep();
    memory.letGo();
    memory.letGo();
    expect(chunk.length).toBe(LARGE_BYTES);
  });
});
