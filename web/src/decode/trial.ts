/** What a made-up job tells of an evaluator: whether its numbers are right, and how long it takes. */

import { type Evaluator, evaluateInJavaScript, type Job, multiplications, type Weights } from "./evaluator";

/** Multiplications of the job whose time is taken, and evaluations of it at most: a tile of 128 x 128. */
const [MEASURED, MOST_MEASURED] = [2 ** 30, 128 * 128];
/** Multiplications of the points that are compared with double precision, and how many these are at most. */
const [CHECKED, MOST_CHECKED] = [2 ** 23, 64];
/** Largest difference of numbers of the last layer, whose channels span 1 in most archives. */
const TOLERANCE = 2e-3;
/** Times that the job is run whose time is taken. */
const RUNS = 3;

/**
 * Why the numbers of an evaluator are not those of the network; null if they are.
 *
 * @throws RendererError if it gives none.
 */
export async function whyWrong(evaluator: Evaluator, weights: Weights): Promise<string | null> {
  const job = madeUp(weights, Math.max(4, Math.min(MOST_CHECKED, Math.floor(CHECKED / multiplications(weights)))));
  const expected = evaluateInJavaScript(weights, job);
  const found = await evaluator.evaluate(job);
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  const error = found.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
  if (error <= TOLERANCE * largest || expected.some(Number.isNaN)) return null;
  return `${evaluator.description} computes wrongly: numbers are off by ${error.toPrecision(2)}`;
}

/** The one that takes least time, the first of those that take as much; they run one after the other. */
export async function fastest(evaluators: Evaluator[], weights: Weights): Promise<{ evaluator: Evaluator; milliseconds: number }> {
  let best = { evaluator: evaluators[0]!, milliseconds: Infinity };
  for (const evaluator of evaluators) {
    const milliseconds = await timeOf(evaluator, weights).catch(() => Infinity);
    if (milliseconds < best.milliseconds) best = { evaluator, milliseconds };
  }
  return best;
}

/**
 * Milliseconds that a tile takes: the best of three, since the first one warms up, and others may be slowed down by what else runs.
 * Plain JavaScript is not timed, and takes forever.
 */
async function timeOf(evaluator: Evaluator, weights: Weights): Promise<number> {
  if (evaluator.renderer === "js") return Infinity;
  const job = madeUp(weights, Math.max(256, Math.min(MOST_MEASURED, Math.floor(MEASURED / multiplications(weights)))));
  let best = Infinity;
  for (let time = 0; time < RUNS; time++) {
    const began = performance.now();
    await evaluator.evaluate(job);
    best = Math.min(best, performance.now() - began);
  }
  return best;
}

/** Points spread over the domain, under two rows of shifts. */
function madeUp({ network, sine }: Weights, evaluations: number): Job {
  const size = network.width * sine.length;
  return {
    shifts: { rows: 2, values: Float32Array.from({ length: 2 * size }, (_, i) => (i < size ? 0 : 0.1)) },
    inputs: Float32Array.from({ length: evaluations * network.inputs }, (_, i) => (0.5 + 0.6180339887498949 * (i + 1)) % 1),
    rows: Int32Array.from({ length: evaluations }, (_, i) => (2 * i < evaluations ? 0 : 1)),
  };
}
