/** How errors look over HTTP: problem details (RFC 9457), a JSON object with type, title, status and detail. */

import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Content Too Large",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
};

/** An answer in the form of RFC 9457. */
export function problem(context: Context, status: ContentfulStatusCode, detail: string): Response {
  context.header("Content-Type", "application/problem+json");
  return context.body(
    JSON.stringify({ type: "about:blank", title: TITLES[status] ?? "Error", status, detail }),
    status,
  );
}
