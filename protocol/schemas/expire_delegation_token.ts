/**
 * ExpireDelegationToken (key 40): ends a delegation token, or shortens its life (KIP-48).
 *
 * Versions:
 *   1    a throttled client gets its answer before the wait (KIP-219)
 *   2    flexible (KIP-482)
 */

import { bytes, type Decoded, int16, int32, int64, message } from "../schema.ts";

/** Request of ExpireDelegationToken. */
export const expireDelegationTokenRequest = message(
  { name: "ExpireDelegationTokenRequest", apiKey: 40, versions: "1-2", flexible: "2+" },
  {
    hmac: bytes("0+"),
    expiryTimePeriodMs: int64("0+"),
  },
);
export type ExpireDelegationTokenRequest = Decoded<typeof expireDelegationTokenRequest>;

/** Answer of ExpireDelegationToken. */
export const expireDelegationTokenResponse = message(
  { name: "ExpireDelegationTokenResponse", apiKey: 40, versions: "1-2", flexible: "2+" },
  {
    errorCode: int16("0+"),
    expiryTimestampMs: int64("0+"),
    throttleTimeMs: int32("0+"),
  },
);
export type ExpireDelegationTokenResponse = Decoded<typeof expireDelegationTokenResponse>;
