/** Decoding of modulations, on the graphics card or the CPU. */

import type { Functaset } from "../store";
import { chooseEvaluator } from "./choice";
import type { Decoder, DecoderOptions } from "./decoder";
import { loadWeights, ShiftMap } from "./evaluator";
import { ModulationDecoder } from "./modulation_decoder";
import { closedAxes } from "./places";

export type * from "./decoder";
export { RENDERERS } from "./evaluator";
export { linkProgram, madeWith, webgl2Context } from "./gpu/context";

/**
 * The fastest decoder of a functaset that works here.
 *
 * @throws StoreError if the base is damaged, or the wanted renderer is not there.
 */
export async function createDecoder(functaset: Functaset, options: DecoderOptions = {}): Promise<Decoder> {
  const weights = await loadWeights(functaset, options.signal);
  const evaluator = await chooseEvaluator(weights, options);
  return new ModulationDecoder(functaset, evaluator, new ShiftMap(weights, closedAxes(functaset.domain)));
}
