/**
 * DescribeUserScramCredentials (key 50): which users have SCRAM credentials; never the credentials
 * (KIP-554).
 */

import { array, type Decoded, int16, int32, int8, message, string } from "../schema.ts";

/** Request of DescribeUserScramCredentials. */
export const describeUserScramCredentialsRequest = message(
  { name: "DescribeUserScramCredentialsRequest", apiKey: 50, versions: "0", flexible: "0+" },
  {
    users: array("0+", {
      name: string("0+"),
    }, { nullable: "0+" }),
  },
);
export type DescribeUserScramCredentialsRequest = Decoded<
  typeof describeUserScramCredentialsRequest
>;

/** Answer of DescribeUserScramCredentials. */
export const describeUserScramCredentialsResponse = message(
  { name: "DescribeUserScramCredentialsResponse", apiKey: 50, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+" }),
    results: array("0+", {
      user: string("0+"),
      errorCode: int16("0+"),
      errorMessage: string("0+", { nullable: "0+" }),
      credentialInfos: array("0+", {
        mechanism: int8("0+"),
        iterations: int32("0+"),
      }),
    }),
  },
);
export type DescribeUserScramCredentialsResponse = Decoded<
  typeof describeUserScramCredentialsResponse
>;
