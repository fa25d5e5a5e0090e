/**
 * One kind of request of the REST API: its path and schemas, which check what comes in and make the OpenAPI document, and
 * the function that answers it.
 *
 *     operation({ method, path, query, body, … }) ──┬── mountOperations ──→ Hono
 *                                                   └── openApiDocument ──→ /openapi.json
 *
 * A path is written as in OpenAPI: `/v3/clusters/{cluster_id}/topics`. Every name in braces has a schema in `pathSchemas`.
 */

import type { Context, Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { z } from "zod";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { ProblemError } from "../problem.ts";
import { withJson } from "../body.ts";
import type { RestParts } from "./parts.ts";
import { pathSchemas } from "./path_schemas.ts";

/** Methods that operations have. */
export type Method = "get" | "post" | "put" | "patch" | "delete";

type Shape = Readonly<Record<string, z.ZodType>>;
type Values<S extends Shape> = { readonly [K in keyof S]: z.output<S[K]> };
type PathNames<P extends string> = P extends `${string}{${infer Name}}${infer Rest}`
  ? Name | PathNames<Rest>
  : never;
type PathValues<P extends string> = {
  readonly [K in PathNames<P>]: K extends keyof typeof pathSchemas
    ? z.output<(typeof pathSchemas)[K]>
    : never;
};

/** What a handler is given. */
export interface Asked<P extends string, Q extends Shape, B extends z.ZodType> {
  readonly path: PathValues<P>;
  readonly query: Values<Q>;
  readonly body: z.output<B>;
  readonly client: KafkaClient;
  readonly parts: RestParts;
  readonly context: Context;
  /** Scheme and host that the client used, for links: `http://host:8080`. */
  readonly base: string;
}

/** How an answer looks. */
export interface AnswerShape {
  readonly description: string;
  /** Left out: there is no body. */
  readonly schema?: z.ZodType;
  /** `application/json` unless said. */
  readonly contentTypes?: readonly string[];
}

/** One kind of request. */
export interface Operation {
  readonly method: Method;
  readonly path: string;
  readonly id: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  readonly query: Shape;
  /** Of a body that is JSON. */
  readonly body?: z.ZodType;
  /** Content types of the body; `application/json` unless said. */
  readonly bodyTypes?: readonly string[];
  /** The handler reads the body itself. */
  readonly streamsBody?: boolean;
  readonly bodyExample?: unknown;
  readonly answers: Readonly<Record<number, AnswerShape>>;
  readonly handle: (asked: Asked<string, Shape, z.ZodType>) => Promise<Response>;
}

/** Makes an operation; the handler's types follow from the schemas. */
export function operation<
  const P extends string,
  Q extends Shape = Record<never, never>,
  B extends z.ZodType = z.ZodUndefined,
>(
  given: Omit<Operation, "query" | "handle" | "path" | "body"> & {
    readonly path: P;
    readonly query?: Q;
    readonly body?: B;
    readonly handle: (asked: Asked<P, Q, B>) => Promise<Response>;
  },
): Operation {
  return { query: {}, ...given } as unknown as Operation;
}

/** Names in braces of a path. */
export function pathNames(path: string): string[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
}

/** A path as Hono has it: a segment with a colon in it is matched as it stands. */
function honoPath(path: string): string {
  return path.split("/").map((segment) => {
    const [, name] = /^\{(\w+)\}$/.exec(segment) ?? [];
    if (name !== undefined) return `:${name}`;
    return segment.includes(":") ? `:verb{${segment}}` : segment;
  }).join("/");
}

/** Lets the application answer the operations. */
export function mountOperations(
  app: Hono,
  operations: readonly Operation[],
  parts: RestParts,
): void {
  for (const each of operations) {
    const names = pathNames(each.path);
    app.on(each.method.toUpperCase(), honoPath(each.path), async (context) => {
      const client = parts.client();
      if (client === null) {
        throw new ProblemError(503, "this node does not serve the cluster yet, or is a controller");
      }
      const path = checked("the path", pathShape(names), pathValues(context, names));
      const query = checked("the query", each.query, queryValues(context));
      if ("cluster_id" in path) await checkCluster(parts, client, path["cluster_id"] as string);
      const base = new URL(context.req.url).origin;
      const asked = { path, query, client, parts, context, base };
      const { body: schema } = each;
      if (schema === undefined || each.streamsBody) {
        return await each.handle({ ...asked, body: undefined });
      }
      return await withJson(
        context.req.raw,
        parts.writing.bodies,
        async (body) => await each.handle({ ...asked, body: parsedBody(schema, body) }),
      );
    });
  }
}

function pathShape(names: readonly string[]): Shape {
  return Object.fromEntries(
    names.map((name) => [name, pathSchemas[name as keyof typeof pathSchemas]]),
  );
}

function pathValues(context: Context, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, context.req.param(name) ?? ""]));
}

/** What is said more than once is a list. */
function queryValues(context: Context): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(context.req.queries()).map(([name, values]) => [
      name,
      values.length === 1 ? values[0]! : values,
    ]),
  );
}

/** Errors: ProblemError with what is wrong. */
function checked(
  what: string,
  shape: Shape,
  values: Readonly<Record<string, string | readonly string[]>>,
): Record<string, unknown> {
  const result = z.object(shape).safeParse(values);
  if (result.success) return result.data;
  throw new ProblemError(400, `Cannot read ${what}: ${issueText(result.error)}`);
}

/** The body, checked. Errors: ProblemError. */
export function parsedBody<B extends z.ZodType>(schema: B, body: unknown): z.output<B> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  throw new ProblemError(400, `Cannot read the body: ${issueText(result.error)}`);
}

function issueText({ issues: [issue] }: z.ZodError): string {
  const { path, message } = issue!;
  return path.length === 0 ? message : `"${path.map(String).join(".")}": ${message}`;
}

async function checkCluster(parts: RestParts, client: KafkaClient, asked: string): Promise<void> {
  const own = await parts.clusterId(client);
  if (asked !== own) {
    throw new ProblemError(404, `Cluster ${asked} cannot be found; this is cluster ${own}`);
  }
}

/** An answer of JSON. */
export function json(context: Context, body: unknown, status: ContentfulStatusCode = 200) {
  return context.json(body as never, status);
}

/** An answer without a body. */
export function noContent(): Response {
  return new Response(null, { status: 204 });
}
