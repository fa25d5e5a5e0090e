/**
 * XXH3, 64 bits, seed 0: the hash by which a group's records say which state of its topics they rest on.
 *
 * Kafka 4.1 and later write it, so both must compute the same. Made for inputs of a few kilobytes that are hashed
 * when topics change, not for record data: the arithmetic is that of bigint.
 *
 *     0 │ 1–3 │ 4–8 │ 9–16 │ 17–128 │ 129–240 │ longer: stripes of 64 bytes into 8 lanes, scrambled every 16
 *
 * Source: xxHash 0.8 specification (doc/xxhash_spec.md), XXH3 with its default secret.
 */

const PRIME32_1 = 0x9e3779b1n;
const PRIME32_2 = 0x85ebca77n;
const PRIME32_3 = 0xc2b2ae3dn;
const PRIME64_1 = 0x9e3779b185ebca87n;
const PRIME64_2 = 0xc2b2ae3d27d4eb4fn;
const PRIME64_3 = 0x165667b19e3779f9n;
const PRIME64_4 = 0x85ebca77c2b2ae63n;
const PRIME64_5 = 0x27d4eb2f165667c5n;
const PRIME_MX1 = 0x165667919e3779f9n;
const PRIME_MX2 = 0x9fb21c651e98df25n;

/** The 192 bytes of the default secret. */
const SECRET = new DataView(
  Uint8Array.fromHex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221" +
      "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8" +
      "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb" +
      "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e",
  ).buffer,
);
const STRIPE_BYTES = 64;
const LANES = 8;
/** (192 − 64) / 8: how often the secret moves on within a block. */
const STRIPES_PER_BLOCK = 16;

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);

function secret64(at: number): bigint {
  return SECRET.getBigUint64(at, true);
}

/** The product's two halves, folded into one another. */
function fold128(left: bigint, right: bigint): bigint {
  const product = left * right;
  return wrap(product) ^ (product >> 64n);
}

function avalanche(hash: bigint): bigint {
  const mixed = wrap((hash ^ (hash >> 37n)) * PRIME_MX1);
  return mixed ^ (mixed >> 32n);
}

function avalanche64(hash: bigint): bigint {
  let mixed = wrap((hash ^ (hash >> 33n)) * PRIME64_2);
  mixed = wrap((mixed ^ (mixed >> 29n)) * PRIME64_3);
  return mixed ^ (mixed >> 32n);
}

function byteSwap(value: bigint): bigint {
  SWAP.setBigUint64(0, value, true);
  return SWAP.getBigUint64(0, false);
}
const SWAP = new DataView(new ArrayBuffer(8));

/** XXH3 of `bytes`. Returns: 64 bits as a signed bigint, as Java's long. */
export function xxh3(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return BigInt.asIntN(64, hashOf(view, bytes.length));
}

function hashOf(view: DataView, length: number): bigint {
  if (length > 240) return hashLong(view, length);
  if (length > 128) return hash129to240(view, length);
  if (length > 16) return hash17to128(view, length);
  if (length > 8) return hash9to16(view, length);
  if (length >= 4) return hash4to8(view, length);
  if (length > 0) return hash1to3(view, length);
  return avalanche64(secret64(56) ^ secret64(64));
}

function hash1to3(view: DataView, length: number): bigint {
  const first = view.getUint8(0);
  const combined = (first << 16) | (view.getUint8(length >> 1) << 24) |
    view.getUint8(length - 1) | (length << 8);
  const flip = BigInt((SECRET.getUint32(0, true) ^ SECRET.getUint32(4, true)) >>> 0);
  return avalanche64(BigInt(combined >>> 0) ^ flip);
}

function hash4to8(view: DataView, length: number): bigint {
  const first = BigInt(view.getUint32(0, true));
  const last = BigInt(view.getUint32(length - 4, true));
  let mixed = (last + (first << 32n)) ^ (secret64(8) ^ secret64(16));
  mixed ^= wrap((mixed << 49n) | (mixed >> 15n)) ^ wrap((mixed << 24n) | (mixed >> 40n));
  mixed = wrap(mixed * PRIME_MX2);
  mixed ^= (mixed >> 35n) + BigInt(length);
  mixed = wrap(mixed * PRIME_MX2);
  return mixed ^ (mixed >> 28n);
}

function hash9to16(view: DataView, length: number): bigint {
  const low = view.getBigUint64(0, true) ^ (secret64(24) ^ secret64(32));
  const high = view.getBigUint64(length - 8, true) ^ (secret64(40) ^ secret64(48));
  return avalanche(wrap(BigInt(length) + byteSwap(low) + high + fold128(low, high)));
}

function mix16(view: DataView, at: number, secretAt: number): bigint {
  return fold128(
    view.getBigUint64(at, true) ^ secret64(secretAt),
    view.getBigUint64(at + 8, true) ^ secret64(secretAt + 8),
  );
}

function hash17to128(view: DataView, length: number): bigint {
  let hash = BigInt(length) * PRIME64_1;
  for (let i = (length - 1) >> 5; i >= 0; i--) {
    hash += mix16(view, 16 * i, 32 * i) + mix16(view, length - 16 * (i + 1), 32 * i + 16);
  }
  return avalanche(wrap(hash));
}

function hash129to240(view: DataView, length: number): bigint {
  let hash = BigInt(length) * PRIME64_1;
  const rounds = length >> 4;
  for (let i = 0; i < 8; i++) hash += mix16(view, 16 * i, 16 * i);
  hash = avalanche(wrap(hash));
  for (let i = 8; i < rounds; i++) hash += mix16(view, 16 * i, 16 * (i - 8) + 3);
  hash += mix16(view, length - 16, 136 - 17);
  return avalanche(wrap(hash));
}

/** Takes one stripe into the lanes. */
function accumulate(lanes: bigint[], view: DataView, at: number, secretAt: number): void {
  for (let lane = 0; lane < LANES; lane++) {
    const value = view.getBigUint64(at + 8 * lane, true);
    const keyed = value ^ secret64(secretAt + 8 * lane);
    lanes[lane ^ 1] = wrap(lanes[lane ^ 1]! + value);
    lanes[lane] = wrap(lanes[lane]! + (keyed & 0xffff_ffffn) * (keyed >> 32n));
  }
}

function scramble(lanes: bigint[]): void {
  for (let lane = 0; lane < LANES; lane++) {
    const value = lanes[lane]!;
    lanes[lane] = wrap((value ^ (value >> 47n) ^ secret64(128 + 8 * lane)) * PRIME32_1);
  }
}

function hashLong(view: DataView, length: number): bigint {
  const lanes = [
    PRIME32_3,
    PRIME64_1,
    PRIME64_2,
    PRIME64_3,
    PRIME64_4,
    PRIME32_2,
    PRIME64_5,
    PRIME32_1,
  ];
  const stripes = Math.floor((length - 1) / STRIPE_BYTES);
  for (let stripe = 0; stripe < stripes; stripe++) {
    const inBlock = stripe % STRIPES_PER_BLOCK;
    accumulate(lanes, view, stripe * STRIPE_BYTES, 8 * inBlock);
    if (inBlock === STRIPES_PER_BLOCK - 1) scramble(lanes);
  }
  accumulate(lanes, view, length - STRIPE_BYTES, 192 - 64 - 7);
  let hash = BigInt(length) * PRIME64_1;
  for (let i = 0; i < 4; i++) {
    const left = lanes[2 * i]! ^ secret64(11 + 16 * i);
    hash += fold128(left, lanes[2 * i + 1]! ^ secret64(19 + 16 * i));
  }
  return avalanche(wrap(hash));
}
