/**
 * `/client.js` and `/client.d.ts`: the browser's client as one module, made of its source the first time that somebody
 * asks, and its types.
 */

import { Hono } from "hono";
import type { HttpEnvironment } from "../http_server.ts";
import { problem } from "../problem.ts";
// @ts-expect-error: the text of the file, which the compiler takes for its exports
import clientSource from "./client.ts" with { type: "text" };
// @ts-expect-error: the text of the file, which the compiler takes for its exports
import typesSource from "./types.ts" with { type: "text" };

/** Pages of other origins may load it: it holds nothing of this node. */
const HEADERS = { "Access-Control-Allow-Origin": "*", "Cache-Control": "no-cache" };

/** Makes the part of the application that serves the client. */
export function clientApp(): Hono {
  const app = new Hono();
  let module: string | null = null;
  app.get("/client.js", (context) => {
    const { toJavaScript } = (context.env ?? {}) as Partial<HttpEnvironment>;
    if (toJavaScript === undefined) return problem(context, 503, "Cannot make /client.js here");
    module ??= toJavaScript(clientSource as string);
    return context.body(module, 200, {
      ...HEADERS,
      "Content-Type": "text/javascript; charset=utf-8",
    });
  });
  app.get("/client.d.ts", (context) =>
    context.body(typesSource as string, 200, {
      ...HEADERS,
      "Content-Type": "text/plain; charset=utf-8",
    }));
  return app;
}
