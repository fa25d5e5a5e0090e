/**
 * The form of every resource of the REST API v3: `kind`, `metadata` with links, fields; and of lists of them, with pages.
 *
 * Source: the OpenAPI document of Confluent's REST Proxy, `api/v3/openapi.yaml`. Its lists are whole; ours are too, unless
 * a `page_size` is asked for: then `metadata.next` leads on. A page begins behind a name, so that any node goes on with it.
 */

import type { Context } from "hono";
import { z } from "zod";
import { ProblemError } from "../problem.ts";

const metadata = z.object({ self: z.string(), resource_name: z.string().nullable().optional() });
const listMetadata = z.object({ self: z.string(), next: z.string().nullable().optional() });
/** A link to what belongs to a resource. */
export const relationship = z.object({ related: z.string() });

/** The schema of a resource. */
export function resourceSchema<S extends Readonly<Record<string, z.ZodType>>>(
  kind: string,
  fields: S,
) {
  return z.object({ kind: z.literal(kind), metadata, ...fields });
}

/** The schema of a list of them. */
export function listSchema<T extends z.ZodType>(item: T, kind: string) {
  return z.object({ kind: z.literal(`${kind}List`), metadata: listMetadata, data: z.array(item) });
}

/** A segment of a path: a value in it is escaped. */
type Segments = readonly (string | number)[];

/** Links to what is in a cluster. */
export class Links {
  readonly clusterId: string;
  readonly #root: string;

  constructor(base: string, clusterId: string) {
    this.clusterId = clusterId;
    this.#root = `${base}/v3/clusters/${encodeURIComponent(clusterId)}`;
  }

  /** The address of what lies under these segments. */
  to(...segments: Segments): string {
    return [this.#root, ...segments.map((it) => encodeURIComponent(it))].join("/");
  }

  related(...segments: Segments): { readonly related: string } {
    return { related: this.to(...segments) };
  }

  /** What every resource begins with. `name` is what follows the cluster in its resource name. */
  resource(kind: string, segments: Segments, name: string) {
    const crn = `crn:///kafka=${this.clusterId}${name === "" ? "" : `/${name}`}`;
    return {
      kind,
      metadata: { self: this.to(...segments), resource_name: crn },
      cluster_id: this.clusterId,
    };
  }
}

/** A list without pages. */
export function wholeList(kind: string, self: string, data: readonly unknown[]) {
  return { kind: `${kind}List`, metadata: { self, next: null }, data };
}

const MAX_PAGE_SIZE = 10_000;

/** The query of lists that have pages. */
export const pageQuery = {
  page_size: z.coerce.number().int().min(1).max(MAX_PAGE_SIZE).optional()
    .describe("How many a page has; without it, all are in one."),
  page_token: z.string().max(1024).optional()
    .describe("Where the page begins, as metadata.next of the page before it says."),
} as const;

/** A page that is asked for. */
export interface AskedPage {
  readonly page_size: number | undefined;
  readonly page_token: string | undefined;
}

/**
 * The page of a list that is asked for. Its items are in the order of their names.
 * Errors: ProblemError for a token that is none.
 */
export function page<T>(
  items: readonly T[],
  nameOf: (item: T) => string,
  { page_size: size, page_token: token }: AskedPage,
): { readonly items: readonly T[]; readonly token: string | null } {
  const after = token === undefined ? null : readPageToken(token);
  const start = after === null ? 0 : firstBehind(items, nameOf, after);
  const end = size === undefined ? items.length : Math.min(items.length, start + size);
  const taken = items.slice(start, end);
  const last = taken.at(-1);
  const isLast = end === items.length || last === undefined;
  return { items: taken, token: isLast ? null : pageToken(nameOf(last)) };
}

/** The list of a page, with the link to the next one. */
export function pagedList(
  context: Context,
  kind: string,
  self: string,
  { items, token }: { readonly items: readonly unknown[]; readonly token: string | null },
) {
  const url = new URL(context.req.url);
  if (token !== null) url.searchParams.set("page_token", token);
  return {
    kind: `${kind}List`,
    metadata: { self, next: token === null ? null : url.href },
    data: items,
  };
}

function firstBehind<T>(items: readonly T[], nameOf: (item: T) => string, name: string): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (nameOf(items[middle]!) <= name) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The token of a page that begins behind a name. */
export function pageToken(name: string): string {
  return Buffer.from(name).toString("base64url");
}

/** The name in a token. Errors: ProblemError for a text that is none. */
export function readPageToken(token: string): string {
  const name = Buffer.from(token, "base64url").toString();
  if (pageToken(name) === token) return name;
  throw new ProblemError(400, 'Cannot read the query: "page_token" is none of this API');
}
