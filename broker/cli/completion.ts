/**
 * `weir completion bash|zsh|fish`: a script that completes commands and options.
 *
 * The scripts are made from the tree of commands, so they cannot fall behind it. They hold every path of words
 * ("topic create") with the subcommands and options that may follow.
 */

import type { Command } from "commander";
import type { CommandContext } from "./command.ts";
import { UsageError } from "./io.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;

/** Adds the command. */
export function addCompletionCommand(program: Command, { io }: CommandContext): void {
  program.command("completion").argument("<shell>", SHELLS.join(", "))
    .description("print a completion script for a shell")
    .addHelpText("after", HELP)
    .action(async (shell: string) => {
      const paths = pathsOf(program);
      switch (shell) {
        case "bash":
          return await io.write(bashScript(paths));
        case "zsh":
          return await io.write(zshScript(paths));
        case "fish":
          return await io.write(fishScript(paths));
        default:
          throw new UsageError(
            `Cannot complete for "${shell}": it must be one of ${SHELLS.join(", ")}`,
          );
      }
    });
}

const HELP = `
Examples:
  weir completion bash > /etc/bash_completion.d/weir
  weir completion zsh > "\${fpath[1]}/_weir"
  weir completion fish > ~/.config/fish/completions/weir.fish`;

/** A word that may come next, and what it is for. */
interface Word {
  readonly text: string;
  readonly description: string;
  /** True for an option that is followed by a value. */
  readonly takesValue: boolean;
}

/** What may follow a path of commands. */
interface Path {
  /** "" for the program itself, else "topic create". */
  readonly words: string;
  readonly commands: readonly Word[];
  readonly options: readonly Word[];
}

const HELP_OPTION: Word = { text: "--help", description: "show the help", takesValue: false };

function pathsOf(program: Command): Path[] {
  const globals = optionsOf(program);
  const walk = (command: Command, words: string): Path[] => [
    {
      words,
      commands: command.commands.map((it) => ({
        text: it.name(),
        description: it.description(),
        takesValue: false,
      })),
      options: command === program ? [...globals, HELP_OPTION] : [
        ...optionsOf(command),
        ...globals,
        HELP_OPTION,
      ],
    },
    ...command.commands.flatMap((it) => walk(it, `${words} ${it.name()}`.trim())),
  ];
  return walk(program, "");
}

function optionsOf(command: Command): Word[] {
  return command.options.filter(({ hidden }) => !hidden).map((option) => ({
    text: option.long ?? option.short ?? "",
    description: option.description,
    takesValue: option.required || option.optional,
  }));
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\\\''")}'`;
}

const text = ({ text }: Word) => text;

/** Options that take a value, whose value is then left to the shell's own completion of files. */
function valueOptions(paths: readonly Path[]): string[] {
  const names = paths.flatMap(({ options }) => options.filter((it) => it.takesValue).map(text));
  return [...new Set(names)];
}

function bashScript(paths: readonly Path[]): string {
  const cases = paths.map(({ words, commands, options }) =>
    `    ${quoted(words)}) words=${quoted([...commands, ...options].map(text).join(" "))} ;;`
  );
  return `# Completion for weir in bash.
_weir() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]}
  local path= words= word i skip=
  COMPREPLY=()
  case $previous in
    ${valueOptions(paths).join("|")}) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $skip ]]; then skip=; continue; fi
    case $word in
      ${valueOptions(paths).join("|")}) skip=1 ;;
      -*) ;;
      *) case "\${path:+$path }$word" in
        ${
    paths.slice(1).map(({ words }) => quoted(words)).join("|")
  }) path="\${path:+$path }$word" ;;
      esac ;;
    esac
  done
  case $path in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _weir weir
`;
}

function zshScript(paths: readonly Path[]): string {
  const describe = ({ text, description }: Word) =>
    quoted(`${text}:${description.replaceAll(":", "\\:")}`);
  const cases = paths.map(({ words, commands, options }) =>
    `    ${quoted(words)}) words_for=(${[...commands, ...options].map(describe).join(" ")}) ;;`
  );
  return `#compdef weir
# Completion for weir in zsh.
_weir() {
  local -a words_for
  local path_of= word skip= i
  case $words[CURRENT-1] in
    ${valueOptions(paths).join("|")}) _files; return ;;
  esac
  for ((i = 2; i < CURRENT; i++)); do
    word=$words[i]
    if [[ -n $skip ]]; then skip=; continue; fi
    case $word in
      ${valueOptions(paths).join("|")}) skip=1 ;;
      -*) ;;
      *) case "\${path_of:+$path_of }$word" in
        ${
    paths.slice(1).map(({ words }) => quoted(words)).join("|")
  }) path_of="\${path_of:+$path_of }$word" ;;
      esac ;;
    esac
  done
  case $path_of in
${cases.join("\n")}
  esac
  _describe weir words_for || _files
}
if [[ $funcstack[1] == _weir ]]; then _weir "$@"; else compdef _weir weir; fi
`;
}

function fishScript(paths: readonly Path[]): string {
  const lines = paths.flatMap(({ words, commands, options }) => {
    const condition = quoted(`__weir_at ${quoted(words).replaceAll("'", '"')}`);
    const head = `complete -c weir -n ${condition}`;
    return [
      ...commands.map((it) => `${head} -f -a ${it.text} -d ${quoted(it.description)}`),
      ...options.map((it) =>
        `${head} ${it.takesValue ? "-r" : "-f"} -l ${it.text.replace(/^--/, "")} -d ${
          quoted(it.description)
        }`
      ),
    ];
  });
  const known = paths.slice(1).map(({ words }) => quoted(words)).join(" ");
  return `# Completion for weir in fish.
function __weir_at
  set -l path
  set -l skip 0
  for word in (commandline -opc)[2..-1]
    if test $skip = 1
      set skip 0
    else if contains -- $word ${valueOptions(paths).join(" ")}
      set skip 1
    else if contains -- (string join " " $path $word) ${known}
      set path $path $word
    end
  end
  test (string join " " $path) = "$argv[1]"
end
${lines.join("\n")}
`;
}
