/**
 * RenewDelegationToken (key 39): makes a delegation token last longer (KIP-48).
 *
 * Versions:
 *   1    a throttled client gets its answer before the wait (KIP-219)
 *   2    flexible (KIP-482)
 */

import { bytes, type Decoded, int16, int32, int64, message } from "../schema.ts";

/** Request of RenewDelegationToken. */
export const renewDelegationTokenRequest = message(
  { name: "RenewDelegationTokenRequest", apiKey: 39, versions: "1-2", flexible: "2+" },
  {
    hmac: bytes("0+"),
    renewPeriodMs: int64("0+"),
  },
);
export type RenewDelegationTokenRequest = Decoded<typeof renewDelegationTokenRequest>;

/** Answer of RenewDelegationToken. */
export const renewDelegationTokenResponse = message(
  { name: "RenewDelegationTokenResponse", apiKey: 39, versions: "1-2", flexible: "2+" },
  {
    errorCode: int16("0+"),
    expiryTimestampMs: int64("0+"),
    throttleTimeMs: int32("0+"),
  },
);
export type RenewDelegationTokenResponse = Decoded<typeof renewDelegationTokenResponse>;
