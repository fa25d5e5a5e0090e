/** Asks one API through its codecs, as the server would, without a server: what a client would see. */

import { Reader, Writer } from "../../../protocol/bytes.ts";
import { codec } from "../../../protocol/compile.ts";
import type { Decoded, Encodable, Message } from "../../../protocol/schema.ts";
import type { Api, RequestContext } from "../../../broker/apis/api.ts";

/** Where the client reached the broker. */
export const ADVERTISED = { advertisedHost: "reached.example", advertisedPort: 19092 };

/** What the handlers are told of a request. */
export function contextOf(apiKey: number, apiVersion: number): RequestContext {
  return {
    apiKey,
    apiVersion,
    correlationId: 1,
    clientId: "test",
    connection: {
      id: 1,
      remoteAddress: "127.0.0.1",
      listenerName: "PLAINTEXT",
      ...ADVERTISED,
      clientSoftwareName: null,
      clientSoftwareVersion: null,
    },
    closed: { aborted: false, onAbort: () => () => {} },
    requestBytes: 100,
    answerRoomBytes: Infinity,
    onSent: (callback) => callback(),
    closeConnection: () => {},
  };
}

/** Encodes the request, has it handled, and gives the answer as a client decodes it. */
export async function ask<Req extends Message, Res extends Message>(
  api: Api,
  [request, response]: readonly [Req, Res],
  version: number,
  body: Encodable<Req>,
): Promise<Decoded<Res>> {
  const writer = new Writer();
  codec(request, version).encode(writer, body);
  const context = contextOf(api.key, version);
  const answer = await api.handle(new Reader(writer.finish()), context);
  if (answer === null) throw new Error(`${request.name} was not answered`);
  const answered = new Writer();
  api.encode(answered, version, answer);
  return codec(response, version).decode(new Reader(answered.finish()));
}
