/**
 * DescribeConfigs (key 32): settings of topics, brokers and groups (KIP-133).
 *
 * Versions:
 *   1    sources and synonyms (KIP-226)
 *   2    a throttled client gets its answer before the wait (KIP-219)
 *   3    types and documentation (KIP-569)
 *   4    flexible (KIP-482)
 */

import { array, bool, type Decoded, int16, int32, int8, message, string } from "../schema.ts";

/** Request of DescribeConfigs. */
export const describeConfigsRequest = message(
  { name: "DescribeConfigsRequest", apiKey: 32, versions: "1-4", flexible: "4+" },
  {
    resources: array("0+", {
      resourceType: int8("0+"),
      resourceName: string("0+"),
      configurationKeys: array("0+", "string", { nullable: "0+" }),
    }),
    includeSynonyms: bool("1+", { default: false }),
    includeDocumentation: bool("3+", { default: false }),
  },
);
export type DescribeConfigsRequest = Decoded<typeof describeConfigsRequest>;

/** Answer of DescribeConfigs. */
export const describeConfigsResponse = message(
  { name: "DescribeConfigsResponse", apiKey: 32, versions: "1-4", flexible: "4+" },
  {
    throttleTimeMs: int32("0+"),
    results: array("0+", {
      errorCode: int16("0+"),
      errorMessage: string("0+", { nullable: "0+" }),
      resourceType: int8("0+"),
      resourceName: string("0+"),
      configs: array("0+", {
        name: string("0+"),
        value: string("0+", { nullable: "0+" }),
        readOnly: bool("0+"),
        configSource: int8("1+", { default: -1, ignorable: true }),
        isSensitive: bool("0+"),
        synonyms: array("1+", {
          name: string("1+"),
          value: string("1+", { nullable: "0+" }),
          source: int8("1+"),
        }, { ignorable: true }),
        configType: int8("3+", { default: 0, ignorable: true }),
        documentation: string("3+", { nullable: "0+", ignorable: true }),
      }),
    }),
  },
);
export type DescribeConfigsResponse = Decoded<typeof describeConfigsResponse>;
