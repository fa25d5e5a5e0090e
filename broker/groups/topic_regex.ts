/**
 * Regular expressions by which members subscribe, and the topics that they stand for.
 *
 * Source: KIP-848 (subscribedTopicRegex).
 */

import { timestampMs } from "../../protocol/types.ts";
import type { Clock } from "../../storage/platform.ts";
import { compileRegex } from "../coordination/bounded_regex.ts";
import type { MetadataImage } from "../controller/metadata_image.ts";
import { TimeSlice } from "../time_slice.ts";
import { compareText } from "./assignors/assignor.ts";
import type { ResolvedRegex } from "./consumer_group_state.ts";

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
    compiled: compileRegex(regex),
    topics: [] as string[],
  }));
  const slice = new TimeSlice(clock, SLICE_MS, -Infinity);
  for (const { name } of image.topics()) {
    for (const { compiled, topics } of found) {
      if (slice.isOver) {
        await slice.next();
        if (!isWanted()) return null;
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
