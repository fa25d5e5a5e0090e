/** When the samples of a ring were taken: which slot of its columns is the next, and which hold what is asked for. */

/** Slots of a ring, by the times of what is in them. */
export class SampleTimes {
  readonly #times: Float64Array;
  #count = 0;
  #next = 0;

  /** Shape: a capacity of at least 1. */
  constructor(capacity: number) {
    this.#times = new Float64Array(capacity);
  }

  /** Takes the next slot; the oldest sample makes room. Units: seconds since the epoch. */
  add(atSeconds: number): number {
    const slot = this.#next;
    const capacity = this.#times.length;
    this.#times[slot] = atSeconds;
    this.#next = (slot + 1) % capacity;
    this.#count = Math.min(this.#count + 1, capacity);
    return slot;
  }

  /** The slot of the newest sample; null where there is none. */
  get newest(): number | null {
    return this.#count === 0 ? null : (this.#next - 1 + this.#times.length) % this.#times.length;
  }

  /** Slots of the samples from a time on, oldest first. Units: seconds since the epoch. */
  since(seconds: number): number[] {
    const capacity = this.#times.length;
    const first = this.#next - this.#count + capacity;
    return Array.from({ length: this.#count }, (_, index) => (first + index) % capacity)
      .filter((slot) => this.at(slot) >= seconds);
  }

  /** When a slot's sample was taken. Units: seconds since the epoch. */
  at(slot: number): number {
    return this.#times[slot] ?? 0;
  }
}
