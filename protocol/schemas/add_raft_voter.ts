/**
 * AddRaftVoter (key 80): adds a voter to the metadata quorum (KIP-853).
 *
 * Versions:
 *   1    ackWhenCommitted (KIP-1186)
 */

import {
  array,
  bool,
  type Decoded,
  int16,
  int32,
  message,
  string,
  uint16,
  uuid,
} from "../schema.ts";

/** Request of AddRaftVoter. */
export const addRaftVoterRequest = message(
  { name: "AddRaftVoterRequest", apiKey: 80, versions: "0-1", flexible: "0+" },
  {
    clusterId: string("0+", { nullable: "0+" }),
    timeoutMs: int32("0+"),
    voterId: int32("0+"),
    voterDirectoryId: uuid("0+"),
    listeners: array("0+", {
      name: string("0+", { mapKey: true }),
      host: string("0+"),
      port: uint16("0+"),
    }),
    ackWhenCommitted: bool("1+", { default: true }),
  },
);
export type AddRaftVoterRequest = Decoded<typeof addRaftVoterRequest>;

/** Answer of AddRaftVoter. */
export const addRaftVoterResponse = message(
  { name: "AddRaftVoterResponse", apiKey: 80, versions: "0-1", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+", ignorable: true }),
  },
);
export type AddRaftVoterResponse = Decoded<typeof addRaftVoterResponse>;
