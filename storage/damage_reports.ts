/**
 * The damaged places of one log that have been told, each once: by whoever meets them first, a reader or the
 * scrub. Places of segments that are gone are forgotten. Bounded: a disk that falls to pieces is not told
 * place by place.
 */

/** Places remembered. */
const MAX_PLACES = 100;

/** The places of one log. */
export class DamageReports {
  /** Positions by the file's path. */
  readonly #places = new Map<string, Set<number>>();
  #count = 0;

  /** How many places are known. */
  get count(): number {
    return this.#count;
  }

  /** True when the place was noted. */
  has(path: string, position: number): boolean {
    return this.#places.get(path)?.has(position) === true;
  }

  /** Notes a place. Returns: true when it is to be told. */
  add(path: string, position: number): boolean {
    const known = this.#places.get(path);
    if (known?.has(position) === true || this.#count === MAX_PLACES) return false;
    if (known === undefined) this.#places.set(path, new Set([position]));
    else known.add(position);
    this.#count++;
    return true;
  }

  /** Forgets the places of a file from `position` on, which are gone. */
  forget(path: string, position = 0): void {
    const known = this.#places.get(path);
    if (known === undefined) return;
    for (const place of known) {
      if (place < position) continue;
      known.delete(place);
      this.#count--;
    }
    if (known.size === 0) this.#places.delete(path);
  }

  /** Forgets all. */
  clear(): void {
    this.#places.clear();
    this.#count = 0;
  }
}
