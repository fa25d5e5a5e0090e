/**
 * Error codes and API keys where no specification is at hand: names, texts, and numbers nobody has
 * given out.
 */

import { expect, test } from "bun:test";
import { ApiKey, apiName } from "../../protocol/api_keys.ts";
import { ErrorCode, errorMessage, errorName, isRetriable } from "../../protocol/errors.ts";

test("errorName: known codes by name, unknown ones by number", () => {
  expect(errorName(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)).toBe("UNKNOWN_TOPIC_OR_PARTITION");
  expect(errorName(-1)).toBe("UNKNOWN_SERVER_ERROR");
  expect(errorName(999)).toBe("UNKNOWN(999)");
});

test("isRetriable: follows Kafka's clients", () => {
  expect(isRetriable(ErrorCode.NOT_LEADER_OR_FOLLOWER)).toBe(true);
  expect(isRetriable(ErrorCode.OFFSET_OUT_OF_RANGE)).toBe(false);
  expect(isRetriable(999)).toBe(false);
});

test("errorMessage: every code but NONE has a sentence of its own, without a full stop", () => {
  const codes = Object.values(ErrorCode).filter((code) => code !== ErrorCode.NONE);
  const texts = codes.map((code) => errorMessage(code));
  expect(new Set(texts).size).toBe(codes.length);
  for (const text of texts) expect(text).toMatch(/^[A-Z].*[^.]$/);
  expect(errorMessage(ErrorCode.NONE)).toBe("");
  expect(errorMessage(999)).toBe(errorMessage(ErrorCode.UNKNOWN_SERVER_ERROR));
});

test("apiName: known keys by name, unknown ones by number", () => {
  expect(apiName(ApiKey.Fetch)).toBe("Fetch");
  expect(apiName(999)).toBe("Unknown(999)");
});
