/**
 * SaslHandshake (key 17): chooses the SASL mechanism.
 *
 * Versions:
 *   0    raw SASL bytes follow
 *   1    SaslAuthenticate requests follow (KIP-152)
 */

import { array, type Decoded, int16, message, string } from "../schema.ts";

/** Request of SaslHandshake. */
export const saslHandshakeRequest = message(
  { name: "SaslHandshakeRequest", apiKey: 17, versions: "0-1", flexible: "none" },
  {
    mechanism: string("0+"),
  },
);
export type SaslHandshakeRequest = Decoded<typeof saslHandshakeRequest>;

/** Answer of SaslHandshake. */
export const saslHandshakeResponse = message(
  { name: "SaslHandshakeResponse", apiKey: 17, versions: "0-1", flexible: "none" },
  {
    errorCode: int16("0+"),
    mechanisms: array("0+", "string"),
  },
);
export type SaslHandshakeResponse = Decoded<typeof saslHandshakeResponse>;
