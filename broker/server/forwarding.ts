/**
 * Client requests that only the active controller can answer, sent on to it from any other node (KIP-590).
 *
 *     client ──→ this node ── leads: handler ──→ client
 *                   └── else: Envelope(the request's bytes, principal, address) ──→ the active controller
 *     client ←── the embedded answer, its body as it came ←──────────────────────────┘
 *
 * The embedded request is the client's, header and all, so the embedded answer has its correlation id and
 * version. Where no controller answers in time, this node's own handler does: NOT_CONTROLLER, in the form that
 * the client knows. With one node nothing is ever forwarded.
 */

import { apiName } from "../../protocol/api_keys.ts";
import { Reader, Writer } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import { decodeResponseHeader } from "../../protocol/headers.ts";
import { defaultPrincipalData } from "../../protocol/schemas/records/principal.ts";
import type { Answer, Api, RequestContext } from "../apis/api.ts";
import { holdsError } from "./inner_request.ts";
import { ControllerCalls } from "../controller/controller_calls.ts";
import type { ControllerChannel } from "../controller/controller_channel.ts";
import { NetworkError } from "../network.ts";

const PRINCIPAL_VERSION = 0;

/** What forwarding needs. */
export interface ForwardingOptions {
  readonly channel: ControllerChannel;
  /** How long the active controller is looked for. */
  readonly timeoutMs: () => number;
}

/** The body of an answer that another node made. */
class ForwardedAnswer {
  readonly body: Uint8Array;

  constructor(body: Uint8Array) {
    this.body = body;
  }
}

/** The same APIs, those that are marked so being forwarded unless this node leads. */
export function forwarding(apis: readonly Api[], options: ForwardingOptions): Api[] {
  return apis.map((api) => api.isForwarded ? forwardedApi(api, options) : api);
}

function forwardedApi(api: Api, options: ForwardingOptions): Api {
  return {
    ...api,
    async handle(reader, context) {
      const { bytes: frame, position } = reader;
      const handleHere = () => api.handle(new Reader(frame, position), context);
      if (options.channel.isActive) {
        const answer = await handleHere();
        const hasMoved = holdsError(answer, ErrorCode.NOT_CONTROLLER) && !options.channel.isActive;
        if (!hasMoved) return answer;
      }
      const forwarded = await forward(frame, context, options);
      return forwarded === null ? await handleHere() : forwarded.answer;
    },
    encode(writer, version, answer) {
      if (answer instanceof ForwardedAnswer) writer.raw(answer.body);
      else api.encode(writer, version, answer);
    },
  };
}

/** Returns: null when no controller can be had. A request that the controller refuses ends the connection. */
async function forward(
  frame: Uint8Array,
  context: RequestContext,
  { channel, timeoutMs }: ForwardingOptions,
): Promise<{ readonly answer: Answer } | null> {
  const body = {
    requestData: frame,
    requestPrincipal: ANONYMOUS,
    clientHostAddress: addressBytes(context.connection.remoteAddress),
  };
  const envelope = await channel.call(ControllerCalls.envelope, body, { timeoutMs: timeoutMs() })
    .catch((failure: unknown) => {
      if (!(failure instanceof NetworkError)) throw failure;
      return null;
    });
  if (envelope === null) return null;
  const { errorCode, responseData } = envelope;
  if (errorCode !== ErrorCode.NONE || responseData === null) {
    context.closeConnection(
      `the controller refused ${apiName(context.apiKey)} version ${context.apiVersion}: ` +
        errorName(errorCode as ErrorCode),
    );
    return { answer: null };
  }
  const reader = new Reader(responseData);
  decodeResponseHeader(reader, context);
  return { answer: new ForwardedAnswer(reader.view(reader.remaining)) };
}

/** Nobody is authenticated yet. */
const ANONYMOUS = principalBytes({ type: "User", name: "ANONYMOUS", tokenAuthenticated: false });

function principalBytes(
  principal: { readonly type: string; readonly name: string; readonly tokenAuthenticated: boolean },
): Uint8Array {
  const writer = new Writer();
  writer.int16(PRINCIPAL_VERSION);
  codec(defaultPrincipalData, PRINCIPAL_VERSION).encode(writer, principal);
  return writer.finish();
}

/** An address as its 4 or 16 bytes, most significant first. */
export function addressBytes(address: string): Uint8Array {
  const [text] = address.split("%");
  const dotted = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text!);
  if (dotted !== null) return Uint8Array.from(dotted.slice(1).map(Number));
  const [head = "", tail] = text!.split("::");
  const groups = (part: string) => part === "" ? [] : part.split(":").map((g) => parseInt(g, 16));
  const first = groups(head);
  const last = tail === undefined ? [] : groups(tail);
  const zeros = Array<number>(Math.max(8 - first.length - last.length, 0)).fill(0);
  const all = tail === undefined ? first : [...first, ...zeros, ...last];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}
