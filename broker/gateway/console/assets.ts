/** What the console's pages are made of besides HTML: a style sheet and small scripts, all of them in the executable. */

/** One file that a page loads. */
export interface Asset {
  readonly name: string;
  readonly contentType: string;
  readonly body: string;
  /** Of the body: part of its address, so that a browser may keep it for ever. */
  readonly hash: string;
}

/** Makes them ready; from sources that means to bundle the scripts. */
export type LoadAssets = () => Promise<readonly Asset[]>;

/** The files that pages name. */
export class Assets {
  readonly #byName: ReadonlyMap<string, Asset>;

  constructor(assets: readonly Asset[]) {
    this.#byName = new Map(assets.map((asset) => [asset.name, asset]));
  }

  /** Where a page finds a file. */
  path(name: string): string {
    return `/console/assets/${this.#byName.get(name)?.hash ?? "none"}/${name}`;
  }

  /** Returns: null for a name or a hash that is not there. */
  find(hash: string, name: string): Asset | null {
    const asset = this.#byName.get(name);
    return asset?.hash === hash ? asset : null;
  }
}
