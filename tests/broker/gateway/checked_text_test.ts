import { describe, expect, test } from "bun:test";
import { formatChecked, parseChecked } from "../../../broker/gateway/checked_text.ts";

const refuse = (found: string) => new Error(found);

describe("checked text", () => {
  test("what was written is read, of every length", () => {
    for (let length = 1; length < 40; length++) {
      const content = Uint8Array.from({ length }, (_, i) => 37 * i + length);
      const text = formatChecked(content);
      expect(text).toMatch(/^[\w-]+$/);
      expect(parseChecked(text, refuse)).toEqual(content);
    }
  });

  test("a slip of the hand is found: any character changed, or cut off", () => {
    const text = formatChecked(Uint8Array.from({ length: 30 }, (_, i) => i));
    for (let at = 0; at < text.length; at++) {
      const other = text[at] === "A" ? "Q" : "A";
      expect(() => parseChecked(text.slice(0, at) + other + text.slice(at + 1), refuse)).toThrow();
      expect(() => parseChecked(text.slice(0, at), refuse)).toThrow();
    }
    expect(() => parseChecked("not base64!", refuse)).toThrow("it is not base64url");
    expect(() => parseChecked("AAAA", refuse)).toThrow("it is too short");
  });
});
