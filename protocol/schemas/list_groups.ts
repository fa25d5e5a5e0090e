/**
 * ListGroups (key 16): all groups that a broker coordinates.
 *
 * Versions:
 *   1    throttleTimeMs in the answer (KIP-124)
 *   2    a throttled client gets its answer before the wait (KIP-219)
 *   3    flexible (KIP-482)
 *   4    statesFilter, groupState (KIP-518)
 *   5    typesFilter, groupType (KIP-848)
 */

import { array, type Decoded, int16, int32, message, string } from "../schema.ts";

/** Request of ListGroups. */
export const listGroupsRequest = message(
  { name: "ListGroupsRequest", apiKey: 16, versions: "0-5", flexible: "3+" },
  {
    statesFilter: array("4+", "string"),
    typesFilter: array("5+", "string"),
  },
);
export type ListGroupsRequest = Decoded<typeof listGroupsRequest>;

/** Answer of ListGroups. */
export const listGroupsResponse = message(
  { name: "ListGroupsResponse", apiKey: 16, versions: "0-5", flexible: "3+" },
  {
    throttleTimeMs: int32("1+", { ignorable: true }),
    errorCode: int16("0+"),
    groups: array("0+", {
      groupId: string("0+", { entity: "groupId" }),
      protocolType: string("0+"),
      groupState: string("4+", { ignorable: true }),
      groupType: string("5+", { ignorable: true }),
    }),
  },
);
export type ListGroupsResponse = Decoded<typeof listGroupsResponse>;
