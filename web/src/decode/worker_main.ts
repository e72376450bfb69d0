/** The script of a worker. */

import type { Job, Runner } from "./evaluator";
import { createRunner, type FromWorker, type Start, type ToWorker } from "./runner";

let runner: Runner | undefined;
/** Jobs run one after the other, also where a graphics card is waited for. */
let latest: Promise<void> = Promise.resolve();

const scope = globalThis as unknown as DedicatedWorkerGlobalScope;
const send = (message: FromWorker, transfer: Transferable[] = []): void => scope.postMessage(message, transfer);
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function start(what: Start): Promise<void> {
  try {
    runner = await createRunner(what);
    send({ ready: runner.name });
  } catch (error) {
    send({ refused: messageOf(error) });
  }
}

async function run(number: number, job: Job): Promise<void> {
  try {
    const began = performance.now();
    const numbers = (await runner!.evaluate(job)) as Float32Array<ArrayBuffer>;
    send({ number, numbers, milliseconds: performance.now() - began }, [numbers.buffer]);
  } catch (error) {
    send({ number, error: messageOf(error) });
  }
}

scope.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  latest = latest.then(() => ("start" in data ? start(data.start) : run(data.number, data.job)));
};
