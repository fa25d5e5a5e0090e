/** The console's files: texts in the executable, or read and bundled when weir runs from its sources. */

import uplotStyle from "uplot/dist/uPlot.min.css" with { type: "text" };
import type { Asset } from "./assets.ts";
import { browserScripts } from "./bundle_bun.ts";
import style from "./style.css" with { type: "text" };

let loaded: Promise<readonly Asset[]> | null = null;

/** All of them, made ready once. */
export function loadAssets(): Promise<readonly Asset[]> {
  return loaded ??= load();
}

async function load(): Promise<readonly Asset[]> {
  const styles = [asset("style.css", "text/css", `${uplotStyle}\n${style}`)];
  const scripts = Object.entries(await browserScripts());
  return [...styles, ...scripts.map(([name, text]) => asset(name, "text/javascript", text))];
}

function asset(name: string, type: string, body: string): Asset {
  const hash = Bun.hash(body).toString(36);
  return { name, contentType: `${type}; charset=utf-8`, body, hash };
}
