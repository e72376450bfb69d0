/** The CPU as an evaluator: workers that share the evaluations of each job, or this thread where there are no workers. */

import { StoreError } from "../store";
import type { DecoderOptions } from "./decoder";
import type { Evaluator, Job, Weights } from "./evaluator";
import { evaluateHere, type FromWorker, type ToWorker } from "./worker";

const MOST_WORKERS = 16;
/** Numbers of weights in all workers together. */
const MOST_COPIED_NUMBERS = 2 ** 28;
/** Multiplications of a piece: some 10 ms of one core, so that a stopped job ends soon. */
const PIECE = 2 ** 28;
/** Pieces that a worker has at a time, so that it need not wait for the next. */
const AHEAD = 2;

/** Part of a job that one worker runs. */
interface Piece {
  job: Job;
  done: (numbers: Float32Array) => void;
  failed: (error: Error) => void;
}

export async function createCpuEvaluator(weights: Weights, options: DecoderOptions): Promise<Evaluator> {
  const { network } = weights;
  const numbers = weights.sine.reduce((sum, { kernel }) => sum + kernel.length, weights.last.kernel.length);
  const wanted = options.workers ?? globalThis.navigator?.hardwareConcurrency ?? 2;
  const count = Math.max(1, Math.min(wanted, MOST_WORKERS, Math.floor(MOST_COPIED_NUMBERS / numbers)));
  const pool = typeof Worker === "undefined" ? null : await Pool.start(weights, count).catch(() => null);
  const here = pool ? null : evaluateHere(weights);
  const run = (job: Job, signal?: AbortSignal): Promise<Float32Array> =>
    pool ? pool.run(job, signal) : Promise.resolve().then(() => here!.evaluate(job));
  const pieceSize = Math.max(8, 8 * Math.floor(PIECE / numbers / 8));
  return {
    backend: "cpu",
    description: pool ? `CPU, ${count} workers, ${pool.name}` : `CPU, ${here!.name}`,
    evaluate: async (job, signal) => {
      const evaluations = job.inputs.length / network.inputs;
      const found = new Float32Array(evaluations * network.channels);
      const running: Promise<void>[] = [];
      for (let start = 0; start < evaluations; start += pieceSize) {
        const stop = Math.min(evaluations, start + pieceSize);
        const piece = cut(job, start, stop, network.inputs, network.width * weights.sine.length);
        signal?.throwIfAborted();
        const one = run(piece, signal).then((numbers) => found.set(numbers, start * network.channels));
        if (pool) running.push(one);
        else await one;
      }
      await Promise.all(running);
      signal?.throwIfAborted();
      return found;
    },
    dispose: () => pool?.stop(),
  };
}

/** Evaluations from <= i < to of a job, with the shifts that they need and no others. */
function cut({ shifts, inputs, rows }: Job, from: number, to: number, numInputs: number, rowSize: number): Job {
  const own = inputs.slice(from * numInputs, to * numInputs);
  if (!rows) return { shifts, inputs: own, rows: null };
  const first = rows[from]!;
  const last = rows[to - 1]!;
  return {
    shifts: { rows: last - first + 1, values: shifts.values.slice(first * rowSize, (last + 1) * rowSize) },
    inputs: own,
    rows: rows.slice(from, to).map((row) => row - first),
  };
}

/** Workers, and the pieces that wait for one. */
class Pool {
  private readonly waiting: Piece[] = [];
  private readonly running = new Map<number, Piece>();
  private readonly free: Worker[] = [];
  private next = 0;

  private constructor(
    private readonly workers: Worker[],
    readonly name: string,
  ) {
    for (const worker of workers) {
      worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.receive(worker, data);
      worker.onerror = (event) => this.fail(new StoreError(`a worker failed: ${event.message}. Load the page again.`));
    }
    for (let i = 0; i < AHEAD; i++) this.free.push(...workers);
  }

  static async start(weights: Weights, count: number): Promise<Pool> {
    const own: Weights = { ...weights, map: null };
    const starting = Array.from({ length: count }, async () => {
      const worker = new Worker(new URL("./worker_main.ts", import.meta.url), { type: "module" });
      return new Promise<[Worker, string]>((ready, failed) => {
        worker.onmessage = ({ data }: MessageEvent<{ ready: string }>) => ready([worker, data.ready]);
        worker.onerror = (event) => failed(new Error(event.message));
        worker.postMessage({ weights: own } satisfies ToWorker);
      });
    });
    const started = await Promise.all(starting);
    return new Pool(started.map(([worker]) => worker), started[0]![1]);
  }

  run(job: Job, signal?: AbortSignal): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      const piece: Piece = {
        job,
        done: (numbers) => {
          signal?.removeEventListener("abort", abort);
          resolve(numbers);
        },
        failed: reject,
      };
      const abort = (): void => {
        const place = this.waiting.indexOf(piece);
        if (place >= 0) this.waiting.splice(place, 1);
        reject(signal!.reason as Error);
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.waiting.push(piece);
      this.send();
    });
  }

  private send(): void {
    while (this.waiting.length > 0 && this.free.length > 0) {
      const piece = this.waiting.shift()!;
      const number = this.next++;
      this.running.set(number, piece);
      this.free.shift()!.postMessage({ number, job: piece.job } satisfies ToWorker);
    }
  }

  private receive(worker: Worker, message: FromWorker): void {
    if ("ready" in message) return;
    const piece = this.running.get(message.number);
    this.running.delete(message.number);
    this.free.push(worker);
    this.send();
    if ("error" in message) piece?.failed(new StoreError(`a worker failed: ${message.error}. Load the page again.`));
    else piece?.done(message.numbers);
  }

  private fail(error: Error): void {
    for (const piece of [...this.running.values(), ...this.waiting]) piece.failed(error);
    this.running.clear();
    this.waiting.length = 0;
  }

  stop(): void {
    for (const worker of this.workers) worker.terminate();
    this.fail(new DOMException("the decoder was disposed of", "AbortError"));
  }
}
