/**
 * DescribeClientQuotas (key 48): quotas of users, clients and addresses (KIP-546).
 *
 * Versions:
 *   1    flexible (KIP-482)
 */

import {
  array,
  bool,
  type Decoded,
  float64,
  int16,
  int32,
  int8,
  message,
  string,
} from "../schema.ts";

/** Request of DescribeClientQuotas. */
export const describeClientQuotasRequest = message(
  { name: "DescribeClientQuotasRequest", apiKey: 48, versions: "0-1", flexible: "1+" },
  {
    components: array("0+", {
      entityType: string("0+"),
      matchType: int8("0+"),
      match: string("0+", { nullable: "0+" }),
    }),
    strict: bool("0+"),
  },
);
export type DescribeClientQuotasRequest = Decoded<typeof describeClientQuotasRequest>;

/** Answer of DescribeClientQuotas. */
export const describeClientQuotasResponse = message(
  { name: "DescribeClientQuotasResponse", apiKey: 48, versions: "0-1", flexible: "1+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+" }),
    entries: array("0+", {
      entity: array("0+", {
        entityType: string("0+"),
        entityName: string("0+", { nullable: "0+" }),
      }),
      values: array("0+", {
        key: string("0+"),
        value: float64("0+"),
      }),
    }, { nullable: "0+" }),
  },
);
export type DescribeClientQuotasResponse = Decoded<typeof describeClientQuotasResponse>;
