/**
 * Envelope (key 58): a broker forwards a client's request to the controller (KIP-590).
 */

import { bytes, type Decoded, int16, message } from "../schema.ts";

/** Request of Envelope. */
export const envelopeRequest = message(
  { name: "EnvelopeRequest", apiKey: 58, versions: "0", flexible: "0+" },
  {
    requestData: bytes("0+"),
    requestPrincipal: bytes("0+", { nullable: "0+" }),
    clientHostAddress: bytes("0+"),
  },
);
export type EnvelopeRequest = Decoded<typeof envelopeRequest>;

/** Answer of Envelope. */
export const envelopeResponse = message(
  { name: "EnvelopeResponse", apiKey: 58, versions: "0", flexible: "0+" },
  {
    responseData: bytes("0+", { nullable: "0+", default: null }),
    errorCode: int16("0+"),
  },
);
export type EnvelopeResponse = Decoded<typeof envelopeResponse>;
