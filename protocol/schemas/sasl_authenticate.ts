/**
 * SaslAuthenticate (key 36): one step of a SASL exchange (KIP-152).
 *
 * Versions:
 *   1    sessionLifetimeMs (KIP-368)
 *   2    flexible (KIP-482)
 */

import { bytes, type Decoded, int16, int64, message, string } from "../schema.ts";

/** Request of SaslAuthenticate. */
export const saslAuthenticateRequest = message(
  { name: "SaslAuthenticateRequest", apiKey: 36, versions: "0-2", flexible: "2+" },
  {
    authBytes: bytes("0+"),
  },
);
export type SaslAuthenticateRequest = Decoded<typeof saslAuthenticateRequest>;

/** Answer of SaslAuthenticate. */
export const saslAuthenticateResponse = message(
  { name: "SaslAuthenticateResponse", apiKey: 36, versions: "0-2", flexible: "2+" },
  {
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+" }),
    authBytes: bytes("0+"),
    sessionLifetimeMs: int64("1+", { default: 0, ignorable: true }),
  },
);
export type SaslAuthenticateResponse = Decoded<typeof saslAuthenticateResponse>;
