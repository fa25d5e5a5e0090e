/**
 * How many requests a second the server carries with a handler that does nothing: 100-byte Produce-like
 * requests (Heartbeat's shape with a payload), answered at once or by a promise.
 *
 *     bun tests/bench/server_bench.ts [connections] [in flight] [seconds]
 *
 * The server runs in this process and the client in another. `server_bench_test.ts` runs it tiny on the
 * simulated network.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { Writer } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import { encodeRequestHeader } from "../../protocol/headers.ts";
import {
  initProducerIdRequest,
  initProducerIdResponse,
} from "../../protocol/schemas/init_producer_id.ts";
import type { Clock, Logger } from "../../storage/platform.ts";
import { type Api, defineApi } from "../../broker/apis/api.ts";
import type { Network } from "../../broker/network.ts";
import { Server } from "../../broker/server/server.ts";

const BENCH_VERSION = 4;

/** A handler that does nothing. */
export function nullApi(isAsync: boolean): Api {
  const answer = { throttleTimeMs: 0, errorCode: 0, producerId: 1, producerEpoch: 2 };
  return defineApi({
    key: ApiKey.InitProducerId,
    request: initProducerIdRequest,
    response: initProducerIdResponse,
    versions: { lowest: 0, highest: 6 },
    handle: () => isAsync ? Promise.resolve(answer) : answer,
  });
}

/** One encoded request of about 130 bytes, with its length. */
export function benchFrame(correlationId = 7): Uint8Array {
  const writer = new Writer();
  writer.beginSized();
  const apiKey = ApiKey.InitProducerId;
  encodeRequestHeader(writer, {
    apiKey,
    apiVersion: BENCH_VERSION,
    correlationId,
    clientId: "bench",
  });
  codec(initProducerIdRequest, BENCH_VERSION).encode(writer, {
    transactionalId: "x".repeat(90),
    transactionTimeoutMs: 60_000,
    producerId: -1,
    producerEpoch: -1,
  });
  writer.endSized();
  return writer.finish();
}

/** Starts the server under test. */
export function benchServer(
  options: { network: Network; clock: Clock; logger: Logger; port: number; isAsync: boolean },
): Server {
  const { network, clock, logger, port, isAsync } = options;
  const server = new Server({ network, clock, logger, apis: [nullApi(isAsync)] });
  server.listen({ name: "PLAINTEXT", host: "127.0.0.1", port });
  return server;
}

/** Keeps `inFlight` requests on one connection going until `count` have been answered. */
export function drive(
  network: Network,
  { port, inFlight, count }: { port: number; inFlight: number; count: number },
): Promise<number> {
  const frame = benchFrame();
  const batch = new Uint8Array(frame.length * inFlight);
  for (let i = 0; i < inFlight; i++) batch.set(frame, i * frame.length);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let answered = 0;
  let answerBytes = 0;
  let partBytes = 0;
  let owedBytes = 0;
  network.connect({ host: "127.0.0.1", port }, (link) => {
    const send = () => {
      while (owedBytes > 0) {
        // What is owed starts where the last write stopped: a multiple of the frame from the end.
        const from = (frame.length - owedBytes % frame.length) % frame.length;
        const accepted = link.write(batch.subarray(from, Math.min(batch.length, from + owedBytes)));
        owedBytes -= accepted;
        if (accepted === 0) return;
      }
    };
    owedBytes = inFlight * frame.length;
    queueMicrotask(send);
    return {
      onData(bytes) {
        if (answerBytes === 0) {
          answerBytes = 4 + new DataView(bytes.buffer, bytes.byteOffset).getInt32(0);
        }
        partBytes += bytes.length;
        const got = Math.floor(partBytes / answerBytes);
        partBytes -= got * answerBytes;
        answered += got;
        if (answered >= count) {
          resolve(answered);
          return link.close();
        }
        owedBytes += got * frame.length;
        send();
      },
      onDrain: send,
      onClose: (reason) => reject(new Error(`closed: ${reason}`)),
    };
  }).catch(reject);
  return promise;
}
