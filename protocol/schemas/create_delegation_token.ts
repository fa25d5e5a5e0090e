/**
 * CreateDelegationToken (key 38): makes a token that stands for a user (KIP-48).
 *
 * Versions:
 *   1    a throttled client gets its answer before the wait (KIP-219)
 *   2    flexible (KIP-482)
 *   3    tokens for other users (KIP-373)
 */

import { array, bytes, type Decoded, int16, int32, int64, message, string } from "../schema.ts";

/** Request of CreateDelegationToken. */
export const createDelegationTokenRequest = message(
  { name: "CreateDelegationTokenRequest", apiKey: 38, versions: "1-3", flexible: "2+" },
  {
    ownerPrincipalType: string("3+", { nullable: "3+" }),
    ownerPrincipalName: string("3+", { nullable: "3+" }),
    renewers: array("0+", {
      principalType: string("0+"),
      principalName: string("0+"),
    }),
    maxLifetimeMs: int64("0+"),
  },
);
export type CreateDelegationTokenRequest = Decoded<typeof createDelegationTokenRequest>;

/** Answer of CreateDelegationToken. */
export const createDelegationTokenResponse = message(
  { name: "CreateDelegationTokenResponse", apiKey: 38, versions: "1-3", flexible: "2+" },
  {
    errorCode: int16("0+"),
    principalType: string("0+"),
    principalName: string("0+"),
    tokenRequesterPrincipalType: string("3+"),
    tokenRequesterPrincipalName: string("3+"),
    issueTimestampMs: int64("0+"),
    expiryTimestampMs: int64("0+"),
    maxTimestampMs: int64("0+"),
    tokenId: string("0+"),
    hmac: bytes("0+"),
    throttleTimeMs: int32("0+"),
  },
);
export type CreateDelegationTokenResponse = Decoded<typeof createDelegationTokenResponse>;
