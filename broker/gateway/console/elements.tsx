/** Small things that several pages are made of. */

import type { Child } from "hono/jsx";
import { faultOf } from "../problem.ts";

/** What there is to say where there is nothing to show: why, and what to do first. */
export function Empty({ title, children }: { readonly title: string; readonly children?: Child }) {
  return (
    <div class="empty">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

/** Lines to run elsewhere, with a button that copies them. */
export function Snippet({ label, text }: { readonly label: string; readonly text: string }) {
  return (
    <div class="snippet">
      <pre tabindex={0} aria-label={label}><code>{text}</code></pre>
      <button type="button" class="copy" data-copy={text} aria-label={`Copy: ${label}`}>
        Copy
      </button>
    </div>
  );
}

/** One number with its name. */
export interface Figure {
  readonly name: string;
  readonly value: Child;
  /** What it is counted in, small behind it. */
  readonly unit?: string;
  /** Set where it is not as it should be. */
  readonly tone?: "warn" | "bad" | undefined;
}

/** Numbers side by side. */
export function Figures({ figures }: { readonly figures: readonly Figure[] }) {
  return (
    <dl class="figures">
      {figures.map(({ name, value, unit, tone }) => (
        <div>
          <dt>{name}</dt>
          <dd class={tone === undefined ? undefined : `${tone}Text`}>
            {value}
            {unit === undefined ? null : <small>{unit}</small>}
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** A table that scrolls by itself where it is wider than the screen. */
export function Table(
  { caption, head, children }: {
    /** Said to those who do not see it. */
    readonly caption: string;
    readonly head: readonly Column[];
    readonly children?: Child;
  },
) {
  return (
    <div class="scroll" role="region" aria-label={caption} tabindex={0}>
      <table>
        <caption class="unseen">{caption}</caption>
        <thead>
          <tr>
            {head.map(({ name, isNumber, isWide }) => (
              <th scope="col" class={classes(isNumber && "num", isWide && "wide")}>{name}</th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

/** A column of `Table`. */
export interface Column {
  readonly name: string;
  readonly isNumber?: boolean;
  /** Left out on narrow screens; its cells need the class `wide`. */
  readonly isWide?: boolean;
}

/** The class attribute of those that are not false. */
export function classes(...names: readonly (string | false | undefined)[]): string | undefined {
  const set = names.filter((name) => typeof name === "string");
  return set.length === 0 ? undefined : set.join(" ");
}

/** A part of a list, and the ways to the parts before and after it. */
export function Pager(
  { page, pageCount, total, what, path }: {
    readonly page: number;
    readonly pageCount: number;
    readonly total: string;
    readonly what: string;
    readonly path: (page: number) => string;
  },
) {
  if (pageCount <= 1) return <p class="pager">{total}</p>;
  return (
    <nav class="pager" aria-label={`Pages of ${what}`}>
      <span>{total}, page {page} of {pageCount}</span>
      {page > 1 ? <a href={path(page - 1)} rel="prev">Previous</a> : null}
      {page < pageCount ? <a href={path(page + 1)} rel="next">Next</a> : null}
    </nav>
  );
}

/** The head of a page. */
export function PageHead(
  { title, about, isName = false, crumb, children }: {
    readonly title: string;
    readonly about?: Child;
    /** True where the title is a name in the cluster, not a word of ours. */
    readonly isName?: boolean;
    readonly crumb?: { readonly name: string; readonly path: string };
    readonly children?: Child;
  },
) {
  return (
    <div class="pagehead">
      <div>
        {crumb === undefined ? null : <a class="crumb" href={crumb.path}>{crumb.name}</a>}
        <h1 class={isName ? "name" : undefined}>{title}</h1>
      </div>
      {children === undefined ? null : <div class="bar">{children}</div>}
      {about === undefined ? null : <div class="about">{about}</div>}
    </div>
  );
}

/** Why a form was not carried out; nothing where nothing went wrong. Errors: what is no answer of the cluster. */
export function FormFault({ what, error }: { readonly what: string; readonly error: unknown }) {
  if (error === null) return null;
  const fault = faultOf(error);
  if (fault === null) throw error;
  return (
    <div class="fault" role="alert">
      <b>{what}</b>
      <p>{fault.detail}</p>
    </div>
  );
}

/** Views of one thing. */
export function Tabs(
  { label, tabs, current }: {
    readonly label: string;
    readonly tabs: readonly { readonly name: string; readonly path: string }[];
    readonly current: string;
  },
) {
  return (
    <nav aria-label={label}>
      <ul class="tabs">
        {tabs.map(({ name, path }) => (
          <li>
            <a href={path} aria-current={name === current ? "page" : undefined}>{name}</a>
          </li>
        ))}
      </ul>
    </nav>
  );
}
