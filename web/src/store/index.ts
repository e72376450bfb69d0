/** Functasets read from any static host that allows it (CORS). */

export type * from "./functaset";
export type * from "./domain";
export type * from "./network";
export { StoreError } from "./errors";
export { openFunctaset } from "./open";
