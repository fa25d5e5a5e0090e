/**
 * What has come of a body, or of one record of a stream, with the room that it takes.
 *
 * Only bytes that have come count, so that a client that announces much and sends nothing holds nothing. Small ones are
 * always let in; one that grows beyond `SMALL_BYTES` takes room, which all clients share. Who finds none is refused, and
 * does not wait: those that hold a part could wait for each other.
 */

import type { ByteRoom } from "../client/byte_room.ts";
import { ProblemError } from "./problem.ts";

const SMALL_BYTES = 32 * 1024;

/** Bounds on bodies. */
export interface BodyBounds {
  readonly maxBytes: number;
  readonly room: ByteRoom;
}

/** Bytes that are all there. */
export interface WholeBytes {
  /** Views where they came in one piece. */
  readonly bytes: Uint8Array;
  /** Gives their room back; to be called once. */
  readonly release: () => void;
}

/** Gathers pieces. */
export class HeldBytes {
  readonly #bounds: BodyBounds;
  #pieces: Uint8Array[] = [];
  #byteCount = 0;
  #takenBytes = 0;

  constructor(bounds: BodyBounds) {
    this.#bounds = bounds;
  }

  /** Errors: ProblemError: too large (413), or no room for it (503). */
  add(piece: Uint8Array): void {
    const { maxBytes, room } = this.#bounds;
    this.#byteCount += piece.length;
    if (this.#byteCount > maxBytes) throw tooLarge(maxBytes);
    this.#pieces.push(piece);
    const missingBytes = this.#byteCount - this.#takenBytes;
    if (this.#byteCount <= SMALL_BYTES) return;
    if (!room.tryTake(missingBytes)) {
      throw new ProblemError(
        503,
        "Cannot read a large body now: others fill the room for them (weir.gateway.memory.bytes)",
      );
    }
    this.#takenBytes += missingBytes;
  }

  /** All of it; what comes next is something else. */
  end(): WholeBytes {
    const [first] = this.#pieces;
    const bytes = this.#pieces.length === 1 ? first! : Buffer.concat(this.#pieces);
    const whole = { bytes, release: this.#release() };
    this.#pieces = [];
    this.#byteCount = 0;
    return whole;
  }

  /** Nothing more comes, and what came is not wanted. */
  drop(): void {
    this.#release()();
  }

  #release(): () => void {
    const takenBytes = this.#takenBytes;
    this.#takenBytes = 0;
    return takenBytes === 0 ? () => {} : () => this.#bounds.room.giveBack(takenBytes);
  }
}

/** The error of a body, or of a record, that is larger than allowed. */
export function tooLarge(maxBytes: number): ProblemError {
  return new ProblemError(
    413,
    `Cannot read the body: it is larger than ${maxBytes} bytes (weir.gateway.max.body.bytes)`,
  );
}
