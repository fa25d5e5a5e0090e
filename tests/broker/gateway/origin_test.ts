import { describe, expect, test } from "bun:test";
import { foreignOrigin } from "../../../broker/gateway/origin.ts";

describe("foreignOrigin", () => {
  const OWN = "http://shop.example:8080";
  const cases: readonly (readonly [what: string, Record<string, string>, string | null])[] = [
    ["a program", {}, null],
    ["our own page", { "Sec-Fetch-Site": "same-origin", Origin: OWN }, null],
    ["an address that somebody typed", { "Sec-Fetch-Site": "none" }, null],
    [
      "another site",
      { "Sec-Fetch-Site": "cross-site", Origin: "http://evil.example" },
      "http://evil.example",
    ],
    ["another site that hides its name", { "Sec-Fetch-Site": "cross-site" }, "another site"],
    [
      "a neighbour",
      { "Sec-Fetch-Site": "same-site", Origin: "http://blog.shop.example" },
      "http://blog.shop.example",
    ],
    ["an old browser, our own page", { Origin: OWN }, null],
    [
      "an old browser, another site",
      { Origin: "http://evil.example:8080" },
      "http://evil.example:8080",
    ],
    [
      "an old browser, another port",
      { Origin: "http://shop.example:9090" },
      "http://shop.example:9090",
    ],
    ["a page without an origin", { Origin: "null" }, "null"],
  ];

  test.each(cases)("%s: told by its headers", (_what, headers, expected) => {
    const request = new Request(`${OWN}/x`, {
      method: "POST",
      headers: { Host: "shop.example:8080", ...headers },
    });
    expect(foreignOrigin(request)).toBe(expected);
  });
});
