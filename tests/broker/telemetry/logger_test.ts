import { describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bunLogOutput } from "../../../broker/telemetry/log_output_bun.ts";
import { configureLog, type LogFormat, type LogLevel } from "../../../broker/telemetry/logger.ts";

function makeLog(format: LogFormat, level: LogLevel = "info", useColor = false) {
  const lines: string[] = [];
  const logger = configureLog({ format, level, useColor, write: (line) => lines.push(line) });
  return { lines, logger };
}

describe("configureLog", () => {
  test("text: time, level, component, sentence and named values on one line", () => {
    const { lines, logger } = makeLog("text");
    logger.child("server").child("connection").info("Connection closed", {
      remoteAddress: "10.0.0.7",
      reason: "a b\nc",
      count: 3n,
      nothing: null,
      left: undefined,
    });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO {2}server\.connection: Connection closed {2}remoteAddress=10\.0\.0\.7 reason="a b\\nc" count=3 nothing=null\n$/,
    );
  });

  test("json: one object a line, values flat", () => {
    const { lines, logger } = makeLog("json");
    const error = new Error("outer", { cause: new Error("inner") });
    logger.child("server").error("Cannot go on", {
      error,
      bytes: new Uint8Array(5),
      map: new Map(),
    });
    expect(lines[0]?.endsWith("}\n")).toBeTrue();
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      level: "ERROR",
      logger: "weir.server",
      message: "Cannot go on",
      error: "Error: outer, because of Error: inner",
      bytes: "5 bytes",
      map: "[]",
    });
  });

  test("level: what is below is not written, and the newest setting counts", () => {
    const quiet = makeLog("text", "warn");
    quiet.logger.debug("a");
    quiet.logger.info("b");
    quiet.logger.warn("c");
    quiet.logger.error("d");
    expect(quiet.lines.map((line) => line.trimEnd().at(-1))).toEqual(["c", "d"]);
    const loud = makeLog("text", "debug");
    loud.logger.debug("e");
    expect(loud.lines).toHaveLength(1);
    expect(quiet.lines).toHaveLength(2);
  });

  test("sentences: braces are text, not places to fill", () => {
    const { lines, logger } = makeLog("text");
    logger.info("Read {a} and {{b}}", { a: 1 });
    expect(lines[0]).toContain("Read {a} and {{b}}");
  });

  test("values: what cannot be written is named, and stops nothing", () => {
    const { lines, logger } = makeLog("json");
    const circle: Record<string, unknown> = {};
    circle["self"] = circle;
    logger.info("x", { circle, deep: { bytes: new Uint8Array(2), big: 1n } });
    const line = JSON.parse(lines[0] ?? "");
    expect(line.circle).toContain("not shown");
    expect(line.deep).toBe('{"bytes":"2 bytes","big":"1"}');
  });

  test("color: warnings and errors stand out, and only where asked for", () => {
    const { lines, logger } = makeLog("text", "info", true);
    logger.warn("x");
    expect(lines[0]).toContain("\u001b[33m");
    const plain = makeLog("text", "info", false);
    plain.logger.warn("x");
    expect(plain.lines[0]).not.toContain("\u001b");
  });
});

describe("bunLogOutput", () => {
  test("close: all lines are written, in order, and none afterwards", async () => {
    const folder = mkdtempSync(join(tmpdir(), "weir-log-"));
    const path = join(folder, "log");
    const descriptor = openSync(path, "w");
    const output = bunLogOutput(descriptor);
    for (let index = 0; index < 1000; index++) output.write(`${index}\n`);
    await output.close();
    output.write("too late\n");
    closeSync(descriptor);
    const expected = Array.from({ length: 1000 }, (_, index) => `${index}\n`).join("");
    expect(readFileSync(path, "utf8")).toBe(expected);
    expect(output.isTerminal).toBeFalse();
    rmSync(folder, { recursive: true });
  });

  test("write: a reader that does not read costs a bounded queue, and is told what was left out", async () => {
    const folder = mkdtempSync(join(tmpdir(), "weir-log-"));
    const path = join(folder, "log");
    const descriptor = openSync(path, "w");
    const output = bunLogOutput(descriptor);
    const line = `${"x".repeat(1023)}\n`;
    // All in one turn of the loop: nothing is written meanwhile but the first line.
    for (let index = 0; index < 5000; index++) output.write(line);
    await output.close();
    closeSync(descriptor);
    const text = readFileSync(path, "utf8");
    expect(text.length).toBeLessThan(1_100_000);
    expect(text).toMatch(/\d+ log lines left out: they were not read fast enough\n$/);
    rmSync(folder, { recursive: true });
  });
});
