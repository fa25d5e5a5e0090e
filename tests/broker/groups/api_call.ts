/** Calls a handler as the server does: bytes in, bytes out, at one version. */

import type { Api, RequestContext } from "../../../broker/apis/api.ts";
import { Reader, Writer } from "../../../protocol/bytes.ts";
import { codec } from "../../../protocol/compile.ts";
import type { Decoded, Encodable, Message } from "../../../protocol/schema.ts";
import type { GroupHarness } from "./harness.ts";

/** A request and its response. */
export interface Pair<Req extends Message, Res extends Message> {
  readonly request: Req;
  readonly response: Res;
}

/** Sends `body` in `version` and runs virtual time until it is answered. */
export async function call<Req extends Message, Res extends Message>(
  harness: GroupHarness,
  api: Api,
  { request, response }: Pair<Req, Res>,
  version: number,
  body: Encodable<Req>,
): Promise<Decoded<Res>> {
  const asked = new Writer();
  codec(request, version).encode(asked, body);
  const context: RequestContext = {
    apiKey: api.key,
    apiVersion: version,
    correlationId: 1,
    clientId: "client",
    connection: {
      id: 1,
      remoteAddress: "10.0.0.7",
      listenerName: "PLAINTEXT",
      advertisedHost: "broker.test",
      advertisedPort: 9999,
      clientSoftwareName: null,
      clientSoftwareVersion: null,
    },
    closed: { aborted: false, onAbort: () => () => {} },
    requestBytes: 0,
    answerRoomBytes: Infinity,
    onSent() {},
    closeConnection() {},
  };
  const answer = await harness.run(
    Promise.resolve(api.handle(new Reader(asked.finish()), context)),
  );
  const told = new Writer();
  api.encode(told, version, answer!);
  return codec(response, version).decode(new Reader(told.finish()));
}

/** Every version that an API serves. */
export function versionsOf(api: Api): number[] {
  const { lowest, highest } = api.versions;
  return Array.from({ length: highest - lowest + 1 }, (_, index) => lowest + index);
}
