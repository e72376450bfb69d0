/** What runs jobs in one thread, whichever it is: the graphics card, the kernel, or plain JavaScript. */

import type { RendererName } from "./decoder";
import { evaluateInJavaScript, type Job, RendererError, type Runner, type Weights } from "./evaluator";
import { WebGl2Network } from "./gpu/webgl2";
import { WebGpuNetwork } from "./gpu/webgpu";
import { Kernel } from "./kernel";

export interface Start {
  renderer: RendererName;
  weights: Weights;
  /** Take a graphics card that the CPU emulates. */
  allowSoftware: boolean;
}

/** To a worker: first what it is to run, then jobs. */
export type ToWorker = { start: Start } | { number: number; job: Job };

/** From a worker: first on what it runs, or why it cannot; then numbers of each job. */
export type FromWorker =
  | { ready: string }
  | { refused: string }
  | { number: number; numbers: Float32Array<ArrayBuffer>; milliseconds: number }
  | { number: number; error: string };

/** @throws RendererError if that renderer is not there. */
export async function createRunner({ renderer, weights, allowSoftware }: Start): Promise<Runner> {
  switch (renderer) {
    case "webgpu":
      return WebGpuNetwork.create(weights, allowSoftware);
    case "webgl2":
      return WebGl2Network.create(weights, allowSoftware);
    case "wasm":
      return wasmRunner(weights);
    case "js":
      return { name: "JavaScript", evaluate: (job) => evaluateInJavaScript(weights, job), dispose: () => undefined };
  }
}

function wasmRunner(weights: Weights): Runner {
  try {
    const kernel = new Kernel(weights);
    return { name: "WebAssembly", evaluate: (job) => kernel.evaluate(job), dispose: () => undefined };
  } catch (error) {
    throw new RendererError(`there is no WebAssembly with SIMD: ${String(error)}`);
  }
}
