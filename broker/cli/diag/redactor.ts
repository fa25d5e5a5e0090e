/**
 * Takes secrets out of text before it goes into a support bundle.
 *
 * Three nets, one behind the other, since none is whole by itself:
 * - the values of settings and variables whose *names* say that they are secret are never written down at all;
 * - these *values* are remembered, and taken out wherever else they turn up: in a log line, a client id, a URL;
 * - what *looks like* a secret goes too, known or not: credentials in URLs, JAAS options, bearer tokens, JWTs, private
 *   keys, keys of clouds, and words that are too long and too mixed for a name.
 *
 * It takes out too much rather than too little; `[removed]` stands where something was.
 */

/** What stands where a secret was. */
export const REMOVED = "[removed]";

/** Names of what is secret, in settings, environments, headers, URLs and JSON. */
const SECRET_NAME =
  /passw(?:or)?d|passphrase|passcode|(?:^|[._-])pass(?:$|[._-])|pwd|secret|token|jaas|credential|private|(?:^|[._-])bearer|cookie|api[._-]?key|access[._-]?key|(?:^|[._-])(?:auth|key|keys|sas|dsn|pat)$|authorization|(?:key|trust)store\.(?:key|certificate)|signature/i;
/** Names that only seem so: what is said of a secret, or of something else that is called so. */
const HARMLESS_NAME =
  /(?:^|\.)client\.auth$|(?:min|max|window|refresh|expiry|renewal|lifetime|interval|timeout)\.(?:\w+\.)*(?:ms|seconds|time)$|\.ms$|\.class(?:\.name)?$|\.type$|(?:key|token)\.(?:serializer|deserializer|separator|endpoint\.url)$|endpoint\.url$/i;
/** Shorter ones turn up by chance in other words. */
const MIN_KNOWN_LENGTH = 4;
const MIN_KNOWN_DIGITS = 8;
/** What says that there is no secret. */
const NO_VALUES = ["true", "false", "none", "null", "undefined"];
/** What is not looked for elsewhere, though it be a secret: the text would be full of holes. */
const COMMON_VALUES = new Set([
  ...NO_VALUES,
  "default",
  "auto",
  "required",
  "requested",
  "plain",
  "plaintext",
  "ssl",
  "sasl_ssl",
  "sasl_plaintext",
  "localhost",
  "weir",
  "kafka",
  "pkcs12",
  "jks",
  "pem",
]);

/** A pattern, and what is to stand in its place. */
interface Pattern {
  readonly find: RegExp;
  readonly put: (all: string, ...groups: string[]) => string;
}

/**
 * A pattern of what begins where a word does. In JSON that may be behind an escape such as \n, whose letter is no part
 * of the word; the escape is the first group, so that it stays.
 */
function word(pattern: string, flags = "g"): RegExp {
  const start = String.raw`(?:(\\(?:u[0-9a-f]{4}|[nrtbf]))|(?<=\\\\)|(?<![A-Za-z0-9_\\]))`;
  return new RegExp(start + pattern, flags);
}

const afterStart = (_: string, before: string | undefined) => `${before}${REMOVED}`;

/**
 * In order. Each looks at a text once: what may repeat is bounded, or ends where it cannot match any more, since log
 * lines and names are whatever somebody sends.
 */
