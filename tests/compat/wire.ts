/**
 * A client that sends exactly the request that it is told to and waits for the answer, for tests that look
 * at single answers. It retries nothing and hides nothing.
 */

import { connect, type Socket } from "node:net";
import { Reader, Writer } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import { FrameSplitter } from "../../protocol/frame.ts";
import { decodeResponseHeader, encodeRequestHeader } from "../../protocol/headers.ts";
import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";

const PATIENCE_MS = 15_000;
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;

/** The broker ended the connection before it answered. */
export class ClosedError extends Error {
  override name = "ClosedError";
}

/** One connection to a broker. */
export class Wire {
  readonly #socket: Socket;
  readonly #clientId: string;
  readonly #splitter = new FrameSplitter({ maxFrameBytes: MAX_ANSWER_BYTES });
  readonly #waiting: { resolve: (frame: Uint8Array) => void; reject: (error: Error) => void }[] =
    [];
  #correlationId = 0;
  #isClosed = false;

  private constructor(socket: Socket, clientId: string) {
    this.#socket = socket;
    this.#clientId = clientId;
    socket.on("data", (chunk: Buffer) => {
      for (const frame of this.#splitter.push(new Uint8Array(chunk))) {
        this.#waiting.shift()!.resolve(frame);
      }
    });
    const end = () => {
      this.#isClosed = true;
      for (const { reject } of this.#waiting.splice(0)) reject(new ClosedError());
    };
    socket.on("close", end);
    socket.on("error", end);
  }

  static connect(bootstrap: string, clientId = "wire"): Promise<Wire> {
    const [host, port] = bootstrap.split(":") as [string, string];
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port: Number(port), noDelay: true });
      socket.once("connect", () => resolve(new Wire(socket, clientId)));
      socket.once("error", reject);
    });
  }

  /** True when the broker has hung up. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends one request. Errors: WireError when the version cannot say it; ClosedError when the broker hangs up. */
  async send<Req extends Message, Res extends Message>(
    request: Req,
    response: Res,
    version: number,
    value: Encodable<Req>,
  ): Promise<Decoded<Res>> {
    const writer = new Writer();
    const head = {
      apiKey: request.apiKey!,
      apiVersion: version,
      correlationId: ++this.#correlationId,
      clientId: this.#clientId,
    };
    encodeRequestHeader(writer, head);
    codec(request, version).encode(writer, value);
    const body = writer.finish();
    const frame = new Uint8Array(4 + body.length);
    new DataView(frame.buffer).setInt32(0, body.length);
    frame.set(body, 4);
    const answer = await new Promise<Uint8Array>((resolve, reject) => {
      if (this.#isClosed) return reject(new ClosedError());
      const giveUp = setTimeout(
        () => reject(new Error(`no answer to ${request.name} v${version} in ${PATIENCE_MS} ms`)),
        PATIENCE_MS,
      );
      this.#waiting.push({
        resolve: (frame) => (clearTimeout(giveUp), resolve(frame)),
        reject: (error) => (clearTimeout(giveUp), reject(error)),
      });
      this.#socket.write(frame);
    });
    const reader = new Reader(answer);
    decodeResponseHeader(reader, head);
    return codec(response, version).decode(reader);
  }

  close(): void {
    this.#socket.destroy();
  }
}
