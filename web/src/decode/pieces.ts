/** An evaluator of any renderer: cuts jobs into pieces that take some milliseconds each, for workers or this thread. */

import type { DecoderOptions, RendererName } from "./decoder";
import { type Evaluator, isCard, type Job, multiplications, type Weights } from "./evaluator";
import { type Executor, ThisThread } from "./executor";
import { Pool } from "./pool";
import { createRunner, type Start } from "./runner";

const MOST_WORKERS = 16;
/** Numbers of weights in all workers together. */
const MOST_COPIED_NUMBERS = 2 ** 28;
/** Seconds that a worker may be silent. */
const PATIENCE = 20;

/**
 * Of pieces: multiplications of the first ones, milliseconds that the next ones are to take, and a multiple for evaluations.
 *
 * They are short so that a stopped job ends soon, and no graphics card is reset by its watchdog, which bites after seconds.
 */
const PIECES: Record<RendererName, { first: number; milliseconds: number; multiple: number }> = {
  webgpu: { first: 2 ** 28, milliseconds: 40, multiple: 256 },
  webgl2: { first: 2 ** 28, milliseconds: 40, multiple: 256 },
  wasm: { first: 2 ** 28, milliseconds: 20, multiple: 8 },
  js: { first: 2 ** 23, milliseconds: 20, multiple: 48 },
};
const MOST_EVALUATIONS = 2 ** 16;
/** Pieces grow and shrink by this at most, so that one odd time does no harm. */
const FASTEST_CHANGE = 4;

const WORDS: Record<RendererName, string> = { webgpu: "WebGPU", webgl2: "WebGL2", wasm: "CPU", js: "CPU" };

/** @throws RendererError if that renderer is not there. */
export async function createEvaluator(renderer: RendererName, weights: Weights, options: DecoderOptions): Promise<Evaluator> {
  const { network } = weights;
  const start: Start = { renderer, weights, allowSoftware: options.renderer === renderer };
  const numbers = multiplications(weights);
  const wanted = options.workers ?? globalThis.navigator?.hardwareConcurrency ?? 2;
  const copies = Math.max(1, Math.min(wanted, MOST_WORKERS, Math.floor(MOST_COPIED_NUMBERS / numbers)));
  const canWork = typeof Worker !== "undefined" && wanted > 0 && (renderer !== "webgl2" || typeof OffscreenCanvas !== "undefined");
  const executor: Executor = canWork
    ? await Pool.start(start, isCard(renderer) ? 1 : copies, options.patience ?? PATIENCE)
    : new ThisThread(await createRunner(start));
  const size = new PieceSize(renderer, numbers);
  const evaluate = async (job: Job, signal?: AbortSignal): Promise<Float32Array> => {
    const evaluations = job.inputs.length / network.inputs;
    const found = new Float32Array(evaluations * network.channels);
    const running: Promise<void>[] = [];
    const each = size.evaluations;
    signal?.throwIfAborted();
    for (let from = 0; from < evaluations; from += each) {
      const to = Math.min(evaluations, from + each);
      const piece = cut(job, from, to, network.inputs, network.width * weights.sine.length);
      running.push(
        executor.run(piece, signal).then(({ numbers, milliseconds }) => {
          found.set(numbers, from * network.channels);
          size.learn(to - from, milliseconds);
        }),
      );
    }
    await Promise.all(running);
    signal?.throwIfAborted();
    return found;
  };
  const where = executor.isHere ? ", this thread" : isCard(renderer) ? "" : `, ${executor.size} workers`;
  return {
    renderer,
    description: `${WORDS[renderer]}${where}, ${executor.name}`,
    isHere: executor.isHere,
    evaluate,
    dispose: () => executor.stop(),
  };
}

/** How many evaluations a piece has, by how long the latest ones took. */
class PieceSize {
  evaluations: number;
  private readonly milliseconds: number;
  private readonly multiple: number;

  constructor(renderer: RendererName, multiplications: number) {
    const { first, milliseconds, multiple } = PIECES[renderer];
    this.milliseconds = milliseconds;
    this.multiple = multiple;
    this.evaluations = this.whole(first / multiplications);
  }

  learn(evaluations: number, milliseconds: number): void {
    if (2 * evaluations < this.evaluations) return; // what it costs to ask at all weighs too much
    const change = this.milliseconds / Math.max(milliseconds, 0.1);
    this.evaluations = this.whole(evaluations * Math.min(FASTEST_CHANGE, Math.max(1 / FASTEST_CHANGE, change)));
  }

  private whole(evaluations: number): number {
    return Math.min(MOST_EVALUATIONS, Math.max(1, Math.floor(evaluations / this.multiple)) * this.multiple);
  }
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
