/** The CPU as an evaluator. */

import type { DecoderOptions } from "./decoder";
import { type Evaluator, evaluateInJavaScript, type Weights } from "./evaluator";

export async function createCpuEvaluator(weights: Weights, options: DecoderOptions): Promise<Evaluator> {
  void options;
  return {
    backend: "cpu",
    description: "plain JavaScript",
    evaluate: async (job, signal) => {
      signal?.throwIfAborted();
      return evaluateInJavaScript(weights, job);
    },
    dispose: () => undefined,
  };
}
