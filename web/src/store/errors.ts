/** An error in words: where, what was found, what was expected, what to do. */

export class StoreError extends Error {
  override name = "StoreError";
}
