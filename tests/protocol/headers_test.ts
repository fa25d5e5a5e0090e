/** Request and response headers: which version goes where, and the ApiVersions exception. */

import { describe, expect, test } from "bun:test";
import { ApiKey } from "../../protocol/api_keys.ts";
import { Reader, WireError, Writer } from "../../protocol/bytes.ts";
import { versionsOf } from "../../protocol/compile.ts";
import {
  decodeRequestHeader,
  decodeResponseHeader,
  encodeRequestHeader,
  encodeResponseHeader,
  requestHeaderVersion,
  responseHeaderVersion,
} from "../../protocol/headers.ts";
import { requestByApiKey } from "../../protocol/schemas/index.ts";

function request(apiKey: number, apiVersion: number, clientId: string | null = "é"): string {
  const writer = new Writer();
  encodeRequestHeader(writer, { apiKey, apiVersion, correlationId: 7, clientId });
  return writer.finish().toHex();
}

function response(apiKey: number, apiVersion: number): string {
  const writer = new Writer();
  encodeResponseHeader(writer, { apiKey, apiVersion, correlationId: 7 });
  return writer.finish().toHex();
}

describe("request headers", () => {
  test("encodeRequestHeader: below the flexible versions there are no tagged fields", () => {
    expect(request(ApiKey.Heartbeat, 3)).toBe("000c0003000000070002c3a9");
    expect(request(ApiKey.Heartbeat, 3, null)).toBe("000c000300000007ffff");
  });

  test("encodeRequestHeader: in flexible versions the client id keeps its int16 length", () => {
    expect(request(ApiKey.Heartbeat, 4)).toBe("000c0004000000070002c3a900");
    expect(request(ApiKey.ApiVersions, 3)).toBe("00120003000000070002c3a900");
  });

  test("decodeRequestHeader: reads what was written for every API and version, up to the body", () => {
    for (const [apiKey, { versions }] of requestByApiKey) {
      const { lowest, highest } = versionsOf(versions);
      for (let apiVersion = lowest; apiVersion <= highest; apiVersion++) {
        const reader = new Reader(Uint8Array.fromHex(`${request(apiKey, apiVersion)}aabb`));
        const head = decodeRequestHeader(reader);
        expect(head).toEqual({ apiKey, apiVersion, correlationId: 7, clientId: "é" });
        expect(reader.remaining).toBe(2);
      }
    }
  });

  test("decodeRequestHeader: skips tagged fields", () => {
    const tagged = new Reader(Uint8Array.fromHex("000c000400000007ffff010502aabb99"));
    expect(decodeRequestHeader(tagged).clientId).toBe(null);
    expect(tagged.remaining).toBe(1);
  });

  test("decodeRequestHeader: an unknown key is read as far as the client id", () => {
    const head = decodeRequestHeader(new Reader(Uint8Array.fromHex("03e7000200000007ffff")));
    expect(head).toEqual({ apiKey: 999, apiVersion: 2, correlationId: 7, clientId: null });
  });

  test("decodeRequestHeader: a version above the known ones has the header of the highest", () => {
    expect(requestHeaderVersion(ApiKey.ApiVersions, 99)).toBe(2);
    expect(requestHeaderVersion(ApiKey.SaslHandshake, 99)).toBe(1);
    expect(requestHeaderVersion(ApiKey.Produce, -1)).toBe(1);
  });

  test("decodeRequestHeader: a header that is cut at any byte is a WireError", () => {
    const whole = Uint8Array.fromHex(request(ApiKey.Heartbeat, 4));
    for (let length = 0; length < whole.length; length++) {
      expect(() => decodeRequestHeader(new Reader(whole, 0, length))).toThrow(WireError);
    }
  });
});

describe("response headers", () => {
  test("encodeResponseHeader: flexible versions have tagged fields, others not", () => {
    expect(response(ApiKey.Heartbeat, 3)).toBe("00000007");
    expect(response(ApiKey.Heartbeat, 4)).toBe("0000000700");
    expect(response(ApiKey.LeaderAndIsr, 0)).toBe("00000007");
  });

  test("encodeResponseHeader: that of ApiVersions is version 0, whatever its version", () => {
    for (let version = 0; version <= 6; version++) {
      expect(responseHeaderVersion(ApiKey.ApiVersions, version)).toBe(0);
      expect(response(ApiKey.ApiVersions, version)).toBe("00000007");
    }
  });

  test("decodeResponseHeader: reads what was written, and refuses the answer to another request", () => {
    for (const [apiKey, { versions }] of requestByApiKey) {
      const apiVersion = versionsOf(versions).highest;
      const bytes = Uint8Array.fromHex(`${response(apiKey, apiVersion)}cc`);
      const reader = new Reader(bytes);
      decodeResponseHeader(reader, { apiKey, apiVersion, correlationId: 7 });
      expect(reader.remaining).toBe(1);
      const other = { apiKey, apiVersion, correlationId: 8 };
      expect(() => decodeResponseHeader(new Reader(bytes), other)).toThrow("is 7, not 8");
    }
  });
});
