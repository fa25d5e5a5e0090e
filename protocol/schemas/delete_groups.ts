/**
 * DeleteGroups (key 42): deletes groups that have no members (KIP-229).
 *
 * Versions:
 *   1    a throttled client gets its answer before the wait (KIP-219)
 *   2    flexible (KIP-482)
 *   3    errorMessage of each group (KIP-1331)
 */

import { array, type Decoded, int16, int32, message, string } from "../schema.ts";

/** Request of DeleteGroups. */
export const deleteGroupsRequest = message(
  { name: "DeleteGroupsRequest", apiKey: 42, versions: "0-3", flexible: "2+" },
  {
    groupsNames: array("0+", "string", { entity: "groupId" }),
  },
);
export type DeleteGroupsRequest = Decoded<typeof deleteGroupsRequest>;

/** Answer of DeleteGroups. */
export const deleteGroupsResponse = message(
  { name: "DeleteGroupsResponse", apiKey: 42, versions: "0-3", flexible: "2+" },
  {
    throttleTimeMs: int32("0+"),
    results: array("0+", {
      groupId: string("0+", { entity: "groupId", mapKey: true }),
      errorCode: int16("0+"),
      errorMessage: string("3+", { nullable: "3+", default: null, ignorable: true }),
    }),
  },
);
export type DeleteGroupsResponse = Decoded<typeof deleteGroupsResponse>;
