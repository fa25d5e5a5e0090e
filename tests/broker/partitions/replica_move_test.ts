import { describe, expect, test } from "bun:test";
import { isRefusal } from "../../../broker/partitions/replica_manager.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { newTopic } from "../controller/harness.ts";
import { MoveWorld } from "./replica_move_world.ts";

describe("AlterReplicaLogDirs", () => {
  test("moves a replica while it is produced to and read, and leaves nothing behind", async () => {
    const world = await MoveWorld.start(60);
    const { node } = world;
    expect(world.directory).toBe("/a/t-0");
    const segments = node.partition("t").log.segments.map(({ baseOffset }) => baseOffset);
    expect(segments.length).toBeGreaterThan(2);
    expect(await node.run(world.move("/b"))).toBe(ErrorCode.NONE);
    expect((await world.described())["/b"]).toMatchObject([{ isFuture: true }]);
    const producing = world.produceUntil(() => !world.isMoving);
    await world.moved();
    await node.run(producing);
    expect(world.directory).toBe("/b/t-0");
    await world.check();
    expect(node.partition("t").log.segments.map(({ baseOffset }) => baseOffset).slice(0, 3))
      .toEqual(segments.slice(0, 3));
    for (let i = 0; i < 5; i++) expect(await node.run(world.produce())).toBe(ErrorCode.NONE);
    await node.clock.advance(5000);
    expect([world.names("/a"), world.names("/b")]).toEqual([[], ["t-0"]]);
    expect(await world.described()).toMatchObject({
      "/a": [],
      "/b": [{ lag: 0, isFuture: false }],
    });
    const { directoryId } = node.logDirectories.online().find(({ path }) => path === "/b")!;
    const image = node.controller.image().topicByName("t")!.partitions[0]!;
    expect(image.directories).toEqual([directoryId]);
    for (const how of ["stop", "crash", "kill"] as const) {
      await world.end(how);
      await node.openWhole();
      expect(world.directory).toBe("/b/t-0");
      await world.check();
      await node.run(world.produce());
    }
    // And back.
    expect(await node.run(world.move("/a"))).toBe(ErrorCode.NONE);
    await world.moved();
    await world.check();
    expect(world.directory).toBe("/a/t-0");
    await node.stop();
    expect(node.process.pendingTimers).toBe(0);
    expect(node.logDirectories.buffers.lentBytes).toBe(0);
  });

  const refusals: readonly (readonly [
    string,
    (world: MoveWorld) => Promise<number>,
    keyof typeof ErrorCode,
  ])[] = [
    ["to the directory where it lies", (world) => world.move("/a"), "NONE"],
    ["to an unknown directory", (world) => world.move("/c"), "LOG_DIR_NOT_FOUND"],
    [
      "to an unknown directory, of an unknown topic",
      (world) => world.move("/c", 0, "u"),
      "LOG_DIR_NOT_FOUND",
    ],
    ["of an unknown topic", (world) => world.move("/b", 0, "u"), "UNKNOWN_TOPIC_OR_PARTITION"],
    ["of an unknown partition", (world) => world.move("/b", 5), "UNKNOWN_TOPIC_OR_PARTITION"],
    [
      "of a topic whose name is too long",
      (world) => world.move("/b", 0, "n".repeat(214)),
      "INVALID_TOPIC_EXCEPTION",
    ],
    ["to a cordoned directory", (world) => {
      world.node.config.setDynamic({ perBroker: new Map([["cordoned.log.dirs", "/b"]]) });
      return world.move("/b");
    }, "INVALID_REPLICA_ASSIGNMENT"],
    ["to an offline directory", async (world) => {
      world.node.disks!.fail("/b");
      const b = world.node.logDirectories.online().find(({ path }) => path === "/b")!;
      await b.createLog(
        { topic: "x", partition: 0 },
        world.node.controller.image().topicByName("t")!.id,
        world.node.partition("t").log.config,
      ).catch(() => {});
      return await world.move("/b");
    }, "KAFKA_STORAGE_ERROR"],
  ];
  for (const [title, ask, error] of refusals) {
    test(`${title}: ${error}, and nothing moves`, async () => {
      const world = await MoveWorld.start(3);
      expect(await world.node.run(ask(world))).toBe(ErrorCode[error]);
      expect(world.isMoving).toBe(false);
      await world.check();
      expect(world.directory).toBe("/a/t-0");
    });
  }

  test("of a partition that is not there yet: it is made in that directory", async () => {
    const world = await MoveWorld.start(1);
    const { node } = world;
    for (const path of ["/b", "/a"]) {
      const name = `later${path.slice(1)}`;
      for (let partition = 0; partition < 6; partition++) {
        expect(await node.run(world.move(path, partition, name)))
          .toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
      }
      await node.run(node.controller.createTopics([newTopic(name, { partitionCount: 6 })]));
      await node.run(node.replicaManager.settled());
      for (let partition = 0; partition < 6; partition++) {
        expect(node.partition(name, partition).log.directory).toBe(`${path}/${name}-${partition}`);
      }
    }
  });

  test("to where it lies, while it moves: the move is given up", async () => {
    const world = await MoveWorld.start(100);
    const { node } = world;
    await node.run(world.move("/b"));
    expect(await node.run(world.move("/a"))).toBe(ErrorCode.NONE);
    expect(world.isMoving).toBe(false);
    await node.clock.advance(2000);
    expect([world.names("/a"), world.names("/b")]).toEqual([["t-0"], []]);
    await world.check();
  });

  test("to another directory, while it moves: it turns there", async () => {
    const world = await MoveWorld.start(100, {
      mounts: { "/a": 2 ** 26, "/b": 2 ** 25, "/c": 2 ** 25 },
    });
    const { node } = world;
    await node.run(world.move("/b"));
    // The same again is no other move.
    expect(await node.run(world.move("/b"))).toBe(ErrorCode.NONE);
    expect(await node.run(world.move("/c"))).toBe(ErrorCode.NONE);
    await world.moved();
    await node.clock.advance(2000);
    expect([world.names("/a"), world.names("/b"), world.names("/c")]).toEqual([[], [], ["t-0"]]);
    await world.check();
  });
});

