/**
 * What lies between simulated machines: ways that are cut, in one direction or both, ways that are slow, and
 * machines without power.
 *
 *     10.0.0.1 ──── cut("10.0.0.1", "10.0.0.2"): nothing gets there ───→ 10.0.0.2
 *              ←─── the other way is open ──────────────────────────────
 *
 * As TCP does: what is sent into a cut is sent again until the way is open, in order. A connection is opened
 * only where both ways are open. A machine without power answers nothing, not even a refusal.
 */

/** The links. All ways are open and all machines up until told otherwise. */
export class SimLinks {
  readonly #cut = new Set<string>();
  readonly #delayMs = new Map<string, number>();
  readonly #down = new Set<string>();
  readonly #onChange = new Set<() => void>();

  /** Nothing sent by `from` reaches `to` any more. */
  cut(from: string, to: string): void {
    this.#cut.add(way(from, to));
  }

  /** That way is open again. */
  mend(from: string, to: string): void {
    if (this.#cut.delete(way(from, to))) this.#tell();
  }

  /** Every way is open and as fast as before. */
  heal(): void {
    this.#cut.clear();
    this.#delayMs.clear();
    this.#tell();
  }

  #tell(): void {
    for (const changed of [...this.#onChange]) changed();
  }

  /** What `from` sends to `to` takes so much longer. Units: ms. */
  slow(from: string, to: string, byMs: number): void {
    if (byMs === 0) this.#delayMs.delete(way(from, to));
    else this.#delayMs.set(way(from, to), byMs);
  }

  isCut(from: string, to: string): boolean {
    return this.#cut.size > 0 && this.#cut.has(way(from, to));
  }

  delayMs(from: string, to: string): number {
    return this.#delayMs.size === 0 ? 0 : this.#delayMs.get(way(from, to)) ?? 0;
  }

  /** The machine has power, or has none. */
  setPower(machine: string, isUp: boolean): void {
    if (isUp) this.#down.delete(machine);
    else this.#down.add(machine);
  }

  isDown(machine: string): boolean {
    return this.#down.has(machine);
  }

  /** True when what `from` sends gets to `to` now. */
  isOpen(from: string, to: string): boolean {
    return !this.isCut(from, to) && !this.isDown(to);
  }

  /** Calls `changed` once when ways open. */
  whenHealed(changed: () => void): void {
    const once = () => {
      this.#onChange.delete(once);
      changed();
    };
    this.#onChange.add(once);
  }
}

function way(from: string, to: string): string {
  return `${from}>${to}`;
}
