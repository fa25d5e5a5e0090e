/**
 * DescribeDelegationToken (key 41): lists delegation tokens (KIP-48).
 *
 * Versions:
 *   1    a throttled client gets its answer before the wait (KIP-219)
 *   2    flexible (KIP-482)
 *   3    who asked for the token (KIP-373)
 */

import { array, bytes, type Decoded, int16, int32, int64, message, string } from "../schema.ts";

/** Request of DescribeDelegationToken. */
export const describeDelegationTokenRequest = message(
  { name: "DescribeDelegationTokenRequest", apiKey: 41, versions: "1-3", flexible: "2+" },
  {
    owners: array("0+", {
      principalType: string("0+"),
      principalName: string("0+"),
    }, { nullable: "0+" }),
  },
);
export type DescribeDelegationTokenRequest = Decoded<typeof describeDelegationTokenRequest>;

/** Answer of DescribeDelegationToken. */
export const describeDelegationTokenResponse = message(
  { name: "DescribeDelegationTokenResponse", apiKey: 41, versions: "1-3", flexible: "2+" },
  {
    errorCode: int16("0+"),
    tokens: array("0+", {
      principalType: string("0+"),
      principalName: string("0+"),
      tokenRequesterPrincipalType: string("3+"),
      tokenRequesterPrincipalName: string("3+"),
      issueTimestamp: int64("0+"),
      expiryTimestamp: int64("0+"),
      maxTimestamp: int64("0+"),
      tokenId: string("0+"),
      hmac: bytes("0+"),
      renewers: array("0+", {
        principalType: string("0+"),
        principalName: string("0+"),
      }),
    }),
    throttleTimeMs: int32("0+"),
  },
);
export type DescribeDelegationTokenResponse = Decoded<typeof describeDelegationTokenResponse>;
