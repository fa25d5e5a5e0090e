/**
 * The page to try the API at: it reads `/openapi.json` and shows each operation with a form. All of it is here; it asks
 * nobody but this gateway for anything.
 */

/** The page. */
export const DOCS_PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>weir: the HTTP API</title>
<link rel="stylesheet" href="/docs/docs.css">
<script type="module" src="/docs/docs.js"></script>
</head>
<body>
<header>
<h1>weir <small id="version"></small></h1>
<p id="description">The HTTP API, from <a href="/openapi.json">openapi.json</a>.</p>
<label>Find <input id="find" type="search" autocomplete="off"></label>
</header>
<main id="operations"><noscript>This page needs JavaScript; /openapi.json does not.</noscript></main>
</body>
</html>
`;

/** Its style, in light and dark. */
export const DOCS_STYLE = `:root {
  color-scheme: light dark;
  --line: light-dark(#d0d5db, #3b434d);
  --soft: light-dark(#f4f6f8, #1d2228);
  --accent: light-dark(#0b63b0, #7ab8f5);
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 60rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif;
  background: light-dark(#fff, #14181c); color: light-dark(#1b1f24, #e4e8ec);
}
a { color: var(--accent); }
h2 { margin: 2rem 0 .5rem; font-size: 1.1rem; }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .4rem 0; }
summary { cursor: pointer; padding: .5rem .75rem; overflow-wrap: anywhere; }
summary b { display: inline-block; min-width: 4.2rem; font-family: ui-monospace, monospace; }
summary code { font-family: ui-monospace, monospace; }
summary span { display: block; opacity: .8; }
form { padding: 0 .75rem .75rem; display: grid; gap: .5rem; }
label { display: grid; gap: .15rem; }
label small { opacity: .8; }
input, textarea, select, button { font: inherit; padding: .35rem .5rem; max-width: 100%; }
textarea { font-family: ui-monospace, monospace; min-height: 8rem; }
button { justify-self: start; cursor: pointer; }
pre {
  background: var(--soft); padding: .75rem; overflow: auto; max-height: 30rem; margin: 0;
  border-radius: .4rem; white-space: pre-wrap; overflow-wrap: anywhere;
}
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
`;

/** What it does. A stream is shown as it comes, up to a bound, until it is stopped. */
export const DOCS_SCRIPT = `const MAX_SHOWN = 200_000;
const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

function field({ name, in: place, required, description, schema }) {
  const choices = schema.enum;
  const input = choices === undefined
    ? element("input", { name, required, value: schema.default ?? "", autocomplete: "off" })
    : element("select", { name }, ...["", ...choices].map((it) => element("option", {}, it)));
  input.dataset.place = place;
  const kind = [place, schema.type, required ? "required" : ""].filter(Boolean).join(", ");
  return element(
    "label",
    {},
    element("span", {}, name + " ", element("small", {}, kind)),
    ...(description ? [element("small", {}, description)] : []),
    input,
  );
}

function requestOf(path, method, form, bodyType) {
  let url = path;
  const query = new URLSearchParams();
  for (const input of form.querySelectorAll("[data-place]")) {
    if (input.dataset.place === "path") {
      url = url.replace("{" + input.name + "}", encodeURIComponent(input.value));
    } else if (input.value !== "") query.set(input.name, input.value);
  }
  if (query.size > 0) url += "?" + query;
  const body = form.querySelector("textarea")?.value;
  const headers = body === undefined ? {} : { "Content-Type": bodyType };
  return { url, options: { method: method.toUpperCase(), headers, ...(body !== undefined && { body }) } };
}

async function show(response, output) {
  const type = response.headers.get("Content-Type") ?? "";
  const body = element("span");
  output.append(response.status + " " + response.statusText + "\\n" + type + "\\n\\n", body);
  if (response.body === null) return;
  let text = "";
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (text.length > MAX_SHOWN) text = "…" + text.slice(-MAX_SHOWN);
    body.textContent = text;
    output.scrollTop = output.scrollHeight;
  }
  try {
    body.textContent = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // It is shown as it came.
  }
  output.scrollTop = 0;
}

function section(path, method, operation) {
  const bodies = Object.entries(operation.requestBody?.content ?? {});
  const [bodyType, body] = bodies[0] ?? [];
  const output = element("pre", { hidden: true, tabIndex: 0 });
  output.setAttribute("aria-live", "polite");
  const send = element("button", { type: "submit" }, "Send");
  const form = element(
    "form",
    {},
    ...(operation.description ? [element("p", {}, operation.description)] : []),
    ...(operation.parameters ?? []).map(field),
    ...(body === undefined ? [] : [element(
      "label",
      {},
      "body",
      element("textarea", { spellcheck: false, value: JSON.stringify(body.example ?? {}, null, 2) }),
    )]),
    send,
    output,
  );
  let stop = null;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (stop !== null) return stop.abort();
    stop = new AbortController();
    send.textContent = "Stop";
    output.hidden = false;
    output.textContent = "";
    try {
      const { url, options } = requestOf(path, method, form, bodyType);
      await show(await fetch(url, { ...options, signal: stop.signal }), output);
    } catch (error) {
      output.append("\\n" + (stop.signal.aborted ? "stopped" : error.message));
    }
    stop = null;
    send.textContent = "Send";
  });
  const head = element(
    "summary",
    {},
    element("b", {}, method.toUpperCase()),
    element("code", {}, path),
    element("span", {}, operation.summary),
  );
  return element("details", { id: operation.operationId }, head, form);
}

async function fillCluster(root) {
  const response = await fetch("/v3/clusters");
  if (!response.ok) return;
  const { data: [cluster] } = await response.json();
  for (const input of root.querySelectorAll('[name="cluster_id"]')) input.value = cluster.cluster_id;
}

const api = await (await fetch("/openapi.json")).json();
document.querySelector("#version").textContent = api.info.version;
document.querySelector("#description").prepend(api.info.description + " ");
const root = document.querySelector("#operations");
for (const { name } of api.tags) {
  const all = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, operation]) => operation.tags.includes(name))
      .map(([method, operation]) => section(path, method, operation))
  );
  root.append(element("section", {}, element("h2", {}, name), ...all));
}
document.querySelector("#find").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const one of root.querySelectorAll("details")) {
    one.hidden = !one.querySelector("summary").textContent.toLowerCase().includes(wanted);
  }
  for (const one of root.querySelectorAll("section")) {
    one.hidden = one.querySelector("details:not([hidden])") === null;
  }
});
document.getElementById(location.hash.slice(1))?.setAttribute("open", "");
await fillCluster(root);
`;
