/**
 * Which reads are kept though nobody holds them, over all logs: the ones used last, up to a cap of bytes.
 *
 * Its logs decide what is worth keeping; it decides who has to go.
 */

/** Of a megabyte each: as many partitions whose consumers go along side by side at full speed. */
export const KEPT_READS_BYTES = 8 * 1024 * 1024;

/** A read that may be kept. */
export interface KeptRead {
  /** What its buffer takes. */
  readonly capacityBytes: number;
  /** It is not kept any more. */
  forgotten(): void;
}

/** Keeps reads. */
export class KeptReads {
  readonly capBytes: number;
  #bytes = 0;
  /** The one used last is the last. */
  readonly #reads = new Set<KeptRead>();

  constructor({ capBytes }: { readonly capBytes: number }) {
    this.capBytes = capBytes;
  }

  /** Bytes of buffers that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps one, and lets those go that were not used for longest. Larger ones than the cap are not kept. */
  keep(read: KeptRead): void {
    this.#reads.add(read);
    this.#bytes += read.capacityBytes;
    for (const oldest of this.#reads) {
      if (this.#bytes <= this.capBytes) break;
      this.drop(oldest);
    }
  }

  /** It was used just now. Does nothing for one that is not kept. */
  touch(read: KeptRead): void {
    if (this.#reads.delete(read)) this.#reads.add(read);
  }

  /** Lets one go. Does nothing for one that is not kept. */
  drop(read: KeptRead): void {
    if (!this.#reads.delete(read)) return;
    this.#bytes -= read.capacityBytes;
    read.forgotten();
  }
}
