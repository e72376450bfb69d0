/** Decoding of modulations: WebGPU, WebGL2 or the CPU. */

import { type Functaset, StoreError } from "../store";
import { createCpuEvaluator } from "./cpu";
import type { BackendName, Decoder, DecoderOptions } from "./decoder";
import { type Evaluator, loadWeights, ShiftMap, type Weights } from "./evaluator";
import { ModulationDecoder } from "./modulation_decoder";
import { closedAxes } from "./places";

export type * from "./decoder";

/**
 * The fastest decoder of a functaset that works here.
 *
 * @throws StoreError if the base is damaged, or the wanted backend is not there.
 */
export async function createDecoder(functaset: Functaset, options: DecoderOptions = {}): Promise<Decoder> {
  const weights = await loadWeights(functaset, options.signal);
  const evaluator = await createEvaluator(weights, options);
  return new ModulationDecoder(functaset, evaluator, new ShiftMap(weights, closedAxes(functaset.domain)));
}

type Create = (weights: Weights, options: DecoderOptions) => Promise<Evaluator | null>;

/** What may run a network, the fastest first; each is null where it is not there. */
const BACKENDS: [BackendName, Create][] = [
  ["cpu", createCpuEvaluator],
];

async function createEvaluator(weights: Weights, options: DecoderOptions): Promise<Evaluator> {
  for (const [name, create] of BACKENDS) {
    if (options.backend !== undefined && options.backend !== name) continue;
    const found = await create(weights, options);
    if (found) return found;
  }
  throw new StoreError(`nothing can decode here: ${options.backend ?? "no backend"} is not there. Use another browser.`);
}
