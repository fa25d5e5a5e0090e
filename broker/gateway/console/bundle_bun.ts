/**
 * The scripts of the console, bundled from `browser/` for browsers.
 *
 * From sources this happens when the first page is asked for. In the executable this module has been replaced by one
 * that holds the result: `scripts/build.ts` calls `browserScripts` and puts what it gave in its place.
 */

import { join } from "node:path";

/** What pages load: one script for all of them, and one for each page that needs more. */
const ENTRIES = ["console.ts", "messages.ts", "charts.ts"];

/** The scripts by the names that pages load them by: `console.js` … Errors: AggregateError. */
export async function browserScripts(): Promise<Readonly<Record<string, string>>> {
  const { outputs } = await Bun.build({
    entrypoints: ENTRIES.map((name) => join(import.meta.dir, "browser", name)),
    target: "browser",
    format: "esm",
    minify: true,
  });
  const texts = outputs.map(async (output) =>
    [output.path.replace(/^.*\//, ""), await output.text()] as const
  );
  return Object.fromEntries(await Promise.all(texts));
}
