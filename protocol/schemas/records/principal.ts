/**
 * The user of a forwarded request, as bytes in an Envelope (KIP-590).
 */

import { bool, type Decoded, message, string } from "../../schema.ts";

/** A user by type and name. */
export const defaultPrincipalData = message(
  { name: "DefaultPrincipalData", versions: "0", flexible: "0+" },
  {
    type: string("0+"),
    name: string("0+"),
    tokenAuthenticated: bool("0+"),
  },
);
export type DefaultPrincipalData = Decoded<typeof defaultPrincipalData>;
