/**
 * The rules of this house that a linter can see, as a plugin of `deno lint`:
 *
 * - `weir/layers`: imports go main → broker → storage → protocol, never back; nothing that is shipped
 *   imports tests/ or scripts/; a handler of apis/ imports no other handler; only gateway/ imports hono.
 * - `weir/import-paths`: relative imports name their file, with `.ts`; no aliases, no URLs.
 * - `weir/platform`: only `main.ts` and `*_bun.ts` touch the machine: Bun, files, sockets, timers, clocks
 *   and entropy. tests/ and scripts/ may, and so may what is served to browsers.
 * - `weir/hash-private`: `#name`, not `private name`, which only the type checker would keep.
 *
 * The rules look at the path of a file from the repository root, which is where `deno.json` lies.
 */

import { dirname, join, normalize, relative } from "node:path";
import process from "node:process";

/** A node of the syntax tree, as far as the rules look. Shape: ESTree, as deno_lint gives it. */
interface Node {
  readonly type: string;
  readonly source?: { readonly value: string } | null;
  readonly object?: Node;
  readonly property?: Node;
  readonly computed?: boolean;
  readonly name?: string;
  readonly value?: unknown;
  readonly callee?: Node;
  readonly arguments?: readonly Node[];
  readonly kind?: string;
  readonly accessibility?: string;
}

/** What deno_lint hands to a rule. */
interface RuleContext {
  readonly filename: string;
  report(finding: { readonly node: Node; readonly message: string }): void;
}

type Visitor = Readonly<Record<string, (node: Node) => void>>;

interface Rule {
  create(context: RuleContext): Visitor;
}

/** Higher layers may import lower ones. */
const LAYERS: Readonly<Record<string, number>> = { protocol: 0, storage: 1, broker: 2, main: 3 };

/** Modules that are the machine, wherever they are imported from. */
const MACHINE_MODULES = [
  "bun",
  "bun:ffi",
  "bun:sqlite",
  "node:child_process",
  "node:cluster",
  "node:crypto",
  "node:dgram",
  "node:dns",
  "node:fs",
  "node:fs/promises",
  "node:http",
  "node:https",
  "node:net",
  "node:os",
  "node:perf_hooks",
  "node:process",
  "node:readline",
  "node:timers",
  "node:timers/promises",
  "node:tls",
  "node:tty",
  "node:worker_threads",
];

/** Globals that are the machine. */
const MACHINE_GLOBALS = [
  "Bun",
  "Worker",
  "clearImmediate",
  "clearInterval",
  "clearTimeout",
  "crypto",
  "performance",
  "process",
  "setImmediate",
  "setInterval",
  "setTimeout",
];

/** `main.ts`, `broker/apis/fetch.ts`: the path from the repository root. */
function pathOf(context: RuleContext): string {
  return relative(process.cwd(), context.filename).replaceAll("\\", "/");
}

/** The layer that a path belongs to; `tests` and `scripts` are outside of the layers. */
function layerOf(path: string): string {
  return path === "main.ts" ? "main" : path.split("/", 1)[0] ?? "";
}

/** Calls `check` for each `import`, `export … from` and `import()` with its text. */
function imports(check: (source: string, node: Node) => void): Visitor {
  const visit = (node: Node) => {
    if (typeof node.source?.value === "string") check(node.source.value, node);
  };
  return {
    ImportDeclaration: visit,
    ExportNamedDeclaration: visit,
    ExportAllDeclaration: visit,
    ImportExpression: visit,
  };
}

