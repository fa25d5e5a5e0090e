/**
 * AlterClientQuotas (key 49): changes quotas of users, clients and addresses (KIP-546).
 *
 * Versions:
 *   1    flexible (KIP-482)
 */

import { array, bool, type Decoded, float64, int16, int32, message, string } from "../schema.ts";

/** Request of AlterClientQuotas. */
export const alterClientQuotasRequest = message(
  { name: "AlterClientQuotasRequest", apiKey: 49, versions: "0-1", flexible: "1+" },
  {
    entries: array("0+", {
      entity: array("0+", {
        entityType: string("0+"),
        entityName: string("0+", { nullable: "0+" }),
      }),
      ops: array("0+", {
        key: string("0+"),
        value: float64("0+"),
        remove: bool("0+"),
      }),
    }),
    validateOnly: bool("0+"),
  },
);
export type AlterClientQuotasRequest = Decoded<typeof alterClientQuotasRequest>;

/** Answer of AlterClientQuotas. */
export const alterClientQuotasResponse = message(
  { name: "AlterClientQuotasResponse", apiKey: 49, versions: "0-1", flexible: "1+" },
  {
    throttleTimeMs: int32("0+"),
    entries: array("0+", {
      errorCode: int16("0+"),
      errorMessage: string("0+", { nullable: "0+" }),
      entity: array("0+", {
        entityType: string("0+"),
        entityName: string("0+", { nullable: "0+" }),
      }),
    }),
  },
);
export type AlterClientQuotasResponse = Decoded<typeof alterClientQuotasResponse>;
