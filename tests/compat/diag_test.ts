/** `weir diag` as a process, beside a broker that runs, one that hangs, and one that is gone. */

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { strFromU8, unzipSync } from "fflate";
import { repositoryRoot, runOk, scratchDirectory, startWeir } from "./harness.ts";

const WEIR = [process.execPath, join(repositoryRoot, "main.ts")];
const SECRET = "planted-hunter2-secret";
const RECORD = "the-words-of-a-record";

function opened(path: string): Map<string, string> {
  const entries = Object.entries(unzipSync(readFileSync(path)));
  return new Map(
    entries.map(([name, bytes]) => [name.slice(name.indexOf("/") + 1), strFromU8(bytes)]),
  );
}

/** A broker's directory, file of settings and log, with secrets in them. */
function place() {
  const directory = scratchDirectory("diag");
  const config = join(directory, "weir.properties");
  const log = join(directory, "weir.log");
  const output = join(directory, "bundle.zip");
  return { directory, config, log, output };
}

describe("weir diag", () => {
  test("weir diag: of a broker that runs everything, without secrets and records", async () => {
    const { directory, config, log, output } = place();
    const dataDirectory = join(directory, "data");
    const broker = await startWeir({ dataDirectory });
    const { bootstrap, httpPort } = broker;
    await runOk([...WEIR, "-b", bootstrap, "topic", "create", "orders"]);
    await runOk([...WEIR, "-b", bootstrap, "produce", "orders"], { input: `${RECORD}\n` });
    await runOk([...WEIR, "-b", bootstrap, "consume", "orders", "--group", "billing"]);
    writeFileSync(
      config,
      `log.dirs=${dataDirectory}\nhttp.listeners=127.0.0.1:${httpPort}\nssl.key.password=${SECRET}\n`,
    );
    writeFileSync(log, `${broker.output()}\nsaid ${SECRET} aloud\n`);
    const printed = await runOk(
      [...WEIR, "-b", bootstrap, "diag", "-c", config, "--log-file", log, "-o", output],
      { environment: { SOME_API_TOKEN: `${SECRET}-2`, KAFKA_PROXY: `http://me:${SECRET}@proxy` } },
    );
    expect(printed).toContain(`Wrote ${output}`);
    expect(printed).not.toContain("Not in it");
    const files = opened(output);
    for (const [path, text] of files) {
      expect(text, path).not.toContain(SECRET);
      expect(text, path).not.toContain(RECORD);
    }
    expect(files.get("http/metrics.txt")).toContain(
      'weir_topic_written_records_total{topic="orders"} 1',
    );
    expect(files.get("http/readyz.json")).toBe('{"status":"ready"}');
    expect(files.get("cluster/group_details.ndjson")).toContain('"group":"billing"');
    expect(files.get("data/0/files.txt")).toContain("orders-0/00000000000000000000.log");
    expect(files.get("log/0.txt")).toContain("said [removed] aloud");
    if (process.platform === "linux") expect(files.get("limits.txt")).toContain("Max open files");
    const { processors, memoryBytes } = JSON.parse(files.get("version.json")!);
    expect(processors.length).toBeGreaterThan(0);
    expect(memoryBytes).toBeGreaterThan(1e8);
    expect(await broker.stop()).toBe(0);

    // The same once the broker is gone, into the working directory.
    const later = await runOk([
      "sh",
      "-c",
      'cd "$0" && shift && exec "$@"',
      directory,
      "-",
      ...WEIR,
      ...["-b", bootstrap, "diag", "-c", config, "--json"],
    ]);
    const { path, missing } = JSON.parse(later) as {
      path: string;
      missing: { path: string; reason: string }[];
    };
    expect(readdirSync(directory).filter((name) => /^weir-diag-\d{8}T\d{6}Z\.zip$/.test(name)))
      .toHaveLength(1);
    expect(existsSync(path)).toBeTrue();
    expect(missing.map((one) => one.path).toSorted()).toEqual(
      ["cluster/", "http/healthz.json", "http/metrics.txt", "http/readyz.json", "log/"],
    );
    expect(missing.find((one) => one.path === "http/metrics.txt")!.reason).toContain(
      "nobody listens there",
    );
    expect(opened(path).get("data/0/notes.txt")).toContain(".kafka_cleanshutdown");
  }, 60_000);

  test("weir diag: a broker that hangs holds it up for a while, and no longer", async () => {
    const { config, output } = place();
    // Takes connections and says nothing, as a process that was stopped with SIGSTOP.
    const silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    writeFileSync(config, `log.dirs=/nowhere\nhttp.listeners=127.0.0.1:${silent.port}\n`);
    await runOk([...WEIR, "-b", `127.0.0.1:${silent.port}`, "diag", "-c", config, "-o", output]);
    silent.stop(true);
    const { missing } = JSON.parse(opened(output).get("manifest.json")!) as {
      missing: { path: string; reason: string }[];
    };
    const reasons = new Map(missing.map((one) => [one.path, one.reason]));
    expect(reasons.get("http/metrics.txt")).toContain("timed out");
    expect(reasons.get("cluster/")).toContain("nobody answers");
  }, 60_000);
});
