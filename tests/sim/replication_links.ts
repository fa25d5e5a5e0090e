/**
 * Links between the nodes of a replication world, and to its controller, which is node 0.
 *
 * Requests are encoded and decoded as on the wire. What goes one way can be cut; what is under way then is lost, or
 * comes seconds later, when nobody waits for its answer any more: as bytes do that lie before a process that
 * was stopped. Answers of one channel come in the order of its requests.
 */

import { codec } from "../../protocol/compile.ts";
import { Reader, Writer } from "../../protocol/bytes.ts";
import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";
import type { Api } from "../../broker/apis/api.ts";
import { type Endpoint, NetworkError } from "../../broker/network.ts";
import type { Call } from "../../broker/peers/call.ts";
import { TestContext } from "../broker/partitions/harness.ts";
import type { SimClock } from "./sim_clock.ts";
import type { SimRandom } from "./sim_random.ts";

/** The node that is the controller. */
const CONTROLLER = 0;

/** The links. */
export class ReplicationLinks {
  readonly #clock: SimClock;
  readonly #random: SimRandom;
  /** What a node serves; undefined while nothing runs there. */
  readonly #handler: (nodeId: number, apiKey: number) => Api | undefined;
  readonly #cut = new Set<string>();
  readonly #turns = new Map<string, Promise<unknown>>();
  /** Of requests, how many come late, when their sender has given up. */
  lateShare = 0;
  maxDelayMs = 2;

  constructor(options: {
    readonly clock: SimClock;
    readonly random: SimRandom;
    readonly handler: (nodeId: number, apiKey: number) => Api | undefined;
  }) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#handler = options.handler;
  }

  isCut(from: number, to: number): boolean {
    return this.#cut.has(`${from}>${to}`);
  }
  cut(from: number, to: number): void {
    this.#cut.add(`${from}>${to}`);
  }
  heal(): void {
    this.#cut.clear();
    this.lateShare = 0;
    this.maxDelayMs = 2;
  }

  peersOf(nodeId: number) {
    return {
      send: <Q extends Message, A extends Message>(
        to: Endpoint,
        call: Call<Q, A>,
        body: Encodable<Q>,
        { timeoutMs, channel = "" }: { readonly timeoutMs: number; readonly channel?: string },
      ) => this.#send({ from: nodeId, to: Number(to.host), timeoutMs, channel }, call, body),
    };
  }

  channelOf(nodeId: number) {
    return {
      call: <Q extends Message, A extends Message>(
        call: Call<Q, A>,
        body: Encodable<Q>,
        { timeoutMs }: { readonly timeoutMs: number },
      ) => {
        const way = { from: nodeId, to: CONTROLLER, timeoutMs, channel: String(call.key) };
        return this.#send(way, call, body);
      },
    };
  }

  #send<Q extends Message, A extends Message>(
    { from, to, timeoutMs, channel }: {
      readonly from: number;
      readonly to: number;
      readonly timeoutMs: number;
      readonly channel: string;
    },
    call: Call<Q, A>,
    body: Encodable<Q>,
  ): Promise<Decoded<A>> {
    const { promise, resolve, reject } = Promise.withResolvers<Decoded<A>>();
    const late = this.#clock.timer(timeoutMs, () => reject(new NetworkError("late", "ETIMEDOUT")));
    const lose = (code: string) => {
      late.cancel();
      reject(new NetworkError("lost", code));
    };
    const isLate = this.#random.chance(this.lateShare);
    const delayMs = isLate
      ? timeoutMs + this.#random.below(5000)
      : this.#random.below(this.maxDelayMs + 1);
    const key = `${from}>${to}/${channel}`;
    const before = this.#turns.get(key) ?? Promise.resolve();
    const version = call.highest;
    const writer = new Writer();
    codec(call.request, version).encode(writer, body);
    const bytes = writer.finish();
    const arrived = this.#clock.sleep(delayMs);
    const handled = (isLate ? arrived : Promise.all([arrived, this.#arrivals.get(key)]))
      .then(() => {
        if (this.isCut(from, to)) return null;
        const api = this.#handler(to, call.key);
        if (api === undefined) {
          lose("ECONNREFUSED");
          return null;
        }
        const context = new TestContext(call.key, version, `broker-${from}`);
        const given = api.handle(new Reader(bytes), context);
        return Promise.resolve(given).then((answer) => {
          const answered = new Writer();
          api.encode(answered, version, answer!);
          const copy = answered.finish().slice();
          context.sent();
          return copy;
        });
      });
    if (!isLate) this.#arrivals.set(key, arrived);
    const answered = Promise.all([handled, before]).then(async ([copy]) => {
      await this.#clock.sleep(this.#random.below(this.maxDelayMs + 1));
      if (copy === null || this.isCut(to, from)) return;
      late.cancel();
      resolve(codec(call.response, version).decode(new Reader(copy)));
    });
    // An answer that never comes ends with its connection.
    if (!isLate) this.#turns.set(key, Promise.race([answered, promise.catch(() => {})]));
    return promise;
  }

  readonly #arrivals = new Map<string, Promise<void>>();
}
