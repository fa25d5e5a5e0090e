import { expect, test } from "bun:test";
import { ApiKey } from "../../../protocol/api_keys.ts";
import { Writer } from "../../../protocol/bytes.ts";
import { codec } from "../../../protocol/compile.ts";
import { FrameSplitter } from "../../../protocol/frame.ts";
import { encodeResponseHeader } from "../../../protocol/headers.ts";
import { apiVersionsResponse } from "../../../protocol/schemas/api_versions.ts";
import { fetchRequest, fetchResponse } from "../../../protocol/schemas/fetch.ts";
import type { Connection, Network } from "../../../broker/network.ts";
import { BrokerConnection } from "../../../broker/peers/broker_connection.ts";
import { call } from "../../../broker/peers/call.ts";
import { AnswerLoan } from "../../../broker/frame_memory.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimNetwork } from "../../sim/sim_network.ts";
import { SimRandom } from "../../sim/sim_random.ts";

const VERSION = 12;
const FETCH = call(ApiKey.Fetch, fetchRequest, fetchResponse, {
  lowest: VERSION,
  highest: VERSION,
});
const ENDPOINT = { host: "127.0.0.1", port: 9092 };

/** An answer to the request with this number: which versions there are, then records. */
function answer(correlationId: number, records: Uint8Array): Uint8Array {
  const isFirst = correlationId === 0;
  const apiKey = isFirst ? ApiKey.ApiVersions : ApiKey.Fetch;
  const writer = new Writer();
  writer.beginSized();
  encodeResponseHeader(writer, { apiKey, apiVersion: isFirst ? 3 : VERSION, correlationId });
  if (isFirst) {
    const apiKeys = [{ apiKey: ApiKey.Fetch, minVersion: VERSION, maxVersion: VERSION }];
    codec(apiVersionsResponse, 3).encode(writer, { errorCode: 0, apiKeys });
  } else {
    const partition = {
      partitionIndex: 0,
      errorCode: 0,
      highWatermark: 0,
      abortedTransactions: null,
    };
    const responses = [{ topic: "a", partitions: [{ ...partition, records }] }];
    codec(fetchResponse, VERSION).encode(writer, { errorCode: 0, responses });
  }
  writer.endSized();
  return writer.finish();
}

/** A network on which a broker answers with `records`, in as many pieces as `cuts` says; and what came of each. */
function brokerOf(clock: SimClock, records: Uint8Array, cuts: readonly number[]) {
  const inner = new SimNetwork({ clock, random: new SimRandom(1) });
  inner.listen(ENDPOINT, (link: Connection) => {
    const splitter = new FrameSplitter({ maxFrameBytes: 1 << 20 });
    let count = 0;
    return {
      onData(bytes) {
        for (const _ of splitter.push(bytes)) {
          const whole = answer(count++, records);
          const at = [0, ...(count === 1 ? [] : cuts), whole.length];
          for (let i = 1; i < at.length; i++) {
            clock.timer(i, () => void link.write(whole.subarray(at[i - 1], at[i])));
          }
        }
      },
      onDrain() {},
      onClose() {},
    };
  });
  const chunks: Uint8Array[] = [];
  const network: Network = {
    listen: () => {
      throw new Error("nobody listens here");
    },
    connect: (endpoint, opened) =>
      inner.connect(endpoint, (link) => {
        const handlers = opened(link);
        return {
          onData(bytes) {
            chunks.push(bytes);
            handlers.onData(bytes);
          },
          onDrain: () => handlers.onDrain(),
          onClose: (reason) => handlers.onClose(reason),
        };
      }),
  };
  return { network, chunks };
}

const WHOLE: readonly number[] = [];
const IN_THREE = [20_000, 40_000];
const cases: [string, readonly number[], { isLent: boolean; kept: boolean[] }][] = [
  ["whole in one chunk stays", WHOLE, { isLent: false, kept: [true] }],
  ["whole in one chunk goes once its caller says so", WHOLE, { isLent: true, kept: [false] }],
  ["in three chunks leaves none of them", IN_THREE, { isLent: false, kept: [false, false, false] }],
  ["in three chunks goes, too, once its caller says so", IN_THREE, {
    isLent: true,
    kept: [false, false, false],
  }],
];
for (const [title, cuts, { isLent, kept }] of cases) {
  test(`BrokerConnection: an answer that comes ${title}`, async () => {
    const clock = new SimClock();
    const records = Uint8Array.from({ length: 60_000 }, (_, i) => i * 7);
    const { network, chunks } = brokerOf(clock, records, cuts);
    const opening = BrokerConnection.open({
      network,
      clock,
      endpoint: ENDPOINT,
      clientId: "test",
      requestTimeoutMs: 1000,
      softwareVersion: "1",
    });
    const connection = await clock.run(opening);
    chunks.length = 0;
    const loan = new AnswerLoan();
    const found = await clock.run(connection.request(FETCH, {
      maxWaitMs: 0,
      minBytes: 1,
      topics: [],
    }, isLent ? { loan } : {}));
    const lies = found.responses[0]!.partitions[0]!.records!;
    expect(lies).toEqual(records);
    loan.giveBack();
    expect(lies.length).toBe(isLent ? 0 : records.length);
    expect(chunks.map(({ length }) => length > 0)).toEqual(kept);
    connection.close();
  });
}
