/**
 * AlterUserScramCredentials (key 51): adds, changes and deletes SCRAM credentials (KIP-554).
 */

import { array, bytes, type Decoded, int16, int32, int8, message, string } from "../schema.ts";

/** Request of AlterUserScramCredentials. */
export const alterUserScramCredentialsRequest = message(
  { name: "AlterUserScramCredentialsRequest", apiKey: 51, versions: "0", flexible: "0+" },
  {
    deletions: array("0+", {
      name: string("0+"),
      mechanism: int8("0+"),
    }),
    upsertions: array("0+", {
      name: string("0+"),
      mechanism: int8("0+"),
      iterations: int32("0+"),
      salt: bytes("0+"),
      saltedPassword: bytes("0+"),
    }),
  },
);
export type AlterUserScramCredentialsRequest = Decoded<typeof alterUserScramCredentialsRequest>;

/** Answer of AlterUserScramCredentials. */
export const alterUserScramCredentialsResponse = message(
  { name: "AlterUserScramCredentialsResponse", apiKey: 51, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    results: array("0+", {
      user: string("0+"),
      errorCode: int16("0+"),
      errorMessage: string("0+", { nullable: "0+" }),
    }),
  },
);
export type AlterUserScramCredentialsResponse = Decoded<typeof alterUserScramCredentialsResponse>;
