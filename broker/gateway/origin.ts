/**
 * Whether a request was made by a page of another origin, which a browser sends along without asking whom it visits.
 *
 * Browsers say so in `Sec-Fetch-Site`, and those that do not yet in `Origin`; neither can be set by a page. Programs that
 * are no browsers send neither, and are let through: nobody's page speaks through them.
 */

/** Returns: null for a request of our own pages or of a program; else who made it. */
export function foreignOrigin(request: Request): string | null {
  const { headers } = request;
  const site = headers.get("Sec-Fetch-Site");
  const origin = headers.get("Origin");
  if (site === "cross-site" || site === "same-site") return origin ?? "another site";
  if (site !== null || origin === null) return null;
  const host = headers.get("Host") ?? new URL(request.url).host;
  return URL.parse(origin)?.host === host ? null : origin;
}
