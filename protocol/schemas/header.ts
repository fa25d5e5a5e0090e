/**
 * Headers of requests and answers; which version goes where is in `headers.ts`.
 *
 * The clientId has an int16 length in both versions, also in the flexible one: a broker must be
 * able to
 * read the header of an ApiVersions request of any version (KIP-511).
 */

import { type Decoded, int16, int32, message, string } from "../schema.ts";

/** What stands before every request. */
export const requestHeader = message(
  { name: "RequestHeader", versions: "1-2", flexible: "2+" },
  {
    requestApiKey: int16("0+"),
    requestApiVersion: int16("0+"),
    correlationId: int32("0+"),
    clientId: string("1+", { nullable: "1+", flexible: "none" }),
  },
);
export type RequestHeader = Decoded<typeof requestHeader>;

/** What stands before every answer. */
export const responseHeader = message(
  { name: "ResponseHeader", versions: "0-1", flexible: "1+" },
  {
    correlationId: int32("0+"),
  },
);
export type ResponseHeader = Decoded<typeof responseHeader>;