function layerProblem(path: string, source: string): string | null {
  const from = layerOf(path);
  if (LAYERS[from] === undefined) return null;
  if (source === "hono" || source.startsWith("hono/")) {
    return path.startsWith("broker/gateway/") ? null : "Only broker/gateway/ imports hono.";
  }
  if (!source.startsWith(".")) return null;
  const target = normalize(join(dirname(path), source)).replaceAll("\\", "/");
  const to = layerOf(target);
  if (from === "main" && target === "package.json") return null;
  if (LAYERS[to] === undefined) return `What is shipped imports nothing of ${to}/.`;
  if ((LAYERS[to] ?? 0) > (LAYERS[from] ?? 0)) {
    return `${from} imports ${to}: imports go main → broker → storage → protocol, never back.`;
  }
  const isHandler = /^broker\/apis\/(?!index\.ts$)/.test(path);
  if (isHandler && /^broker\/apis\/(?!api\.ts$)/.test(target)) {
    return "A handler imports no other handler: what two of them share belongs to a subsystem.";
  }
  return null;
}

function importPathProblem(source: string): string | null {
  if (source.startsWith(".")) {
    return /\.(tsx?|mjs|json|css)$/.test(source) ? null : `Name the file: "${source}.ts".`;
  }
  if (/^[a-z]+:\/\//.test(source) || source.startsWith("/")) {
    return "Import packages by name and files by relative path.";
  }
  if (source.startsWith("@/") || source.startsWith("~") || source.startsWith("#")) {
    return "No aliases: import by relative path.";
  }
  return null;
}

/** True where a file may touch the machine, or runs on somebody else's. */
function isPlatformFile(path: string): boolean {
  return LAYERS[layerOf(path)] === undefined || path === "main.ts" || /_bun\.tsx?$/.test(path) ||
    path === "broker/gateway/client/client.ts" || path.includes("/browser/");
}

/** `Date` of `Date.now`, when the call is `object.property`. */
function memberName(node: Node): string {
  const { object, property } = node;
  const isMember = object?.type === "Identifier" && property?.type === "Identifier" &&
    node.computed !== true;
  return isMember ? `${object.name}.${property.name}` : "";
}

const platformMessage = (what: string) =>
  `${what} is the machine: take it through a constructor (Disk, Clock, Random, Network); ` +
  "only main.ts and *_bun.ts touch it.";

function platformVisitor(context: RuleContext): Visitor {
  const report = (node: Node, what: string) =>
    context.report({ node, message: platformMessage(what) });
  const visitGlobal = (node: Node | undefined) => {
    if (node?.type === "Identifier" && MACHINE_GLOBALS.includes(node.name ?? "")) {
      report(node, node.name ?? "");
    }
  };
  return {
    ...imports((source, node) => {
      if (MACHINE_MODULES.includes(source)) report(node, source);
    }),
    MemberExpression(node) {
      const name = memberName(node);
      if (name === "Date.now" || name === "Math.random") report(node, name);
      const isGlobalThis = node.object?.name === "globalThis";
      visitGlobal(isGlobalThis ? node.property : node.object);
    },
    CallExpression(node) {
      visitGlobal(node.callee);
    },
    NewExpression(node) {
      visitGlobal(node.callee);
      const isNow = node.callee?.name === "Date" && node.arguments?.length === 0;
      if (isNow) report(node, "new Date()");
    },
  };
}

const layers: Rule = {
  create(context) {
    const path = pathOf(context);
    return imports((source, node) => {
      const message = layerProblem(path, source);
      if (message !== null) context.report({ node, message });
    });
  },
};

const importPaths: Rule = {
  create(context) {
    return imports((source, node) => {
      const message = importPathProblem(source);
      if (message !== null) context.report({ node, message });
    });
  },
};

const platform: Rule = {
  create(context) {
    return isPlatformFile(pathOf(context)) ? {} : platformVisitor(context);
  },
};

const hashPrivate: Rule = {
  create(context) {
    const visit = (node: Node) => {
      if (node.accessibility === undefined || node.accessibility === null) return;
      if (node.kind === "constructor") return;
      context.report({
        node,
        message: "Write #name for what is private, and nothing for the rest.",
      });
    };
    return { PropertyDefinition: visit, MethodDefinition: visit, TSParameterProperty: visit };
  },
};

/** The plugin, named in `deno.json`. */
export default {
  name: "weir",
  rules: {
    "layers": layers,
    "import-paths": importPaths,
    "platform": platform,
    "hash-private": hashPrivate,
  },
};
