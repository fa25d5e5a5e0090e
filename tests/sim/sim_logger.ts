/** Loggers for tests: one that keeps its lines to be looked at, one that hands them on as text. */

import { AssertionError } from "node:assert";
import type { Logger } from "../../storage/platform.ts";

/** One log line. */
export interface LogLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly component: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Keeps every line in `lines`, children's included. */
export class SimLogger implements Logger {
  readonly lines: LogLine[];
  readonly #component: string;

  constructor(component = "", lines: LogLine[] = []) {
    this.#component = component;
    this.lines = lines;
  }

  debug(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({
      level: "debug",
      component: this.#component,
      message,
      fields,
    });
  }
  info(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({
      level: "info",
      component: this.#component,
      message,
      fields,
    });
  }
  warn(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({
      level: "warn",
      component: this.#component,
      message,
      fields,
    });
  }
  error(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.lines.push({
      level: "error",
      component: this.#component,
      message,
      fields,
    });
  }
  child(component: string): Logger {
    return new SimLogger(
      this.#component === "" ? component : `${this.#component}.${component}`,
      this.lines,
    );
  }
}

/** Hands each line on as text and keeps none. */
export class TracedLogger implements Logger {
  readonly #trace: ((line: string) => void) | null;
  readonly #onBug: (bug: Error) => void;

  /** With null for `trace` lines go nowhere; `onBug` is told of every assertion that a line tells of. */
  constructor(trace: ((line: string) => void) | null, onBug: (bug: Error) => void = () => {}) {
    this.#trace = trace;
    this.#onBug = onBug;
  }

  debug(): void {}
  info(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.#trace?.(`  ${message} ${JSON.stringify(fields)}`);
  }
  warn(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.info(message, fields);
  }
  error(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.info(message, fields);
    for (let { error } = fields; error instanceof Error; error = error.cause) {
      if (error instanceof AssertionError) this.#onBug(error);
    }
  }
  child(): Logger {
    return this;
  }
}
