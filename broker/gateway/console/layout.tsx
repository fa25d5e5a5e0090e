/** What every page has around it: the rail with the ways through the console, and the document itself. */

import type { Child } from "hono/jsx";
import type { Assets } from "./assets.ts";

/** Where one can go from everywhere. */
const WAYS = [
  { name: "Overview", path: "/", key: "o" },
  { name: "Topics", path: "/console/topics", key: "t" },
  { name: "Groups", path: "/console/groups", key: "g" },
  { name: "Brokers", path: "/console/brokers", key: "b" },
  { name: "Metrics", path: "/console/metrics", key: "m" },
] as const;
/** One of them. */
export type Way = (typeof WAYS)[number]["name"];

/** What the document needs to know. */
export interface LayoutProps {
  readonly title: string;
  readonly way: Way | null;
  readonly assets: Assets;
  readonly version: string;
  /** The theme that was chosen; null: the system's. */
  readonly theme: string | null;
  /** Scripts besides the one of every page. */
  readonly scripts?: readonly string[];
  readonly children?: Child;
}

/** Water that comes over a dam. */
function Mark() {
  return (
    <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" aria-hidden="true">
      <path
        d="M2 7h8c3 0 3.5 2 3.5 5s.5 5 3.500 5H22"
        stroke-width="2.4"
        stroke-linecap="round"
      />
      <path d="M2 12h6.500c1.500 0 1.500 2 1.500 4" stroke-width="2.4" stroke-linecap="round" />
      <path d="M2 21h20" stroke-width="1.6" stroke-linecap="round" opacity=".45" />
    </svg>
  );
}

/** The whole document. */
export function Layout(
  { title, way, assets, version, theme, scripts = [], children }: LayoutProps,
) {
  return (
    <html lang="en" data-theme={theme ?? undefined}>
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover" />
        <title>{title} · weir</title>
        <link rel="icon" href="/console/icon.svg" type="image/svg+xml" />
        <link rel="stylesheet" href={assets.path("style.css")} />
        <script type="module" src={assets.path("console.js")}></script>
        {scripts.map((name) => <script type="module" src={assets.path(name)}></script>)}
      </head>
      <body>
        <a class="skip" href="#main">Skip to the content</a>
        <header class="rail">
          <a class="wordmark" href="/">
            <Mark />weir
          </a>
          <nav aria-label="Console">
            <ul>
              {WAYS.map(({ name, path, key }) => (
                <li>
                  <a href={path} data-key={key} aria-current={name === way ? "page" : undefined}>
                    {name}
                  </a>
                </li>
              ))}
            </ul>
          </nav>
          <footer>
            <button type="button" class="plain" data-theme-switch>Dark or light</button>
            <button type="button" class="plain about" data-open="keys">Keyboard</button>
            <a class="about" href="/docs">HTTP API</a>
            <span class="about">weir {version}</span>
          </footer>
        </header>
        <main id="main" tabindex={-1}>{children}</main>
        <KeysDialog />
        <div class="unseen" role="status" aria-live="polite" id="announce"></div>
      </body>
    </html>
  );
}

const KEYS: readonly (readonly [string, string])[] = [
  ["/", "Go to the search field"],
  ["g then o, t, g, b, m", "Overview, topics, groups, brokers, metrics"],
  ["j and k", "Next and previous message"],
  ["Enter", "Open or close the message"],
  ["l", "Follow the topic live, or stop"],
  ["?", "These keys"],
];

function KeysDialog() {
  return (
    <dialog id="keys" aria-labelledby="keysTitle">
      <h2 id="keysTitle">Keyboard</h2>
      <table>
        <tbody>
          {KEYS.map(([keys, what]) => (
            <tr>
              <th scope="row">
                <kbd>{keys}</kbd>
              </th>
              <td>{what}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <form method="dialog" class="pager">
        <button type="submit">Close</button>
      </form>
    </dialog>
  );
}

/** The mark as a file, for the browser's tab. */
export const ICON =
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#1a8294" ` +
  `stroke-linecap="round"><path d="M2 7h8c3 0 3.500 2 3.500 5s.5 5 3.500 5H22" stroke-width="2.6"/>` +
  `<path d="M2 12h6.500c1.500 0 1.500 2 1.500 4" stroke-width="2.6"/></svg>`;