const PATTERNS: readonly Pattern[] = [
  // A key in PEM, also one whose line ends are written as \n, and one that was cut off.
  {
    find:
      /-----BEGIN [A-Z ]{0,40}(?:PRIVATE KEY|CERTIFICATE)-----[\s\S]*?(?:-----END [A-Z ]{0,40}-----|$)/g,
    put: () => REMOVED,
  },
  // https://user:password@host, also with one of both alone.
  { find: /\/\/[^\s/"'@]{1,512}@/g, put: () => `//${REMOVED}@` },
  // user:password@host without a scheme; 10.0.0.1:9093,2@10.0.0.2 is a list of voters.
  {
    find: /(?<![^\s/"'@:=,])[^\s/"'@:=,]{1,128}:([^\s/"'@]{1,256})@(?=[\w.[])/g,
    put: (all, password) => /^\d{1,5}(?:,\d+)?$/.test(password!) ? all : `${REMOVED}@`,
  },
  {
    find: word("(Bearer|Basic|Negotiate|Digest)\\s{1,4}[A-Za-z0-9._~+/=-]{6,}", "gi"),
    put: (_, before, scheme) => `${before}${scheme} ${REMOVED}`,
  },
  // JWTs, and what is left of one that was cut.
  { find: word("eyJ[A-Za-z0-9_-]{8,}(?:\\.[A-Za-z0-9_-]*){0,2}"), put: afterStart },
  { find: word("(?:AKIA|ASIA)[A-Z0-9]{12,}"), put: afterStart },
  {
    find: word(
      "(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|sk_live_|rk_live_|hv[sb]\\.)[\\w.-]{8,}",
    ),
    put: afterStart,
  },
  // Long words of many kinds of characters: keys and tokens that nobody has a pattern for. UUIDs have dashes, ids of
  // clusters and topics 22 characters, and deleted directories end on a suffix.
  {
    find: word("([A-Za-z0-9_+=]{32,})"),
    put: (all, before, long) =>
      /[a-z]/.test(long!) && /[A-Z]/.test(long!) && /\d[^\d]*\d/.test(long!)
        ? `${before}${REMOVED}`
        : all,
  },
  { find: word("[0-9a-f]{32,}(?!-(?:delete|stray|future)|[A-Za-z0-9])"), put: afterStart },
];

/** password = "…", "token": "…", --secret=…, &sig=…: a name, what quotes it, and what parts it from its value. */
const NAMED =
  /(?:passw(?:or)?d|passphrase|pwd|secret|token|jaas\.config|credentials?|api[._-]?key|access[._-]?key|private[._-]?key|authorization|(?<=[?&])sig)[\w.-]{0,64}(\\{0,15}["'])?\s{0,4}[=:]\s{0,4}/gi;
/** A value without quotes. An escape is taken whole, or what holds the text would break. */
const BARE = /(?:[^\s,;&"'}\]\\]|\\\\|\\(?!["'\\]))+/y;

/** Takes the values of what is called a secret out of a text, JSON within JSON too. Returns: how many as well. */
function withoutNamed(text: string): { readonly text: string; readonly count: number } {
  const parts: string[] = [];
  let count = 0;
  let copiedTo = 0;
  NAMED.lastIndex = 0;
  for (let found = NAMED.exec(text); found !== null; found = NAMED.exec(text)) {
    const start = NAMED.lastIndex;
    const value = valueAt(text, start);
    NAMED.lastIndex = Math.max(value.endAt, start);
    if (isHarmless(found[0], text.slice(start, value.endAt))) continue;
    // What stands for a number in JSON is quoted as its name is.
    const quote = value.quote === "" && found[0].trimEnd().endsWith(":")
      ? found[1] ?? ""
      : value.quote;
    parts.push(text.slice(copiedTo, start), quote, REMOVED, quote);
    copiedTo = value.endAt;
    count++;
  }
  return { text: parts.join("") + text.slice(copiedTo), count };
}

/** Where the value ends that begins at `start`, and what quotes it: nothing, or a quote with backslashes before it. */
function valueAt(text: string, start: number): { readonly quote: string; readonly endAt: number } {
  if (text.startsWith(REMOVED, start)) return { quote: "", endAt: start + REMOVED.length };
  let at = start;
  while (text[at] === "\\") at++;
  if (text[at] === '"' || (text[at] === "'" && at === start)) {
    return { quote: text.slice(start, at + 1), endAt: quotedEnd(text, start, at) };
  }
  BARE.lastIndex = start;
  return { quote: "", endAt: start + (BARE.exec(text)?.[0].length ?? 0) };
}

/**
 * Where a quoted value ends whose quote stands at `quoteAt`, behind as many backslashes as it is deep in texts within
 * texts. With `u` for one more than these, a quote behind `m` backslashes ends it where m mod 2u is u − 1; any other
 * belongs to it. What has no end on its line ends with that.
 */
function quotedEnd(text: string, start: number, quoteAt: number): number {
  const unit = quoteAt - start + 1;
  let backslashes = 0;
  let at = quoteAt + 1;
  for (; at < text.length && text[at] !== "\n"; at++) {
    if (text[at] === "\\") {
      backslashes++;
      continue;
    }
    if (text[at] === text[quoteAt] && backslashes % (2 * unit) === unit - 1) return at + 1;
    backslashes = 0;
  }
  return at;
}

function isHarmless(before: string, value: string): boolean {
  const name = before.replace(/\\*["']?\s*[=:]\s*$/, "");
  const bare = value.replaceAll(/[\\"']/g, "");
  return HARMLESS_NAME.test(name) || bare === REMOVED || bare === "" || NO_VALUES.includes(bare);
}

/** True for the name of a setting, a variable or a header whose value nobody but its owner should see. */
export function isSecretName(name: string): boolean {
  if (HARMLESS_VARIABLES.has(name)) return false;
  const words = name.replaceAll("_", ".");
  return SECRET_NAME.test(words) && !HARMLESS_NAME.test(words.toLowerCase());
}

/** Working directories, which shells call so. */
const HARMLESS_VARIABLES = new Set(["PWD", "OLDPWD"]);

/** Takes secrets out, those that it was told of and those that look so. */
export class Redactor {
  /** Longest first: one may hold another. */
  #known: string[] = [];
  #count = 0;

  /** How many times something was taken out. */
  get count(): number {
    return this.#count;
  }

  /** The value of a setting or a variable, as it may be shown; one that is called a secret is remembered. */
  shown<Value extends string | null | undefined>(name: string, value: Value): Value | string {
    if (value === null || value === undefined || value === "" || !isSecretName(name)) return value;
    this.#count++;
    this.learn(value);
    return REMOVED;
  }

  /** Remembers a secret, and the secrets within: of a JAAS line or a URL the password. */
  learn(secret: string): void {
    const parts = [secret, ...secret.split(/[\r\n]+/)];
    for (const [, value] of secret.matchAll(/[\w.]+\s*=\s*"?([^";\s]+)"?/g)) parts.push(value!);
    for (const [, value] of secret.matchAll(/:([^:@/\s]+)@/g)) parts.push(value!);
    for (const part of parts) this.#remember(part.trim());
  }

  #remember(secret: string): void {
    const least = /^\d+$/.test(secret) ? MIN_KNOWN_DIGITS : MIN_KNOWN_LENGTH;
    if (secret.length < least || COMMON_VALUES.has(secret.toLowerCase())) return;
    const inJson = JSON.stringify(secret).slice(1, -1);
    const forms = [
      secret,
      inJson,
      JSON.stringify(inJson).slice(1, -1),
      encodeURIComponent(secret),
      Buffer.from(secret).toString("base64"),
    ];
    this.#known = [...new Set([...this.#known, ...forms])].toSorted((a, b) => b.length - a.length);
  }

  /** The text without what is secret in it. */
  clean(text: string): string {
    let cleaned = text;
    for (const secret of this.#known) {
      const parts = cleaned.split(secret);
      this.#count += parts.length - 1;
      cleaned = parts.join(REMOVED);
    }
    for (const { find, put } of PATTERNS) {
      cleaned = cleaned.replaceAll(
        find,
        (all: string, ...rest: (string | number | undefined)[]) => {
          // The groups, then where it was found, and in what.
          const groups = rest.slice(0, -2).map((group) => String(group ?? ""));
          const replaced = put(all, ...groups);
          if (replaced !== all) this.#count++;
          return replaced;
        },
      );
    }
    const named = withoutNamed(cleaned);
    cleaned = named.text;
    this.#count += named.count;
    return cleaned;
  }
}
