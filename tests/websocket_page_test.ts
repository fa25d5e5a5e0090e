import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { webSocketPage } from "../scripts/websocket.ts";

test("docs/websocket.md: says what the schemas say; `bun scripts/websocket.ts` writes it", () => {
  const page = readFileSync(join(import.meta.dir, "..", "docs", "websocket.md"), "utf8");
  const cells = (text: string) => text.replaceAll(/[ ]+/g, " ").replaceAll(/-{3,}/g, "---");
  expect(cells(page)).toBe(cells(webSocketPage()));
});
