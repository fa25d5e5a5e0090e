/** docs/compatibility.md says what the code does. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { compatibilityPage } from "../scripts/compatibility.ts";

test("docs/compatibility.md: is what scripts/compatibility.ts writes", () => {
  const page = readFileSync(join(import.meta.dir, "..", "docs", "compatibility.md"), "utf8");
  const cells = (text: string) => text.replaceAll(/[ ]+/g, " ").replaceAll(/-{3,}/g, "---");
  expect(cells(page)).toBe(cells(compatibilityPage()));
});

test("compatibilityPage: names every served API once, with its gaps", () => {
  const page = compatibilityPage();
  expect(page.match(/^\| 0 \| Produce \|/gm)).toHaveLength(1);
  expect(page).toContain("| 3–13 (0–13 advertised) |");
  expect(page).toContain("no quota on topic changes (KIP-599)");
  expect(page).toMatch(/^\| 52 +\| Vote +\|/m);
});
