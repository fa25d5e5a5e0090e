/**
 * Who may reach the gateway from inside a browser, which sends requests of a page along without asking whom it visits.
 *
 * - **Origin.** What changes something is refused when a page of another origin than the gateway's own asks for it, unless
 *   `weir.gateway.allowed.origins` names that. Browsers say so in `Sec-Fetch-Site`, and those that do not yet in
 *   `Origin`; neither can be set by a page. Programs that are no browsers send neither, and are let through: nobody's
 *   page speaks through them.
 * - **Host.** A page whose name its owner points at this machine (DNS rebinding) has the gateway's own origin, as far as
 *   a browser can tell. Names that nobody outside can make up are let through: addresses, names without a dot, private
 *   domains, the names in `listeners` and `advertised.listeners`, and those in `weir.gateway.allowed.hosts`.
 */

/** Stands for every origin, or host. */
const ANY = "*";
/** Domains that are in no public DNS. Source: RFC 6761, 6762, 8375; ICANN's resolution on `internal`. */
const PRIVATE_DOMAINS = ["localhost", "local", "internal", "home.arpa", "test", "lan"];
/** A name that a stranger chose is shown up to here. */
const MAX_SHOWN = 200;

/** Returns: null for a request of our own pages, of an allowed origin or of a program; else who made it. */
export function foreignOrigin(
  request: Request,
  allowedOrigins: readonly string[] = [],
): string | null {
  const { headers } = request;
  const site = headers.get("Sec-Fetch-Site");
  const origin = headers.get("Origin");
  if (origin !== null && isIn(allowedOrigins, origin)) return null;
  if (site === "cross-site" || site === "same-site") return origin ?? "another site";
  if (site !== null || origin === null) return null;
  const host = headers.get("Host") ?? new URL(request.url).host;
  return URL.parse(origin)?.host === host ? null : origin.slice(0, MAX_SHOWN);
}

/** Returns: null for a request to a name that is this gateway's; else the name. */
export function strangeHost(request: Request, allowedHosts: readonly string[]): string | null {
  const host = request.headers.get("Host");
  const name = host === null
    ? new URL(request.url).hostname
    : URL.parse(`http://${host}`)?.hostname;
  if (name === undefined) return host!.slice(0, MAX_SHOWN);
  return isPrivate(name) || isIn(allowedHosts, name) ? null : name.slice(0, MAX_SHOWN);
}

function isPrivate(name: string): boolean {
  const isAddress = name.startsWith("[") || /^\d+\.\d+\.\d+\.\d+$/.test(name);
  return isAddress || !name.includes(".") ||
    PRIVATE_DOMAINS.some((domain) => name.endsWith(`.${domain}`));
}

function isIn(allowed: readonly string[], name: string): boolean {
  return allowed.includes(ANY) || allowed.includes(name);
}
