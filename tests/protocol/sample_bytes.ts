/** Bytes to compress, the same in every test of the codecs. */

/** Half noise, half repetition, so that every codec has literals and matches. */
export function sample(byteCount: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(byteCount);
  let state = seed;
  for (let i = 0; i < byteCount; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = (i >> 7) % 2 === 0 ? state >>> 24 : i % 50;
  }
  return bytes;
}
