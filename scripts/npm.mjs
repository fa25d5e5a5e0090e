/**
 * What `npm start`, `npm test` and `npm run build` call: runs Bun with the arguments given, after
 * installing what package-lock.json names when that has not been done yet.
 *
 * It is the one file that Node itself runs: plain JavaScript, nothing but Node's own modules, since on a
 * fresh machine there is nothing else. Bun and Deno come from npm as packages of their own per platform,
 * and are called from there: that needs no install script, which npm may be told not to run.
 */

import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Anything smaller is the script that stands in for Bun until an install script has run. */
const MIN_BUN_BYTES = 10_000_000;

function bunPath() {
  const architecture = process.arch === "arm64" ? "aarch64" : process.arch;
  const platform = `${process.platform === "win32" ? "windows" : process.platform}-${architecture}`;
  // npm has installed the package for this machine's C library alone.
  const packages = [`bun-${platform}`, `bun-${platform}-musl`];
  const ownFiles = packages.flatMap((name) => [
    join("@oven", name, "bin", "bun"),
    join("@oven", name, "bin", "bun.exe"),
  ]);
  // Bun's install script, where it was allowed to run, has moved the file into the package `bun`.
  const candidates = [...ownFiles, "bun/bin/bun.exe"];
  return candidates
    .map((path) => join(root, "node_modules", path))
    .find((path) => existsSync(path) && statSync(path).size > MIN_BUN_BYTES) ?? null;
}

/** npm writes down what it has installed, as its last act: it must be what package-lock.json names. */
function isInstalled() {
  const notePath = join(root, "node_modules", ".package-lock.json");
  if (bunPath() === null || !existsSync(notePath)) return false;
  const wanted = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  const found = JSON.parse(readFileSync(notePath, "utf8")).packages;
  return Object.entries(wanted).every(([path, { version, optional }]) =>
    path === "" || found[path]?.version === version || (optional && found[path] === undefined)
  );
}

function install() {
  process.stderr.write("Installing what package-lock.json names (npm ci) ...\n");
  // npm gives the path of its own script to what it starts; on its own, `npm` is looked up.
  const npm = process.env.npm_execpath;
  const [command, before] = npm !== undefined && npm.endsWith(".js")
    ? [process.execPath, [npm]]
    : [process.platform === "win32" ? "npm.cmd" : "npm", []];
  const result = spawnSync(command, [
    ...before,
    "ci",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
  ], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  if (result.status !== 0) {
    process.stderr.write(
      "Cannot install: npm ci failed; its own message is above. It needs a network and Node 20 or newer.\n",
    );
    process.exit(result.status ?? 1);
  }
}

if (!isInstalled()) install();
const bun = bunPath();
if (bun === null) {
  process.stderr.write(
    `Cannot find Bun for ${process.platform} ${process.arch}: npm installed no package for it; ` +
      "weir runs on Linux and macOS, x64 and arm64, and was npm called with --omit=optional?\n",
  );
  process.exit(1);
}

const child = spawn(bun, process.argv.slice(2), { cwd: root, stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  // Ctrl-C reaches the child by the terminal; a signal sent to this process alone is handed on.
  process.on(signal, () => {
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
  });
}
child.on("error", (error) => {
  process.stderr.write(`Cannot run ${bun}: ${error.message}\n`);
  process.exit(1);
});
child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
