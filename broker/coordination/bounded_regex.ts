/**
 * Regular expressions of clients, as RE2 takes them: matched in time linear in the text, whatever the expression.
 *
 * A text matches as a whole. An expression is bounded in length and in the size of its program, so that compiling is
 * cheap too. Source: Kafka uses RE2/J.
 */

import { RE2JS } from "re2js";

/** Longer expressions are refused: matching takes time by the length of both. */
const MAX_REGEX_LENGTH = 2048;
/**
 * Instructions of the compiled program (RE2's own measure) that an expression may have for each of its characters, and
 * that any may have: counted repetitions of counted repetitions make a large program of a short text.
 */
const MAX_PROGRAM_PER_CHARACTER = 1.5;
const ALWAYS_ALLOWED_PROGRAM = 300;

/** An expression that is compiled. */
export interface BoundedRegex {
  /** Whether the whole of a text matches. */
  matches(text: string): boolean;
}

/** Compiles an expression. Returns: why not, where it is none that RE2 takes or is too large. */
export function compileRegex(regex: string): BoundedRegex | { readonly problem: string } {
  if (regex.length > MAX_REGEX_LENGTH) {
    return { problem: `it is longer than ${MAX_REGEX_LENGTH} characters` };
  }
  try {
    const compiled = RE2JS.compile(regex);
    const largest = Math.max(ALWAYS_ALLOWED_PROGRAM, MAX_PROGRAM_PER_CHARACTER * regex.length);
    if (compiled.programSize() > largest) return { problem: "its program is too large" };
    return { matches: (text) => compiled.testExact(text) };
  } catch (error) {
    // The library's own errors: what does not parse, or repeats too often.
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}
