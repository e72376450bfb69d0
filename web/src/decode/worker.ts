/** A worker of the CPU: evaluates jobs with the kernel, or in plain JavaScript where that is not to be had. */

import { evaluateInJavaScript, type Job, type Weights } from "./evaluator";
import { Kernel } from "./kernel";

/** To a worker: first the weights, then jobs. */
export type ToWorker = { weights: Weights } | { number: number; job: Job };

/** From a worker: first how it computes, then numbers of each job. */
export type FromWorker = { ready: string } | { number: number; numbers: Float32Array<ArrayBuffer> } | { number: number; error: string };

export type Evaluate = (job: Job) => Float32Array;

/** The fastest way to run a network in one thread, and what it is called. */
export function evaluateHere(weights: Weights): { evaluate: Evaluate; name: string } {
  try {
    const kernel = new Kernel(weights);
    return { evaluate: (job) => kernel.evaluate(job), name: "WebAssembly" };
  } catch {
    return { evaluate: (job) => evaluateInJavaScript(weights, job), name: "JavaScript" };
  }
}
