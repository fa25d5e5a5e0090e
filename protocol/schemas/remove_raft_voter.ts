/**
 * RemoveRaftVoter (key 81): removes a voter from the metadata quorum (KIP-853).
 */

import { type Decoded, int16, int32, message, string, uuid } from "../schema.ts";

/** Request of RemoveRaftVoter. */
export const removeRaftVoterRequest = message(
  { name: "RemoveRaftVoterRequest", apiKey: 81, versions: "0", flexible: "0+" },
  {
    clusterId: string("0+", { nullable: "0+" }),
    voterId: int32("0+"),
    voterDirectoryId: uuid("0+"),
  },
);
export type RemoveRaftVoterRequest = Decoded<typeof removeRaftVoterRequest>;

/** Answer of RemoveRaftVoter. */
export const removeRaftVoterResponse = message(
  { name: "RemoveRaftVoterResponse", apiKey: 81, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+", ignorable: true }),
  },
);
export type RemoveRaftVoterResponse = Decoded<typeof removeRaftVoterResponse>;
