/** The script of a worker. */

import { type Evaluate, evaluateHere, type FromWorker, type ToWorker } from "./worker";

let evaluate: Evaluate | undefined;

const scope = globalThis as unknown as DedicatedWorkerGlobalScope;
const send = (message: FromWorker, transfer: Transferable[] = []): void => scope.postMessage(message, transfer);

scope.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if ("weights" in data) {
    const here = evaluateHere(data.weights);
    evaluate = here.evaluate;
    send({ ready: here.name });
    return;
  }
  try {
    const numbers = evaluate!(data.job) as Float32Array<ArrayBuffer>;
    send({ number: data.number, numbers }, [numbers.buffer]);
  } catch (error) {
    send({ number: data.number, error: String(error) });
  }
};
