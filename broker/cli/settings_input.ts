/** Settings of a broker as the command line gives them: `--set name=value`, and files. */

import { ConfigError, type ConfigFile } from "../config/sources.ts";
import { DiskError } from "../../storage/platform.ts";
import { type CliIo, UsageError } from "./io.ts";

const TEXT = new TextDecoder();
const MAX_CONFIG_BYTES = 1024 * 1024;

/** What `--set` gave, by name; the last one of a name counts. Errors: UsageError. */
export function flagSettings(assignments: readonly string[]): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const assignment of assignments) {
    const equals = assignment.indexOf("=");
    if (equals <= 0) {
      throw new UsageError(`Cannot use --set ${assignment}: it needs the form name=value`);
    }
    settings[assignment.slice(0, equals).trim()] = assignment.slice(equals + 1);
  }
  return settings;
}

/** Reads a file of settings. Errors: ConfigError. */
export function readConfigFile(path: string, { disk }: Pick<CliIo, "disk">): ConfigFile {
  try {
    const file = disk.open(path, "read");
    try {
      if (file.sizeBytes > MAX_CONFIG_BYTES) {
        throw new ConfigError([
          `Cannot read settings from ${path}: ${file.sizeBytes} bytes are over ${MAX_CONFIG_BYTES}`,
        ]);
      }
      const bytes = new Uint8Array(file.sizeBytes);
      file.read(0, bytes);
      return { path, text: TEXT.decode(bytes) };
    } finally {
      file.close();
    }
  } catch (failure) {
    if (!(failure instanceof DiskError)) throw failure;
    throw new ConfigError([`Cannot read settings from ${path}: ${failure.message}`]);
  }
}
