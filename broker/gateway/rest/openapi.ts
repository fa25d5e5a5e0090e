/**
 * The OpenAPI 3.1 document, made from the schemas that check the requests, when it is first asked for.
 *
 * OpenAPI 3.1 takes JSON Schema 2020-12 as it is, which is what zod makes. What is sent is described as it comes in, what
 * is answered as it goes out.
 */

import { z } from "zod";
import type { AnswerShape, Operation } from "./operation.ts";
import { pathNames } from "./operation.ts";
import { pathSchemas } from "./path_schemas.ts";
import { named, schemaNames } from "./schema_names.ts";

const problemSchema = named(
  "Problem",
  z.object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    error_code: z.int(),
    message: z.string(),
  }),
);

const DESCRIPTION =
  `weir over HTTP. What is under /v3 is Confluent's REST API v3; what is under /api is weir's own:
above all reading, as pages and as streams. Every error is a problem detail (RFC 9457) that also carries Confluent's
error_code and message.`;

type JsonObject = Record<string, unknown>;

function reference(id: string): JsonObject {
  return { $ref: `#/components/schemas/${id}` };
}

/** A schema in place, or by its name where it has one. */
function schemaOf(schema: z.ZodType, io: "input" | "output"): JsonObject {
  const id = schemaNames.get(schema)?.id;
  if (id !== undefined) return reference(id);
  const { $schema: _, ...made } = z.toJSONSchema(schema, { io, unrepresentable: "any" });
  return made as JsonObject;
}

/** A parameter is a text on the wire; what is behind its coercion says what it may be. */
function parameter(name: string, where: "path" | "query", schema: z.ZodType): JsonObject {
  const isOptional = schema.safeParse(undefined).success;
  const { description, ...rest } = schemaOf(schema, "input");
  return {
    name,
    in: where,
    required: where === "path" || !isOptional,
    ...(description !== undefined && { description }),
    schema: rest,
  };
}

function answerOf({ description, schema, contentTypes }: AnswerShape): JsonObject {
  if (schema === undefined) return { description };
  const types = contentTypes ?? ["application/json"];
  const content = types.map((type) => [type, { schema: schemaOf(schema, "output") }]);
  return { description, content: Object.fromEntries(content) };
}

function operationObject(operation: Operation): JsonObject {
  const { id, tag, summary, description, path, query, body, bodyTypes, bodyExample, answers } =
    operation;
  const names = pathNames(path) as (keyof typeof pathSchemas)[];
  const content = (bodyTypes ?? ["application/json"]).map((type) => [
    type,
    {
      ...(body !== undefined && { schema: schemaOf(body, "input") }),
      ...(bodyExample !== undefined && { example: bodyExample }),
    },
  ]);
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description !== undefined && { description }),
    parameters: [
      ...names.map((name) => parameter(name, "path", pathSchemas[name])),
      ...Object.entries(query).map(([name, schema]) => parameter(name, "query", schema)),
    ],
    ...(body !== undefined && {
      requestBody: { required: true, content: Object.fromEntries(content) },
    }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, answer]) => [status, answerOf(answer)]),
      ),
      // By the HTTP server itself, before anybody has looked at the request.
      431: { description: "Path, query and headers are larger than 16 KiB." },
      default: {
        description: "What went wrong.",
        content: { "application/problem+json": { schema: schemaOf(problemSchema, "output") } },
      },
    },
  };
}

/** Every schema that has a name. */
function namedSchemas(): JsonObject {
  const uri = (id: string) => `#/components/schemas/${id}`;
  const { schemas } = z.toJSONSchema(schemaNames, { uri, unrepresentable: "any", io: "input" });
  return Object.fromEntries(
    Object.entries(schemas).map(([id, { $schema: _schema, $id: _id, ...rest }]) => [id, rest]),
  );
}

/** The document. */
export function openApiDocument(operations: readonly Operation[], version: string): JsonObject {
  const paths: Record<string, JsonObject> = {};
  for (const operation of operations) {
    (paths[operation.path] ??= {})[operation.method] = operationObject(operation);
  }
  return {
    openapi: "3.1.0",
    info: { title: "weir", version, description: DESCRIPTION },
    servers: [{ url: "/" }],
    tags: [...new Set(operations.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: { schemas: namedSchemas() },
  };
}
