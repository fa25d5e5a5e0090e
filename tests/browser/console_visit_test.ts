/** One visit, as somebody makes it who has just started a broker. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { unzipSync } from "fflate";
import type { Page } from "playwright-core";
import { eventually } from "../compat/harness.ts";
import { chromiumReason, hasChromium } from "./chromium.ts";
import { BrowserWorld } from "./console_world.ts";

let world: BrowserWorld;

test.skipIf(!hasChromium)(
  `console, a visit: from nothing to a message, and all that can be done with it${chromiumReason}`,
  async () => {
    world = await BrowserWorld.start();
    try {
      await firstVisit();
      await firstMessage();
      await searchAndSave();
      await follow();
      await resetGroup();
      await changeSetting();
      await keysAndTheme();
      await charts();
    } finally {
      await world.stop();
    }
    expect(world.surprises()).toEqual([]);
  },
  180_000,
);

async function firstVisit(): Promise<void> {
  const page = await world.open("/");
  expect(await page.locator("h1").textContent()).toBe("The broker is up.");
  expect(await page.getByText("Send the first message").isVisible()).toBeTrue();
  expect(await page.locator(".snippet").first().textContent()).toContain(world.broker.bootstrap);
  await page.getByRole("button", { name: "Copy: With kcat" }).click();
  await page.getByText("Copied").first().waitFor();
  await page.close();
}

async function firstMessage(): Promise<void> {
  const page = await world.open("/console/topics");
  await page.getByRole("link", { name: "New topic" }).first().click();
  await page.getByLabel("Name").fill("orders");
  await page.getByLabel("Partitions").fill("3");
  await page.getByRole("button", { name: "Create topic" }).click();
  await page.getByText("Nothing has been written here yet").waitFor();
  await page.getByRole("button", { name: "Produce" }).first().click();
  const dialog = page.getByRole("dialog", { name: "Produce to orders" });
  await dialog.getByLabel("Key", { exact: true }).fill("alice");
  await dialog.getByLabel("Value", { exact: true })
    .fill('{"total": 12.50, "id": 9007199254740993}');
  await dialog.getByLabel("Headers").fill("trace-id: abc");
  await dialog.getByRole("button", { name: "Produce" }).click();
  await dialog.getByText(/Written to partition \d at offset 0/).waitFor();
  await dialog.getByRole("button", { name: "Close" }).click();
  await page.locator("tr.record").click();
  const shown = await page.locator(".detailBody").textContent();
  expect(shown).toContain('"total": 12.50,\n  "id": 9007199254740993');
  expect(shown).toContain("trace-id");
  await page.locator(".detailBody").getByRole("button", { name: "Hex" }).first().click();
  expect(await page.locator("pre.hex").first().textContent()).toStartWith("00000000  7b 22 74");
  await page.close();
}

async function searchAndSave(): Promise<void> {
  await world.stock();
  const page = await world.open("/console/topics/orders");
  const rows = page.locator("tr.record");
  await rows.nth(49).waitFor();
  expect(await rows.count()).toBe(50);
  await page.getByRole("button", { name: "More" }).click();
  await rows.nth(99).waitFor();

  const search = page.getByRole("button", { name: "Search", exact: true });
  await page.getByLabel("Search", { exact: true }).fill("$.total >= 900 key:customer-3");
  await search.click();
  await page.getByText("back to the first").waitFor();
  const expected = Array.from({ length: 2000 }, (_, i) => i)
    .filter((i) => i / 2 >= 900 && i % 7 === 3).length;
  expect(await rows.count()).toBe(expected);
  // What was searched for is in the address.
  await page.reload();
  await page.getByText("back to the first").waitFor();
  expect(await rows.count()).toBe(expected);

  await page.getByLabel("Search", { exact: true }).fill("");
  await page.locator("#partition").selectOption("1");
  await page.getByLabel("Show").selectOption("offset");
  await page.getByLabel("Offset", { exact: true }).fill("10");
  await search.click();
  await page.getByRole("button", { name: ", message 10 of partition 1" }).waitFor();
  await rows.nth(49).waitFor();
  await saveBoth(page);
  await page.close();
}

async function saveBoth(page: Page): Promise<void> {
  const [ndjson] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "NDJSON" }).click(),
  ]);
  expect(ndjson.suggestedFilename()).toBe("orders.ndjson");
  const saved = readFileSync(await ndjson.path(), "utf8");
  const lines = saved.trimEnd().split("\n");
  expect(lines).toHaveLength(50);
  expect(JSON.parse(lines[0]!)).toMatchObject({ topic: "orders", partition: 1, offset: 10 });
  const [zip] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "zip" }).click(),
  ]);
  const files = unzipSync(readFileSync(await zip.path()));
  expect(Object.keys(files)).toEqual(["orders-1.ndjson"]);
  expect(new TextDecoder().decode(files["orders-1.ndjson"])).toBe(saved);
}

async function follow(): Promise<void> {
  const page = await world.open("/console/topics/orders");
  const rows = page.locator("tr.record");
  await rows.nth(49).waitFor();
  await page.getByRole("button", { name: "Live" }).click();
  await page.getByText("New messages appear here").waitFor();
  await write("orders", { key: "live", value: "here I am" });
  await page.locator("tr.record.fresh", { hasText: "here I am" }).waitFor({ timeout: 3000 });
  await page.getByRole("button", { name: "Stop following" }).click();
  const count = await rows.count();
  await write("orders", { key: "live", value: "too late" });
  await page.getByRole("button", { name: "Search", exact: true }).click();
  await page.locator("tr.record", { hasText: "too late" }).waitFor();
  expect(await rows.count()).toBeLessThan(count);
  await page.close();
}

async function resetGroup(): Promise<void> {
  const page = await world.open("/console/groups");
  await page.getByRole("link", { name: "billing" }).click();
  await page.getByText("Nobody reads now").waitFor();
  await page.getByRole("link", { name: "Reset offsets" }).click();
  await page.getByLabel("the end", { exact: true }).check();
  await page.getByRole("button", { name: "Preview" }).click();
  await page.getByText("What would change").waitFor();
  await page.getByRole("button", { name: "Commit these offsets" }).click();
  await page.waitForURL(/\/console\/group\?id=billing/);
  const lag = page.locator(".figures div", { hasText: "Lag" }).locator("dd");
  expect(await lag.textContent()).toStartWith("0");
  await page.close();
}

async function changeSetting(): Promise<void> {
  const page = await world.open("/console/topics/orders/settings");
  await page.locator("summary", { hasText: /^retention\.ms/ }).click();
  const field = page.getByLabel("Value of retention.ms", { exact: true });
  await field.fill("3600000");
  await field.press("Enter");
  const line = page.locator("summary", { hasText: "set for this topic" });
  await line.waitFor();
  expect(await line.textContent()).toContain("retention.ms3600000");
  await page.close();
}

async function keysAndTheme(): Promise<void> {
  const page = await world.open("/");
  await page.keyboard.press("?");
  expect(await page.getByRole("dialog", { name: "Keyboard" }).isVisible()).toBeTrue();
  await page.keyboard.press("Escape");
  await page.keyboard.press("g");
  await page.keyboard.press("t");
  await page.waitForURL(/\/console\/topics$/);
  await page.keyboard.press("/");
  expect(await page.evaluate<string>("document.activeElement.id")).toBe("q");
  await page.keyboard.type("ord");
  await page.keyboard.press("Enter");
  await page.waitForURL(/q=ord/);
  await page.goto(`${world.origin}/console/topics/orders`);
  await page.locator("tr.record").nth(2).waitFor();
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  expect(await page.locator("tr.detail").count()).toBe(1);
  expect(await page.locator("tr.record").nth(1).getAttribute("class")).toContain("open");
  const background = () =>
    page.evaluate<string>("getComputedStyle(document.documentElement).backgroundColor");
  const light = await background();
  await page.getByRole("button", { name: "Dark or light" }).click();
  const dark = await background();
  expect(dark).not.toBe(light);
  await page.reload();
  expect(await background()).toBe(dark);
  await page.getByRole("button", { name: "Dark or light" }).click();
  expect(await background()).toBe(light);
  await page.context().clearCookies();
  await page.close();
}

async function charts(): Promise<void> {
  await eventually("two samples", async () => {
    const response = await fetch(`${world.origin}/console/api/history`);
    const { times } = await response.json() as { times: readonly number[] };
    return times.length >= 2 ? times : undefined;
  }, 40_000);
  const page = await world.open("/console/metrics");
  await page.locator(".chart canvas").nth(6).waitFor();
  const read = page.locator('[data-chart="flow"] .read');
  await read.filter({ hasText: /written .*B\/s.*read .*B\/s.*at \d\d:\d\d:\d\d/ }).waitFor();
  await page.close();
}

async function write(topic: string, record: unknown): Promise<void> {
  const response = await fetch(`${world.origin}/console/api/produce?topic=${topic}`, {
    method: "POST",
    body: JSON.stringify(record),
  });
  expect(response.status).toBe(201);
}
