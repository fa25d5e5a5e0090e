/** docs/configuration.md says what the code does. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { configurationPage } from "../scripts/configuration.ts";

const readPage = (name: string) => readFileSync(join(import.meta.dir, "..", "docs", name), "utf8");

test("docs/configuration.md: is what scripts/configuration.ts writes", () => {
  const cells = (text: string) => text.replaceAll(/[ ]+/g, " ").replaceAll(/-{3,}/g, "---");
  expect(cells(readPage("configuration.md"))).toBe(cells(configurationPage()));
});
