/**
 * Regular expressions by which members subscribe, as RE2 takes them: matched in time linear in the topic's name,
 * whatever the expression, since it comes from a client.
 *
 * A topic matches as a whole. An expression is bounded in length and in the size of its program, so that compiling
 * is cheap too. Source: KIP-848 (subscribedTopicRegex); Kafka uses RE2/J.
 */

import { RE2JS } from "re2js";
import { timestampMs } from "../../protocol/types.ts";
import type { Clock } from "../../storage/platform.ts";
import type { MetadataImage } from "../controller/metadata_image.ts";
import { compareText } from "./assignors/assignor.ts";
import type { ResolvedRegex } from "./consumer_group_state.ts";

/** Longer expressions are refused: repetitions multiply, and a program takes memory by its size. */
const MAX_REGEX_LENGTH = 4096;
/** RE2's own measure: instructions of the compiled program. */
const MAX_PROGRAM_SIZE = 1000;

/** An expression that is compiled. */
export interface TopicRegex {
  /** Whether the whole of a topic's name matches. */
  matches(topic: string): boolean;
}

/** Compiles an expression. Returns: why not, where it is none that RE2 takes or is too large. */
export function compileTopicRegex(regex: string): TopicRegex | { readonly problem: string } {
  if (regex.length > MAX_REGEX_LENGTH) {
    return { problem: `it is longer than ${MAX_REGEX_LENGTH} characters` };
  }
  try {
    const compiled = RE2JS.compile(regex);
    if (compiled.programSize() > MAX_PROGRAM_SIZE) return { problem: "its program is too large" };
    return { matches: (topic) => compiled.testExact(topic) };
  } catch (error) {
    // The library's own errors: what does not parse, or repeats too often.
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}

/** The event loop is given back at least so often while topics are looked up. */
const SLICE_MS = 2;

/** Looks up which topics expressions stand for. Returns: null when nobody wants to know any more. */
export async function resolveRegexes(
  regexes: readonly string[],
  image: Pick<MetadataImage, "offset" | "topics">,
  clock: Clock,
  isWanted: () => boolean,
): Promise<ReadonlyMap<string, ResolvedRegex> | null> {
  const startedMs = timestampMs(clock.wallMs());
  const found = regexes.map((regex) => ({
    regex,
    compiled: compileTopicRegex(regex),
    topics: [] as string[],
  }));
  let sliceStartMs = -Infinity;
  for (const { name } of image.topics()) {
    for (const { compiled, topics } of found) {
      if (clock.monotonicMs() - sliceStartMs >= SLICE_MS) {
        await clock.sleep(0);
        if (!isWanted()) return null;
        sliceStartMs = clock.monotonicMs();
      }
      // One that was good for another version and is none here stands for no topic.
      if ("matches" in compiled && compiled.matches(name)) topics.push(name);
    }
  }
  return new Map(
    found.map(({ regex, topics }) => [
      regex,
      { topics: topics.sort(compareText), version: image.offset, timestampMs: startedMs },
    ]),
  );
}
