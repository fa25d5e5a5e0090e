/** `weir version`. */

import type { Command } from "commander";
import { type CommandContext, globalOptions } from "./command.ts";

/** Adds the command. */
export function addVersionCommand(program: Command, { io, version }: CommandContext): void {
  program.command("version").description("print the version").action(
    async (_options: unknown, command: Command) => {
      const { json } = globalOptions(command);
      const { runtime } = io;
      await io.write(
        json ? `${JSON.stringify({ version, runtime })}\n` : `weir ${version} (${runtime})\n`,
      );
    },
  );
}
