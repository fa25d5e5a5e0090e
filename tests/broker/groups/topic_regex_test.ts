import { expect, test } from "bun:test";
import { compileRegex } from "../../../broker/coordination/bounded_regex.ts";
import { resolveRegexes } from "../../../broker/groups/topic_regex.ts";
import type { MetadataImage, TopicImage } from "../../../broker/controller/metadata_image.ts";
import { SimClock } from "../../sim/sim_clock.ts";

function matches(regex: string, topic: string): boolean | string {
  const compiled = compileRegex(regex);
  return "problem" in compiled ? compiled.problem : compiled.matches(topic);
}

test.each([
  ["orders", "orders", true],
  ["orders", "orders-1", false],
  ["orders|payments", "payments", true],
  ["orders.*", "orders-1", true],
  ["(?i)ORDERS-\\d+", "orders-17", true],
  ["(a+)+$", "a".repeat(249), true],
  ["(a+)+b", "a".repeat(249), false],
  ["", "orders", false],
])("compileRegex: %p of %p is %p, as a whole", (regex, topic, expected) => {
  expect(matches(regex, topic)).toBe(expected);
});

test.each([
  ["["],
  ["(?=a)"],
  ["\\1"],
  ["a{2000}"],
  ["(a{1,100}){1,100}"],
  ["(a?){249}a{249}"],
  ["(((a{0,30}){0,30}){0,1})"],
  ["a".repeat(3000)],
])("compileRegex: %p is refused", (regex) => {
  expect(typeof matches(regex, "orders")).toBe("string");
});

test("compileRegex: a list of a hundred topics is fine", () => {
  const names = Array.from({ length: 100 }, (_, index) => `payments-of-the-day-${index}`);
  expect(matches(names.slice(0, 80).join("|"), "payments-of-the-day-77")).toBe(true);
});

test("resolveRegexes: gives the loop back, and stops where nobody wants to know", async () => {
  const clock = new SimClock();
  const topics = Array.from({ length: 50 }, (_, index) => ({ name: `t${index}` } as TopicImage));
  const image = { offset: 7, topics: () => topics.values() } as unknown as MetadataImage;
  const found = await clock.run(resolveRegexes(["t1.?", "x"], image, clock, () => true));
  expect(found?.get("t1.?")?.topics).toEqual([
    "t1",
    ...Array.from({ length: 10 }, (_, index) => `t1${index}`),
  ]);
  expect(found?.get("x")).toMatchObject({ topics: [], version: 7 });
  expect(await clock.run(resolveRegexes(["t1.?"], image, clock, () => false))).toBeNull();
});
