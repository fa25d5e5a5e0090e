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
/** What is no secret whatever it is the value of. */
const COMMON_VALUES = new Set([
  "true",
  "false",
  "none",
  "null",
  "undefined",
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
  readonly put: (all: string, ...groups: readonly string[]) => string;
}

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
    find: /\b(Bearer|Basic|Negotiate|Digest)\s{1,4}[A-Za-z0-9._~+/=-]{6,}/gi,
    put: (_, scheme) => `${scheme} ${REMOVED}`,
  },
  // JWTs, and what is left of one that was cut.
  { find: /\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}/g, put: () => REMOVED },
  { find: /\b(?:AKIA|ASIA)[A-Z0-9]{12,}/g, put: () => REMOVED },
  {
    find:
      /\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|sk_live_|rk_live_|hv[sb]\.)[\w.-]{8,}/g,
    put: () => REMOVED,
  },
  // password = "…", "token": "…", --secret=…, &sig=…; in JSON within JSON as well.
  {
    find:
      /((?:passw(?:or)?d|passphrase|pwd|secret|token|jaas\.config|credentials?|api[_-]?key|access[_-]?key|private[._-]?key|authorization|(?<=[?&])sig)[\w.-]{0,64}\\?["']?\s{0,4}[=:]\s{0,4})(\[removed\]|\\"(?:[^"\\\n]|\\[^"\n])*(?:\\")?|"(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?|[^\s,;&"'}\]]+)/gi,
    put: (all, before, value) =>
      isHarmless(before!, value!) ? all : `${before}${quotedLike(value!)}`,
  },
  // Long words of many kinds of characters: keys and tokens that nobody has a pattern for. UUIDs have dashes, ids of
  // clusters and topics 22 characters, and deleted directories end on a suffix.
  {
    find: /(?<![A-Za-z0-9_+=])[A-Za-z0-9_+=]{32,}/g,
    put: (word) =>
      /[a-z]/.test(word) && /[A-Z]/.test(word) && /\d[^\d]*\d/.test(word) ? REMOVED : word,
  },
  {
    find: /(?<![A-Za-z0-9])[0-9a-f]{32,}(?!-(?:delete|stray|future)|[A-Za-z0-9])/g,
    put: () => REMOVED,
  },
];

function isHarmless(before: string, value: string): boolean {
  const name = before.replace(/\\?["']?\s*[=:]\s*$/, "");
  const bare = value.replaceAll(/[\\"']/g, "");
  return HARMLESS_NAME.test(name) || bare === REMOVED || bare === "" || COMMON_VALUES.has(bare);
}

/** A value that was quoted stays so, or the JSON around it would be none. */
function quotedLike(value: string): string {
  const quote = /^\\?["']/.exec(value)?.[0] ?? "";
  return `${quote}${REMOVED}${quote}`;
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
    const forms = [
      secret,
      JSON.stringify(secret).slice(1, -1),
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
      cleaned = cleaned.replaceAll(find, (all: string, ...groups: (string | number)[]) => {
        const replaced = put(all, ...groups.filter((group) => typeof group === "string"));
        if (replaced !== all) this.#count++;
        return replaced;
      });
    }
    return cleaned;
  }
}
