/** Evaluators that start: a graphics card that was checked, or whatever works on the CPU. */

import type { DecoderOptions, RendererName } from "./decoder";
import { type Evaluator, RendererError, type Weights } from "./evaluator";
import { createEvaluator } from "./pieces";
import { whyWrong } from "./trial";

/** Seconds that the start of a graphics card may take; later it is not taken. */
const START_PATIENCE = 3;

/** The first that works, in workers, or in this thread where workers do not. */
export async function createOnCpu(names: RendererName[], weights: Weights, options: DecoderOptions): Promise<Evaluator> {
  let reason: unknown;
  for (const name of names) {
    for (const workers of options.workers === 0 ? [0] : [options.workers, 0]) {
      try {
        return await createEvaluator(name, weights, { ...options, workers });
      } catch (error) {
        reason = error;
      }
    }
  }
  throw reason;
}

/**
 * A graphics card whose numbers are those of the network.
 *
 * @throws RendererError if it is not there, or computes something else.
 */
export async function createChecked(name: RendererName, weights: Weights, options: DecoderOptions): Promise<Evaluator> {
  const evaluator = await createEvaluator(name, weights, options);
  try {
    const reason = await whyWrong(evaluator, weights);
    if (reason !== null) throw new RendererError(reason);
    return evaluator;
  } catch (error) {
    evaluator.dispose();
    throw error;
  }
}

/** Null of what fails, or takes too long. */
export async function soon(starting: Promise<Evaluator>): Promise<Evaluator | null> {
  const found = starting.catch(() => null);
  let isLate = false;
  const late = new Promise<null>((resolve) =>
    setTimeout(() => {
      isLate = true;
      resolve(null);
    }, 1000 * START_PATIENCE),
  );
  void found.then((evaluator) => isLate && evaluator?.dispose());
  return Promise.race([found, late]);
}
