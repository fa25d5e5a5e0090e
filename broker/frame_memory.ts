/**
 * The memory of received bytes, given back as soon as the last request in it is over.
 *
 *     chunk  [ frame ][ frame ][ fra      ── a holder for each frame that lies whole in it
 *
 * A chunk that nobody looks at any more would lie there until the next collection: under load tens of megabytes of
 * them, all of which are paged in anew instead of the few that are still warm. The collector goes by what was allocated
 * and not by what is left, so that it does not come later for it.
 */

/** Less is not worth it: the objects around the bytes are as large then. */
const MIN_BYTES = 16 * 1024;

/** The memory of one chunk, or of one frame that spans chunks. */
export class FrameMemory {
  #buffer: ArrayBuffer | null;
  #holderCount = 0;

  private constructor(buffer: ArrayBuffer) {
    this.#buffer = buffer;
  }

  /** Of a chunk that the caller owns; null where it is small, or a part of something else. */
  static of(chunk: Uint8Array): FrameMemory | null {
    const isWhole = chunk.byteLength === chunk.buffer.byteLength;
    return isWhole ? FrameMemory.ofFrame(chunk) : null;
  }

  /** Of a frame that has its memory for itself; null where it is small. */
  static ofFrame({ buffer }: Uint8Array): FrameMemory | null {
    const isFreed = buffer.byteLength >= MIN_BYTES && buffer instanceof ArrayBuffer;
    return isFreed ? new FrameMemory(buffer) : null;
  }

  /** One more looks at it. */
  hold(): void {
    this.#holderCount++;
  }

  /** One less; with the last one it is given back, and what still views it has no bytes. */
  letGo(): void {
    if (--this.#holderCount > 0) return;
    this.#buffer?.transfer(0);
    this.#buffer = null;
  }

  /** Leaves it to the collector: somebody may look at it later. */
  keep(): void {
    this.#buffer = null;
  }
}

/** The memory of an answer whose caller says when it has looked at all of it. */
export class AnswerLoan {
  #memory: FrameMemory | null = null;

  /** For the connection: where the answer lies; null where that is left to the collector. */
  lend(memory: FrameMemory | null): void {
    this.#memory = memory;
    memory?.hold();
  }

  /** The answer's bytes are not looked at any more. */
  giveBack(): void {
    this.#memory?.letGo();
    this.#memory = null;
  }
}
