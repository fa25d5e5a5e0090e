/**
 * Makes the executables: `npm run build`, or `bun scripts/build.ts [linux-x64] [linux-arm64]`.
 *
 *     dist/weir               for the Linux that x64 machines run
 *     dist/weir-linux-arm64   for arm64 machines
 *
 * Each is one file with Bun, our code and the native addons inside. For a platform other than this one,
 * Bun and the addons are fetched with `npm pack`, at the versions and with the checksums that
 * package-lock.json names, and kept in `.cache/build`; after the first time no network is needed.
 *
 * The console's scripts are bundled for browsers first, and are texts in the executable.
 *
 * The code is minified but for names, which stack traces and error texts use. Bytecode is compiled ahead:
 * it makes the file larger and the start faster.
 */

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { browserScripts } from "../broker/gateway/console/bundle_bun.ts";
import type { LockedPackage } from "./lock.ts";

const ROOT = join(import.meta.dir, "..");
const CACHE = join(ROOT, ".cache", "build");

/** A platform that is built for. */
export interface Platform {
  readonly outfile: string;
  /** npm's package with Bun for it. */
  readonly runtime: string;
  /** The end of the names of the addons' packages for it. */
  readonly addonSuffix: string;
}

/** What is built, by name. */
export const PLATFORMS: Readonly<Record<string, Platform>> = {
  "linux-x64": {
    outfile: "dist/weir",
    runtime: "@oven/bun-linux-x64",
    addonSuffix: "-linux-x64-gnu",
  },
  "linux-arm64": {
    outfile: "dist/weir-linux-arm64",
    runtime: "@oven/bun-linux-aarch64",
    addonSuffix: "-linux-arm64-gnu",
  },
};

/** Packages whose native code is chosen by platform, without the end that names it. */
const ADDONS = ["@node-rs/crc32", "@napi-rs/snappy", "@antoniomuso/lz4-napi"];

const lock: { packages: Record<string, LockedPackage & { integrity?: string }> } = JSON.parse(
  readFileSync(join(ROOT, "package-lock.json"), "utf8"),
);

/** True when the platform can be built for without a network. */
export function isAtHand({ runtime, addonSuffix }: Platform): boolean {
  const names = [runtime, ...ADDONS.map((addon) => `${addon}${addonSuffix}`)];
  return names.every((name) => isInstalled(name) || existsSync(fetchedFolder(name)));
}

function isInstalled(name: string): boolean {
  return existsSync(join(ROOT, "node_modules", name, "package.json"));
}

function fetchedFolder(name: string): string {
  const version = lock.packages[`node_modules/${name}`]?.version;
  if (version === undefined) throw new Error(`Cannot build: package-lock.json has no ${name}`);
  return join(CACHE, `${name.replace("/", "+")}@${version}`);
}

/** The folder of a package: in node_modules when it is of this platform, else fetched. */
function packageFolder(name: string): string {
  return isInstalled(name) ? join(ROOT, "node_modules", name) : fetchPackage(name);
}

function fetchPackage(name: string): string {
  const folder = fetchedFolder(name);
  if (existsSync(folder)) return folder;
  const { version, integrity } = lock.packages[`node_modules/${name}`] ?? {};
  console.log(`fetching ${name}@${version}`);
  const staging = `${folder}.${process.pid}`;
  mkdirSync(staging, { recursive: true });
  const archive = execute(["npm", "pack", "--silent", `${name}@${version}`], staging).trim()
    .split("\n").at(-1) ?? "";
  const digest = createHash("sha512").update(readFileSync(join(staging, archive))).digest("base64");
  if (integrity !== undefined && integrity !== `sha512-${digest}`) {
    throw new Error(`Cannot build: ${name}@${version} has not the checksum of package-lock.json`);
  }
  execute(["tar", "-xzf", archive, "--strip-components=1"], staging);
  rmSync(join(staging, archive));
  renameSync(staging, folder);
  return folder;
}

function execute(command: string[], cwd: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { cwd });
  if (exitCode !== 0) {
    throw new Error(`Cannot build: ${command.join(" ")} failed: ${stderr.toString().trim()}`);
  }
  return stdout.toString();
}

/** Finds the addons of the platform that is built for, wherever their packages lie. */
function addonResolver({ addonSuffix }: Platform): Bun.BunPlugin {
  const names = ADDONS.map((addon) => `${addon}${addonSuffix}`);
  return {
    name: "addons",
    setup(build) {
      // What is there for another platform, this one's included, stays out of the file.
      const pattern = new RegExp(`^(?:${ADDONS.join("|")})-`);
      build.onResolve({ filter: pattern }, ({ path }) => {
        const name = names.find((known) => path === known || path.startsWith(`${known}/`));
        if (name === undefined) return { path, external: true };
        const folder = packageFolder(name);
        const manifest = join(folder, "package.json");
        if (path.endsWith("/package.json")) return { path: manifest };
        return { path: join(folder, JSON.parse(readFileSync(manifest, "utf8")).main) };
      });
    },
  };
}

/** Puts the console's scripts, bundled, in the place of the module that bundles them. */
async function scriptEmbedder(): Promise<Bun.BunPlugin> {
  const scripts = JSON.stringify(await browserScripts());
  const contents = `export const browserScripts = () => Promise.resolve(${scripts});`;
  return {
    name: "console scripts",
    setup(build) {
      build.onLoad({ filter: /\/console\/bundle_bun\.ts$/ }, () => ({ contents, loader: "js" }));
    },
  };
}

/** Builds for one of `PLATFORMS`. Returns: the path of the executable. */
export async function build(name: string, platform: Platform): Promise<string> {
  // Bun itself is at hand for the platform that it runs on.
  const isHost = name === `${process.platform}-${process.arch}`;
  const executablePath = isHost
    ? process.execPath
    : join(packageFolder(platform.runtime), "bin", "bun");
  const outfile = join(ROOT, platform.outfile);
  const result = await Bun.build({
    // The first one is run; the other is where a worker thread begins.
    entrypoints: [join(ROOT, "main.ts"), join(ROOT, "storage/worker_main_bun.ts")],
    root: ROOT,
    target: "bun",
    format: "esm",
    bytecode: true,
    minify: { syntax: true, whitespace: true, identifiers: false },
    plugins: [addonResolver(platform), await scriptEmbedder()],
    compile: {
      target: `bun-${name}` as Bun.Build.CompileTarget,
      executablePath,
      outfile,
      autoloadDotenv: false,
      autoloadBunfig: false,
    },
  });
  if (!result.success) throw new AggregateError(result.logs, `Cannot build ${platform.outfile}`);
  return outfile;
}

async function main(wanted: readonly string[]): Promise<number> {
  const unknown = wanted.filter((name) => PLATFORMS[name] === undefined);
  if (unknown.length > 0) {
    console.error(`Cannot build for ${unknown}: known are ${Object.keys(PLATFORMS).join(", ")}`);
    return 1;
  }
  for (const [name, platform] of Object.entries(PLATFORMS)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    const startMs = performance.now();
    const path = await build(name, platform);
    const megabytes = (statSync(path).size / 1e6).toFixed(1);
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    console.log(`${platform.outfile}: ${megabytes} MB for ${name}, in ${seconds} s`);
  }
  return 0;
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
