/** How pages and forms are added to the console: what each is asked with, and what it gives. */

import type { Context } from "hono";
import type { Child } from "hono/jsx";
import { ClientError } from "../../client/client_error.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import type { Way } from "./layout.tsx";
import type { Part } from "./page.tsx";

/** A page, before it is put into the document. */
export interface Page {
  readonly title: string;
  readonly way: Way | null;
  readonly parts: readonly Part[];
  readonly scripts?: readonly string[];
  readonly status?: 200 | 400 | 404 | 503;
  /** Puts the parts, by their ids, in their places. */
  readonly body: (parts: Readonly<Record<string, Child>>) => Child;
}

/** Answers with a page that is made from what the cluster says. */
export type PageMaker = (context: Context, client: KafkaClient) => Page | Promise<Page>;

/** Does what a form asks for. Returns: where to go then; a page that says why not. */
export type FormTaker = (
  context: Context,
  client: KafkaClient,
  fields: FormFields,
) => Promise<{ readonly goTo: string } | Page>;

/** How pages are added to the console. */
export interface PageRoutes {
  /** Adds a page. */
  page(path: string, make: PageMaker): void;
  /** Adds what changes something; the gateway has refused pages of other origins before. */
  form(path: string, take: FormTaker): void;
}

/** The fields of a form that was sent. */
export class FormFields {
  readonly #fields: URLSearchParams;

  constructor(text: string) {
    this.#fields = new URLSearchParams(text);
  }

  /** A field without the blanks around it; empty where it was left out. */
  text(name: string): string {
    return this.#fields.get(name)?.trim() ?? "";
  }

  /** A whole number; undefined for an empty field. Errors: ClientError. */
  count(name: string): number | undefined {
    const text = this.text(name);
    if (text === "") return undefined;
    const value = Number(text);
    if (Number.isSafeInteger(value)) return value;
    throw new ClientError(`"${text}" is no whole number`);
  }

  /** All fields of a name. */
  all(name: string): string[] {
    return this.#fields.getAll(name);
  }
}