describe("ReplicaMove", () => {
  test("ends with the topic's deletion, at any time", async () => {
    for (let ms = 0; ms < 12; ms++) {
      const world = await MoveWorld.start(20, { seed: ms });
      const { node } = world;
      await node.run(world.move("/b"));
      void world.produceUntil(() => !world.isMoving);
      await node.clock.advance(ms);
      const { id } = node.controller.image().topicByName("t")!;
      await node.run(node.controller.deleteTopics([{ id }]));
      await node.run(node.replicaManager.settled());
      await node.clock.advance(120_000);
      expect(world.isMoving).toBe(false);
      expect([world.names("/a"), world.names("/b")]).toEqual([[], []]);
      expect(node.logDirectories.offlineCount).toBe(0);
    }
  });

  test("a full target: the copy goes, the source is served on", async () => {
    const world = await MoveWorld.start(200);
    const { node } = world;
    node.disks!.at("/b").capacityBytes = 20_000;
    await node.run(world.move("/b"));
    const producing = world.produceUntil(() => !world.isMoving);
    await world.moved();
    await node.run(producing);
    await node.clock.advance(2000);
    expect([world.names("/a"), world.names("/b")]).toEqual([["t-0"], []]);
    expect(node.logDirectories.offlineCount).toBe(0);
    expect(JSON.stringify(node.logger.lines)).toContain("Partition stays where it is");
    await world.check();
    // With room it works.
    node.disks!.at("/b").capacityBytes = 2 ** 26;
    await node.run(world.move("/b"));
    await world.moved();
    expect(world.directory).toBe("/b/t-0");
    await world.check();
  });

  test("a target whose disk fails, at any time: the source is served on", async () => {
    for (let ms = 0; ms < 16; ms++) {
      const world = await MoveWorld.start(20, { seed: ms });
      const { node } = world;
      await node.run(world.move("/b"));
      void world.produceUntil(() => !world.isMoving);
      await node.clock.advance(ms / 2);
      node.disks!.fail("/b");
      await world.moved();
      // Else it had moved by then.
      const isServed = !isRefusal(node.replicaManager.partition("t", 0));
      if (isServed && world.directory === "/a/t-0") {
        expect(await node.run(world.produce())).toBe(ErrorCode.NONE);
        await world.check();
      }
      await world.end("crash");
      node.disks!.mend("/b");
      await node.openWhole();
      await world.check();
      await world.moved();
      await world.check();
    }
  });

  test("a target whose disk fails while the metadata is told of it: it is taken back", async () => {
    let caughtCount = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const world = await MoveWorld.start(20, { seed });
      const { node } = world;
      await node.run(world.move("/b"));
      const stepOf = () => [...node.replicaManager.moves.steps()][0]?.[1];
      while (world.isMoving && stepOf() !== "assigning") await node.clock.advance(0.02);
      // The write took no time.
      if (!world.isMoving) continue;
      caughtCount++;
      node.disks!.fail("/b");
      const asked = world.produce();
      await world.moved();
      expect(await node.run(asked)).toBe(ErrorCode.NONE);
      expect(world.directory).toBe("/a/t-0");
      const { directoryId } = node.logDirectories.online()[0]!;
      const image = node.controller.image().topicByName("t")!.partitions[0]!;
      expect(image.directories).toEqual([directoryId]);
      await world.check();
      await world.end("crash");
      node.disks!.mend("/b");
      await node.openWhole();
      await world.check();
    }
    expect(caughtCount).toBeGreaterThan(10);
  });

  test("a crash while it is taken back loses nothing that was acknowledged meanwhile", async () => {
    let caughtCount = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const world = await MoveWorld.start(15, { seed });
      const { node } = world;
      await node.run(world.move("/b"));
      const stepOf = () => [...node.replicaManager.moves.steps()][0]?.[1];
      while (world.isMoving && stepOf() !== "assigning") await node.clock.advance(0.02);
      if (!world.isMoving) continue;
      node.disks!.fail("/b");
      for (let i = 0; i < 10; i++) {
        void world.produce();
        await node.clock.advance(0.02 * (seed % 10));
      }
      if (!world.isMoving) continue;
      caughtCount++;
      await world.end("crash");
      // It was a cable.
      node.disks!.mend("/b");
      await node.openWhole();
      await world.check();
      await world.moved();
      await world.check();
    }
    expect(caughtCount).toBeGreaterThan(5);
  });

  test("keeps the cleaner off, and begins anew where it has been at work without it", async () => {
    const world = await MoveWorld.start(500, {
      configs: { "cleanup.policy": "compact", "min.compaction.lag.ms": "1000000" },
    });
    const { node } = world;
    const source = node.partition("t").log;
    const cleaning = source.startCleaning()!;
    const asked = world.move("/b");
    const b = node.logDirectories.online().find(({ path }) => path === "/b")!;
    const copied = () => b.future({ topic: "t", partition: 0 })?.endOffset ?? 0;
    await node.clock.advance(10);
    // It waits for the cleaning to end.
    expect([cleaning.aborted, copied()]).toEqual([true, 0]);
    source.endCleaning(null);
    await node.run((async () => {
      await asked;
      expect(source.startCleaning()).toBeNull();
      while (copied() < 100) await Promise.resolve();
      await node.replicaManager.moves.close();
    })());
    const [before] = b.foundFutures();
    await world.end("stop");
    node.disks!.fail("/b");
    await node.openWhole();
    expect(node.partition("t").log.startCleaning()).not.toBeNull();
    node.partition("t").log.endCleaning(node.partition("t").log.endOffset);
    await world.end("stop");
    node.disks!.mend("/b");
    await node.openWhole();
    const name = `/b/${before!.name}`;
    expect(node.disks!.exists(name)).toBe(false);
    await world.moved();
    expect(world.directory).toBe("/b/t-0");
    expect(node.partition("t").log.startCleaning()).not.toBeNull();
    node.partition("t").log.endCleaning(null);
    await world.check();
  });

  test("a source whose disk fails, at any time: nothing acknowledged is lost when it is back", async () => {
    for (let ms = 0; ms < 24; ms++) {
      const world = await MoveWorld.start(20, { seed: ms });
      const { node } = world;
      await node.run(world.move("/b"));
      void world.produceUntil(() => !world.isMoving);
      await node.clock.advance(ms / 2);
      node.disks!.fail("/a");
      for (let i = 0; i < 5; i++) void world.produce();
      await world.moved();
      await node.clock.advance(100);
      await world.end(ms % 2 === 0 ? "crash" : "stop");
      await node.openWhole();
      const found = node.replicaManager.partition("t", 0);
      if (!("error" in found)) await world.check();
      await world.end("crash");
      node.disks!.mend("/a");
      await node.openWhole();
      await world.check();
      await world.moved();
      await world.check();
      world.checkNames();
    }
  });

  test("goes on after a stop from where it was", async () => {
    const world = await MoveWorld.start(500);
    const { node } = world;
    const asked = world.move("/b");
    const b = node.logDirectories.online().find(({ path }) => path === "/b")!;
    const copied = () => b.future({ topic: "t", partition: 0 })?.endOffset ?? 0;
    await node.run((async () => {
      await asked;
      while (copied() < 100) await Promise.resolve();
      await node.replicaManager.moves.close();
    })());
    expect(copied()).toBeLessThan(400);
    await world.end("stop");
    expect(world.names("/b")).toEqual(["t-0-future"]);
    const before = node.disks!.at("/b").files().filter((file) => file.endsWith(".log"));
    await node.openWhole();
    await world.moved();
    expect(world.directory).toBe("/b/t-0");
    await world.check();
    const inodes = before.map((file) => file.replace(/t-0\.[0-9a-f]+-future/, "t-0"));
    expect(node.disks!.at("/b").files()).toEqual(expect.arrayContaining(inodes));
  });

  test("what is known of producers moves along, of those too whose records are deleted", async () => {
    for (const how of ["stop", "crash"] as const) {
      const world = await MoveWorld.start(100);
      const { node } = world;
      const known = () => [...node.partition("t").log.producers()];
      const partition = node.partition("t");
      partition.deleteRecordsBefore(partition.log.endOffset);
      await node.run(Promise.all(node.logDirectories.online().map((one) => one.checkpoint())));
      await node.clock.advance(2000);
      const before = known();
      expect(before).toHaveLength(1);
      expect(partition.log.segments).toHaveLength(1);
      await node.run(world.move("/b"));
      await world.moved();
      expect(known()).toEqual(before);
      await world.end(how);
      await node.openWhole();
      expect(world.directory).toBe("/b/t-0");
      expect(known()).toEqual(before);
      expect(await node.run(world.produce())).toBe(ErrorCode.NONE);
    }
  });

  test("records deleted meanwhile stay deleted", async () => {
    for (let ms = 0; ms < 10; ms++) {
      const world = await MoveWorld.start(100, { seed: ms });
      const { node } = world;
      await node.run(world.move("/b"));
      void world.produceUntil(() => !world.isMoving);
      await node.clock.advance(ms);
      const partition = node.partition("t");
      expect(partition.deleteRecordsBefore(77 as never).error).toBe(ErrorCode.NONE);
      const holding = node.logDirectories.holding({ topic: "t", partition: 0 });
      await node.run(Promise.all(holding.map((directory) => directory.checkpoint())));
      await world.moved();
      expect(partition.log.logStartOffset).toBe(77 as never);
      await world.check();
      await world.end("crash");
      await node.openWhole();
      expect(node.partition("t").log.logStartOffset).toBe(77 as never);
      await world.check();
    }
  });
});

