/**
 * Sockets that subscribe, stall, drain, pay, leave and come back with their tokens, while records come and the broker is
 * restarted: each subscription sees exactly the records of the log that pass its filter, once and in order. The slow twin is
 * the log, read at the end and filtered by a plain function.
 */

import { expect, test } from "bun:test";
import { readFetched } from "../../../../broker/client/fetched_records.ts";
import { Calls } from "../../../../broker/client/calls.ts";
import { Feeds } from "../../../../broker/gateway/feeds/feeds.ts";
import type { SubscribeMessage } from "../../../../broker/gateway/websocket/messages.ts";
import { Session } from "../../../../broker/gateway/websocket/session.ts";
import { Sockets } from "../../../../broker/gateway/websocket/sockets.ts";
import { SimLogger } from "../../../sim/sim_logger.ts";
import { SimRandom } from "../../../sim/sim_random.ts";
import { GatewayWorld } from "../gateway_world.ts";
import { SimPort, SimSocket } from "./sim_socket.ts";

const LIMITS = {
  maxSockets: 1000,
  maxMessageBytes: 100_000,
  socketBufferBytes: 1_000,
  bufferBytes: 20_000,
};
const PARTITIONS = 2;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

interface Logged {
  readonly offset: number;
  readonly key: string;
  readonly number: number;
}

/** A filter, and the plain function that says the same. */
interface Wish {
  readonly filter?: NonNullable<SubscribeMessage["filter"]>;
  readonly wants: (record: Logged) => boolean;
}

const WISHES: readonly Wish[] = [
  { wants: () => true },
  { filter: { key: { equals: "k1" } }, wants: ({ key }) => key === "k1" },
  {
    filter: { json: [{ path: "number", is: ">=", value: 50 }] },
    wants: ({ number }) => number >= 50,
  },
  {
    filter: { key: { prefix: "k" }, json: [{ path: "number", is: "<", value: 3 }] },
    wants: ({ number }) => number < 3,
  },
];

/** One reader over many sockets, as a client with tokens is. */
interface Reader {
  socket: SimSocket;
  readonly partition: number;
  readonly wish: Wish;
  readonly hasCredits: boolean;
  token: string | null;
  readonly offsets: number[];
}

class Life {
  readonly world: GatewayWorld;
  readonly random: SimRandom;
  readonly port = new SimPort();
  readonly feeds: Feeds;
  readonly sockets: Sockets;
  readonly readers: Reader[] = [];
  #produced: Promise<unknown> = Promise.resolve();
  #count = 0;

  constructor(seed: number) {
    this.world = new GatewayWorld(seed);
    this.random = new SimRandom(seed);
    const { clock } = this.world.machine;
    const client = () => this.world.client;
    this.feeds = new Feeds({ client, clock });
    const logger = new SimLogger();
    this.sockets = new Sockets({
      feeds: this.feeds,
      client,
      clock,
      logger,
      version: "1",
      limits: LIMITS,
    });
  }

  open(): SimSocket {
    const socket = new SimSocket(this.port);
    socket.handlers = this.sockets.open((host) => new Session(socket, "weir.v1.json", host));
    return socket;
  }

  ask({ socket, partition, wish: { filter }, hasCredits, token }: Reader): void {
    socket.say({
      type: "subscribe",
      id: 1,
      topics: [{ topic: "orders", partitions: [partition] }],
      from: "earliest",
      ...(filter !== undefined && { filter }),
      ...(hasCredits && { credits: this.random.below(5) }),
      ...(token !== null && { resume: [token] }),
    });
  }

  /** Takes what the socket has got. */
  hear(reader: Reader): void {
    const { socket } = reader;
    expect(socket.take("gap")).toEqual([]);
    expect(socket.take("error")).toEqual([]);
    for (const { partitions } of socket.take("subscribed")) reader.token ??= partitions[0]!.token;
    const messages = [...socket.take("records"), ...socket.take("position")]
      .toSorted((a, b) => a.next - b.next);
    for (const message of messages) {
      if (message.type === "records") {
        for (const { offset } of message.records) reader.offsets.push(offset);
      }
      reader.token = message.token;
    }
  }

