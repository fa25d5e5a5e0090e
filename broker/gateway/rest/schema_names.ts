/** Schemas that have a name in the OpenAPI document, where others refer to them by it. */

import { z } from "zod";

/** The names. */
export const schemaNames = z.registry<{ readonly id: string; readonly description?: string }>();

/** Gives a schema its name. */
export function named<T extends z.ZodType>(id: string, schema: T): T {
  schemaNames.add(schema, { id });
  return schema;
}
