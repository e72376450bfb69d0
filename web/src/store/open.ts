/** Opening of functasets. */

import { StoreError } from "./errors";
import type { Functaset, OpenOptions } from "./functaset";

/**
 * Open a functaset; fetches the root and descriptions of labels, no rows.
 *
 * @param url Address of the folder, such as `https://example.org/pets.functa`.
 * @throws StoreError if there is no functaset that this page can read.
 */
export async function openFunctaset(url: string, options: OpenOptions = {}): Promise<Functaset> {
  void options;
  throw new StoreError(`${url}: not implemented yet`);
}