describe("ReplicaMove: the process ends at any of its changes to a disk", () => {
  for (const how of ["crash", "kill"] as const) {
    test(
      `${how}: one copy is right, the right one is served, and the move is completed`,
      async () => {
        const stepsSeen = new Set<string>();
        let goneOn = 0;
        for (let changes = 0;; changes++) {
          const world = await MoveWorld.start(25, { seed: changes });
          const { node } = world;
          node.processDisk.dieAt(changes);
          const isOver = () => node.processDisk.isDead || !world.isMoving;
          void world.move("/b").catch(() => {});
          let step = "beginning";
          const look = (): void => {
            const [now] = node.replicaManager.moves.steps();
            if (now !== undefined) step = now[1];
            else if (step !== "beginning") step = "ended";
          };
          node.onDeath = look;
          for (let ms = 0; ms < 50 && !node.processDisk.isDead; ms += 0.1) {
            look();
            if (ms % 1 < 0.1 && !isOver()) void world.produce(changes % 3 === 0 ? 1 : -1);
            await node.clock.advance(0.1);
          }
          if (!node.processDisk.isDead && step === "ended") break;
          stepsSeen.add(step);
          node.onDeath = () => {};
          await world.end(how);
          const futures = world.names("/b").filter((name) => name === "t-0-future").length;
          await node.openWhole();
          const size = (await world.described())["/b"]!.find(({ isFuture }) => isFuture)?.size ?? 0;
          if (futures > 0 && size > 0) goneOn++;
          await world.check();
          await node.run(world.produce());
          await world.moved();
          await world.check();
          await node.run(world.produce());
          await node.clock.advance(61_000);
          world.checkNames();
          if (futures > 0) expect([world.names("/a"), world.names("/b")]).toEqual([[], ["t-0"]]);
          // The next crash finds nothing to do.
          await world.end("crash");
          await node.openWhole();
          expect(world.isMoving).toBe(false);
          await world.check();
        }
        expect([...stepsSeen].sort()).toEqual(
          ["assigning", "beginning", "copying", "mirroring", "renaming"],
        );
        expect(goneOn).toBeGreaterThan(0);
      },
      120_000,
    );
  }
});
