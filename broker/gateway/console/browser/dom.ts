/** The few things that all scripts of the console do with the document. */

/** Attributes of an element; false and null leave one out. */
type Attributes = Readonly<Record<string, string | number | boolean | null>>;

/** Makes an element. Texts stay texts: nothing is ever read as HTML. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null) {
      made.setAttribute(name, value === true ? "" : `${value}`);
    }
  }
  made.append(...children);
  return made;
}

/** The first element that fits. Errors: Error where the page has none. */
export function need<T extends Element = HTMLElement>(
  selector: string,
  within: ParentNode = document,
): T {
  const found = within.querySelector<T>(selector);
  if (found === null) throw new Error(`The page has no ${selector}`);
  return found;
}

/** Says something to those who hear the page. */
export function announce(text: string): void {
  need("#announce").textContent = text;
}

/** Puts a text on the clipboard, also where a page over plain HTTP may not use the newer way. */
export async function copyText(text: string, button: HTMLElement): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = element("textarea", { class: "unseen" });
    field.value = text;
    (button.closest("dialog") ?? document.body).append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  const before = button.textContent;
  button.textContent = "Copied";
  announce("Copied");
  setTimeout(() => button.textContent = before, 1200);
}

/** Hands the user a file. */
export function saveFile(name: string, type: string, parts: readonly BlobPart[]): void {
  const url = URL.createObjectURL(new Blob([...parts], { type }));
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** The text of a failed answer: the detail of its problem, where it has one. */
export async function problemOf(response: Response): Promise<string> {
  try {
    const { detail } = await response.json();
    return typeof detail === "string" ? detail : `HTTP ${response.status}`;
  } catch {
    return `HTTP ${response.status}`;
  }
}
