/**
 * Answers that go on: lines that are sent as they come about, to so many clients at once.
 *
 * A client that reads slowly is given the next lines when it has room for them, and not before; one that goes away ends
 * what makes the lines.
 */

import type { Context } from "hono";
import type { StreamSlots } from "../stream_slots.ts";

const encoder = new TextEncoder();

/** What makes the lines. */
export interface LineSource {
  /** The next lines; null after the last. Called again only when it has resolved. */
  next(): Promise<string | null>;
  /** Nobody reads on: `next` may stay pending. Called once, also after the last line. */
  close(): void;
}

/**
 * An answer of lines, made by what `open` resolves with, which is called when there is a slot.
 * Errors: ProblemError (429); those of `open`.
 */
export async function lineStream(
  context: Context,
  slots: StreamSlots,
  contentType: string,
  open: () => LineSource | Promise<LineSource>,
): Promise<Response> {
  const headers = { "Content-Type": contentType };
  // The body of an answer to HEAD is read by nobody.
  if (context.req.raw.method === "HEAD") return context.body(null, 200, headers);
  const giveBack = slots.take();
  let source: LineSource;
  try {
    source = await open();
  } catch (error) {
    giveBack();
    throw error;
  }
  let isClosed = false;
  const end = () => {
    if (isClosed) return;
    isClosed = true;
    giveBack();
    source.close();
  };
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const lines = await source.next();
        if (isClosed) return;
        if (lines !== null) return controller.enqueue(encoder.encode(lines));
        end();
        controller.close();
      } catch (error) {
        end();
        controller.error(error);
      }
    },
    cancel: end,
  }, { highWaterMark: 0 });
  return context.body(body, 200, headers);
}
