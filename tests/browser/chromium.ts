/** The browser of these tests. */

import { type BrowserContext, chromium } from "playwright-core";
import { chromiumPath, hasTool, scratchDirectory } from "../compat/harness.ts";

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export const hasChromium = hasTool("Chromium");

/** To be added to the name of a test that is skipped without a browser. */
export const chromiumReason = hasChromium ? "" : " (skipped: Chromium is not on this machine)";

/** Starts Chromium with an empty profile. */
export async function launchChromium(): Promise<BrowserContext> {
  return await chromium.launchPersistentContext(scratchDirectory("chromium"), {
    executablePath: chromiumPath()!,
    args: FLAGS,
    viewport: { width: 1280, height: 900 },
    acceptDownloads: true,
  });
}
