/** Decoding of modulations: WebGPU, WebGL2 or the CPU. */

import type { Functaset } from "../store";
import type { Decoder, DecoderOptions } from "./decoder";

export type * from "./decoder";

/**
 * The fastest decoder of a functaset that works here.
 *
 * @throws StoreError if the base is damaged, or the wanted backend is not there.
 */
export async function createDecoder(functaset: Functaset, options: DecoderOptions = {}): Promise<Decoder> {
  void functaset;
  void options;
  throw new Error("not implemented yet");
}
