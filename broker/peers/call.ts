/** One kind of request, with its answer and the versions at which we can make it. */

import { versionsOf } from "../../protocol/compile.ts";
import type { Message } from "../../protocol/schema.ts";

/** One kind of request with its answer. */
export interface Call<Q extends Message, A extends Message> {
  readonly key: number;
  readonly request: Q;
  readonly response: A;
  readonly lowest: number;
  readonly highest: number;
}

/** A call at all versions that we know of its messages, or at a part of them. */
export function call<Q extends Message, A extends Message>(
  key: number,
  request: Q,
  response: A,
  range: { readonly lowest?: number; readonly highest?: number } = {},
): Call<Q, A> {
  const valid = versionsOf(request.versions);
  return {
    key,
    request,
    response,
    lowest: range.lowest ?? valid.lowest,
    highest: range.highest ?? valid.highest,
  };
}