  produce(): void {
    const records = Array.from({ length: 1 + this.random.below(8) }, () => {
      const value = JSON.stringify({ number: this.random.below(100), n: this.#count++ });
      return { key: encoder.encode(`k${this.random.below(3)}`), value: encoder.encode(value) };
    });
    const partition = this.random.below(PARTITIONS);
    this.#produced = this.#produced.then(() => this.world.send("orders", records, partition));
  }

  step(): void {
    const { random, readers } = this;
    const reader = readers[random.below(Math.max(readers.length, 1))];
    const pick = random.below(20);
    if (pick < 8 || reader === undefined) this.produce();
    else if (pick < 10) reader.socket.stall();
    else if (pick < 13) reader.socket.drain();
    else if (pick < 16 && reader.hasCredits && reader.socket.closed === null) {
      reader.socket.say({ type: "credit", id: 1, records: 1 + random.below(20) });
    } else if (pick === 16) {
      // The connection breaks: what was on its way is lost.
      this.hear(reader);
      reader.socket.closed ??= { code: 1006, reason: "" };
      reader.socket.handlers.onClose();
      reader.socket = this.open();
      this.ask(reader);
    }
    if (readers.length < 12 && random.below(6) === 0) {
      const made: Reader = {
        socket: this.open(),
        partition: random.below(PARTITIONS),
        wish: WISHES[random.below(WISHES.length)]!,
        hasCredits: random.below(3) === 0,
        token: null,
        offsets: [],
      };
      readers.push(made);
      this.ask(made);
    }
  }

  async live(): Promise<void> {
    const { world, random } = this;
    await world.start();
    await world.machine.succeed(`topic create orders -p ${PARTITIONS}`);
    for (let round = 0; round < 3; round++) {
      for (let step = 0; step < 100; step++) {
        this.step();
        if (random.below(2) === 0) await world.machine.clock.advance(random.below(15));
        for (const reader of this.readers) if (random.below(3) === 0) this.hear(reader);
      }
      await world.run(this.#produced);
      if (round < 2) {
        await world.run(world.broker.stop());
        await world.machine.clock.advance(random.below(3000));
        await world.start();
      }
    }
    for (const reader of this.readers) {
      reader.socket.drain();
      if (reader.hasCredits) reader.socket.say({ type: "credit", id: 1, records: 100_000 });
    }
    await world.machine.clock.advance(10_000);
    for (const reader of this.readers) this.hear(reader);
  }

  async log(partition: number): Promise<Logged[]> {
    const connection = await this.world.client.any();
    const answer = await connection.request(Calls.fetch, {
      maxWaitMs: 0,
      minBytes: 0,
      topics: [{
        topic: "orders",
        partitions: [{ partition, fetchOffset: 0, partitionMaxBytes: 10_000_000 }],
      }],
      forgottenTopicsData: [],
    });
    const bytes = answer.responses[0]!.partitions[0]!.records!;
    const { records } = readFetched(bytes, { position: 0, abortedTransactions: null });
    return records.map(({ offset, key, value }) => ({
      offset,
      key: decoder.decode(key!),
      number: JSON.parse(decoder.decode(value!)).number,
    }));
  }
}

for (let seed = 1; seed <= 8; seed++) {
  test(
    `Sockets: each sees exactly what passes its filter, once and in order (seed ${seed})`,
    async () => {
      const life = new Life(seed);
      await life.live();
      const { world, sockets, feeds } = life;
      const logs = await world.run(Promise.all([life.log(0), life.log(1)]));
      expect(life.readers.length).toBeGreaterThan(5);
      for (const { offsets, partition, wish } of life.readers) {
        const wanted = logs[partition]!.filter(wish.wants).map(({ offset }) => offset);
        expect(offsets).toEqual(wanted);
      }
      expect(sockets.bufferedBytes).toBe(0);
      await world.run(Promise.all([sockets.stop(), feeds.stop()]));
      await world.end();
    },
    30_000,
  );
}
