/** schemathesis asks a real process whatever its OpenAPI document allows, and what it does not allow. */

import { afterAll, beforeAll, expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type RunningBroker,
  runProgram,
  scratchDirectory,
  startWeir,
  testWith,
} from "./harness.ts";

const NDJSON = "application/x-ndjson";
const CHECKS = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_schema_conformance",
];

let weir: RunningBroker;
beforeAll(async () => {
  weir = await startWeir();
});
afterAll(async () => {
  await weir.stop();
});

interface Document {
  readonly paths: Record<
    string,
    Record<string, { requestBody?: { content: Record<string, unknown> } }>
  >;
}

testWith(
  "schemathesis",
  "the HTTP API: no answer that its document does not describe, none of 5xx",
  async () => {
    const base = `http://127.0.0.1:${weir.httpPort}`;
    const document = await (await fetch(`${base}/openapi.json`)).json() as Document;
    // It has no way to write several objects into a body.
    for (const operations of Object.values(document.paths)) {
      for (const { requestBody } of Object.values(operations)) delete requestBody?.content[NDJSON];
    }
    const directory = scratchDirectory("schemathesis");
    const path = join(directory, "openapi.json");
    writeFileSync(path, JSON.stringify(document));
    const { code, stdout } = await runProgram([
      // It keeps what it has found where it runs.
      "env",
      "-C",
      directory,
      "schemathesis",
      "run",
      path,
      `--url=${base}`,
      `--checks=${CHECKS.join(",")}`,
      "--phases=coverage,fuzzing",
      "--max-examples=5",
      "--request-timeout=20",
      // A stream that nobody writes to has nothing to say.
      "--exclude-path-regex=/stream$",
      "--no-color",
    ]);
    const failures = stdout.slice(stdout.indexOf("= FAILURES =")).split("\n")
      .map((line) => line.slice(0, 300)).slice(0, 100).join("\n");
    expect({ code, failures: code === 0 ? "" : failures }).toEqual({ code: 0, failures: "" });
  },
  300_000,
);
