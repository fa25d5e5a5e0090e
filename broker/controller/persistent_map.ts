/**
 * An immutable map from strings: `set` and `delete` give a new map and share all but one path with the old.
 *
 * The metadata image is such maps. A reader keeps the image that it took for as long as it likes, over any
 * number of awaits, while the controller makes newer ones; a change of one topic among 10,000 copies three
 * small arrays instead of the whole map.
 *
 * Layout (a hash array mapped trie, 5 bits of a 32-bit FNV-1a hash a level):
 *
 *     Branch { bitmap: which of the 32 slots are taken, children: one node a set bit }
 *     Leaf   { hash, entries: [key, value] pairs, more than one only where the whole hash is equal }
 */

const BITS_A_LEVEL = 5;
const SLOT_MASK = 31;
const FNV_OFFSET_BASIS = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

interface Leaf<V> {
  readonly hash: number;
  readonly entries: readonly (readonly [string, V])[];
}
interface Branch<V> {
  readonly bitmap: number;
  readonly children: readonly Node<V>[];
}
type Node<V> = Leaf<V> | Branch<V>;

function isLeaf<V>(node: Node<V>): node is Leaf<V> {
  return "entries" in node;
}

function hashOf(key: string): number {
  let hash = FNV_OFFSET_BASIS;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), FNV_PRIME);
  // FNV mixes poorly into the low bits that the first level takes.
  return (hash ^ (hash >>> 15)) | 0;
}

function bitFor(hash: number, shift: number): number {
  return 1 << ((hash >>> shift) & SLOT_MASK);
}

function countBits(bitmap: number): number {
  let bits = bitmap - ((bitmap >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

function find<V>(root: Node<V> | null, key: string): V | undefined {
  const hash = hashOf(key);
  let node = root;
  for (let shift = 0; node !== null && !isLeaf(node); shift += BITS_A_LEVEL) {
    const bit = bitFor(hash, shift);
    if ((node.bitmap & bit) === 0) return undefined;
    node = node.children[countBits(node.bitmap & (bit - 1))]!;
  }
  if (node === null || node.hash !== hash) return undefined;
  return node.entries.find((entry) => entry[0] === key)?.[1];
}

/** A branch over two leaves of different hashes. */
function join<V>(one: Leaf<V>, other: Leaf<V>, shift: number): Branch<V> {
  const oneBit = bitFor(one.hash, shift);
  const otherBit = bitFor(other.hash, shift);
  if (oneBit === otherBit) {
    return { bitmap: oneBit, children: [join(one, other, shift + BITS_A_LEVEL)] };
  }
  // Unsigned: bit 31 is the last slot, not the first.
  const ordered = oneBit >>> 0 < otherBit >>> 0 ? [one, other] : [other, one];
  return { bitmap: oneBit | otherBit, children: ordered };
}

function insert<V>(node: Node<V>, leaf: Leaf<V>, shift: number): Node<V> {
  if (isLeaf(node)) {
    if (node.hash !== leaf.hash) return join(node, leaf, shift);
    const key = leaf.entries[0]![0];
    const others = node.entries.filter((entry) => entry[0] !== key);
    return { hash: node.hash, entries: [...others, leaf.entries[0]!] };
  }
  const bit = bitFor(leaf.hash, shift);
  const at = countBits(node.bitmap & (bit - 1));
  if ((node.bitmap & bit) === 0) {
    return { bitmap: node.bitmap | bit, children: node.children.toSpliced(at, 0, leaf) };
  }
  const child = insert(node.children[at]!, leaf, shift + BITS_A_LEVEL);
  return { bitmap: node.bitmap, children: node.children.with(at, child) };
}

function without<V>(node: Node<V>, hash: number, key: string, shift: number): Node<V> | null {
  if (isLeaf(node)) {
    const entries = node.entries.filter((entry) => entry[0] !== key);
    return entries.length === 0 ? null : { hash: node.hash, entries };
  }
  const bit = bitFor(hash, shift);
  const at = countBits(node.bitmap & (bit - 1));
  const child = without(node.children[at]!, hash, key, shift + BITS_A_LEVEL);
  if (child !== null) return { bitmap: node.bitmap, children: node.children.with(at, child) };
  if (node.children.length === 1) return null;
  return { bitmap: node.bitmap & ~bit, children: node.children.toSpliced(at, 1) };
}

function* walk<V>(node: Node<V> | null): Generator<readonly [string, V]> {
  if (node === null) return;
  if (isLeaf(node)) yield* node.entries;
  else for (const child of node.children) yield* walk(child);
}

/** An immutable map from strings. Order of iteration: fixed for given keys, otherwise arbitrary. */
export class PersistentMap<V> {
  readonly size: number;
  #root: Node<V> | null;

  private constructor(root: Node<V> | null, size: number) {
    this.#root = root;
    this.size = size;
  }

  static empty<V>(): PersistentMap<V> {
    return new PersistentMap<V>(null, 0);
  }

  get(key: string): V | undefined {
    return find(this.#root, key);
  }

  has(key: string): boolean {
    return find(this.#root, key) !== undefined;
  }

  /** A map in which `key` stands for `value`, which must not be undefined. */
  set(key: string, value: V): PersistentMap<V> {
    const leaf: Leaf<V> = { hash: hashOf(key), entries: [[key, value]] };
    if (this.#root === null) return new PersistentMap(leaf, 1);
    const size = this.has(key) ? this.size : this.size + 1;
    return new PersistentMap(insert(this.#root, leaf, 0), size);
  }

  /** A map without `key`; this one when there is none. */
  delete(key: string): PersistentMap<V> {
    if (this.#root === null || !this.has(key)) return this;
    return new PersistentMap(without(this.#root, hashOf(key), key, 0), this.size - 1);
  }

  entries(): Generator<readonly [string, V]> {
    return walk(this.#root);
  }

  *keys(): Generator<string> {
    for (const entry of walk(this.#root)) yield entry[0];
  }

  *values(): Generator<V> {
    for (const entry of walk(this.#root)) yield entry[1];
  }
}
