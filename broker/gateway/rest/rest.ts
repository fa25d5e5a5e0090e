/** The REST API: Confluent's v3 under `/v3`, weir's own under `/api`, its OpenAPI document, and the page to try it at. */

import { Hono } from "hono";
import { problem, ProblemError } from "../problem.ts";
import { clusterStateOperations } from "./cluster_state.ts";
import { clusterOperations } from "./clusters.ts";
import { configsOperations } from "./configs.ts";
import { consumeOperations } from "./consume.ts";
import { DOCS_PAGE, DOCS_SCRIPT, DOCS_STYLE } from "./docs_page.ts";
import { groupOperations } from "./groups.ts";
import { openApiDocument } from "./openapi.ts";
import { mountOperations, type Operation } from "./operation.ts";
import { partitionOperations } from "./partitions.ts";
import { type RestOptions, RestParts } from "./parts.ts";
import { produceOperations } from "./produce.ts";
import { topicOperations } from "./topics.ts";

/** Every operation; those that come first are tried first. */
export const operations: readonly Operation[] = [
  ...clusterOperations,
  ...topicOperations,
  ...configsOperations,
  ...partitionOperations,
  ...groupOperations,
  ...produceOperations,
  ...consumeOperations,
  ...clusterStateOperations,
];

/** The page is our own: nothing of it comes from elsewhere, and it is shown in nobody's frame. */
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Makes the application, which throws its errors: they are for the one that it is mounted in. */
export function restApp(options: RestOptions & { readonly version: string }): Hono {
  const app = new Hono();
  const parts = new RestParts(options);
  mountOperations(app, operations, parts);
  let document: string | null = null;
  app.get("/openapi.json", (context) => {
    document ??= JSON.stringify(openApiDocument(operations, options.version));
    return context.body(document, 200, { "Content-Type": "application/json" });
  });
  const files = [
    ["/docs", "text/html; charset=utf-8", DOCS_PAGE],
    ["/docs/docs.js", "text/javascript; charset=utf-8", DOCS_SCRIPT],
    ["/docs/docs.css", "text/css; charset=utf-8", DOCS_STYLE],
  ] as const;
  for (const [path, type, text] of files) {
    app.get(path, (context) => {
      context.header("Content-Security-Policy", CONTENT_SECURITY_POLICY);
      return context.body(text, 200, { "Content-Type": type });
    });
  }
  refuseOtherMethods(app);
  app.notFound(({ req: { method, path } }) => {
    throw new ProblemError(
      404,
      `Cannot ${method} ${path}: no such page; /docs shows those there are`,
    );
  });
  return app;
}

/** A path that is there for other methods says so. */
function refuseOtherMethods(app: Hono): void {
  const byPath = Map.groupBy(app.routes, ({ path }) => path);
  for (const [path, routes] of byPath) {
    const methods = [...new Set(routes.map(({ method }) => method))];
    if (methods.includes("GET")) methods.push("HEAD");
    app.all(path, (context) => {
      context.header("Allow", methods.join(", "));
      const { method, path } = context.req;
      return problem(context, 405, `Cannot ${method} ${path}: it takes ${methods.join(", ")}`);
    });
  }
}
