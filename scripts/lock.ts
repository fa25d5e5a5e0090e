/**
 * Completes package-lock.json: `bun scripts/lock.ts`, after `npm install` changed it.
 *
 * A package for another platform that the registry at hand does not carry is left out of the lock file
 * by `npm install`, and then `npm ci` refuses that file everywhere. What is left out is written in here,
 * with the version that its parent asks for; npm does not fetch it on platforms it is not for.
 * `tests/tidy_test.ts` checks that nothing is missing.
 */

import { readFileSync, writeFileSync } from "node:fs";

/** What matters here of an entry of package-lock.json. */
export interface LockedPackage {
  readonly version?: string;
  readonly dev?: boolean;
  readonly resolved?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** A package that a lock file should name and does not. */
export interface MissingPackage {
  readonly name: string;
  readonly version: string;
  readonly dev: boolean;
}

/** The optional dependencies, all of them exact versions, that have no entry of their own. */
export function missingPackages(
  packages: Readonly<Record<string, LockedPackage>>,
): MissingPackage[] {
  const missing = new Map<string, MissingPackage>();
  for (const { dev, optionalDependencies = {} } of Object.values(packages)) {
    for (const [name, version] of Object.entries(optionalDependencies)) {
      if (packages[`node_modules/${name}`] !== undefined || !/^\d/.test(version)) continue;
      missing.set(name, { name, version, dev: dev === true });
    }
  }
  return [...missing.values()];
}

const OPERATING_SYSTEMS = ["android", "darwin", "freebsd", "linux", "openharmony", "win32"];
const PROCESSORS: Readonly<Record<string, string>> = {
  "arm64": "arm64",
  "arm": "arm",
  "armv7": "arm",
  "ia32": "ia32",
  "ppc64": "ppc64",
  "riscv64": "riscv64",
  "s390x": "s390x",
  "x64": "x64",
};

/** The entry for a package whose name says its platform: `@deno/linux-arm64-glibc`. */
function platformEntry({ name, version, dev }: MissingPackage) {
  const words = name.replace(/.*\//, "").split("-");
  const os = words.find((word) => OPERATING_SYSTEMS.includes(word));
  const cpu = words.map((word) => PROCESSORS[word]).find((word) => word !== undefined);
  if (os === undefined || cpu === undefined) {
    throw new Error(`Cannot complete package-lock.json: ${name} does not say its platform`);
  }
  const libc = words.includes("musl")
    ? "musl"
    : words.some((w) => /^(gnu|glibc)/.test(w)) && "glibc";
  return {
    version,
    cpu: [cpu],
    ...(dev && { dev }),
    ...(libc && os === "linux" && { libc: [libc] }),
    optional: true,
    os: [os],
  };
}

if (import.meta.main) {
  const path = `${import.meta.dir}/../package-lock.json`;
  const lock = JSON.parse(readFileSync(path, "utf8"));
  const missing = missingPackages(lock.packages);
  for (const entry of missing) lock.packages[`node_modules/${entry.name}`] = platformEntry(entry);
  const { "": root, ...rest } = lock.packages;
  const sorted = Object.entries(rest).toSorted(([a], [b]) => a.localeCompare(b, "en"));
  lock.packages = { "": root, ...Object.fromEntries(sorted) };
  writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`package-lock.json: ${missing.length} added`);
}
