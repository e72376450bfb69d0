/** Which renderer decodes: the fastest that is there and right, by measured time, and another one where it fails. */

import type { DecoderOptions, RendererName } from "./decoder";
import { type Evaluator, evaluateInJavaScript, type Job, multiplications, RendererError, type Weights } from "./evaluator";
import { createEvaluator } from "./pieces";

const CARDS: RendererName[] = ["webgpu", "webgl2"];
/** Milliseconds without any decoding after which there is time to look for a graphics card. */
const IDLE = 500;
/** Seconds that the start of a graphics card may take; later it is not taken. */
const START_PATIENCE = 3;
/** Multiplications of the job whose time is taken, and evaluations of it at most: a tile of 128 x 128. */
const [MEASURED, MOST_MEASURED] = [2 ** 30, 128 * 128];
/** Multiplications of the points that are compared with double precision, and how many these are at most. */
const [CHECKED, MOST_CHECKED] = [2 ** 23, 64];
/** Largest difference of numbers of the last layer, whose channels span 1 in most archives. */
const TOLERANCE = 2e-3;
/** Days for which it is remembered what was fastest. */
const DAYS = 30;
/** Milliseconds after which a graphics card that was lost is tried again, and how many times. */
const [RETRY_AFTER, MOST_RETRIES] = [5000, 3];

/**
 * The evaluator of a page, which goes on by another renderer where the one at work fails.
 *
 * @throws RendererError if nothing works, or not the one that is asked for.
 */
export async function chooseEvaluator(weights: Weights, options: DecoderOptions): Promise<Evaluator> {
  if (options.renderer) return new LastingEvaluator(await asked(weights, options), weights, options);
  const known = remembered(weights);
  const card = known && CARDS.includes(known) ? await soon(createChecked(known, weights, options)) : null;
  const found = new LastingEvaluator(card ?? (await createOnCpu(["wasm", "js"], weights, options)), weights, options);
  // The CPU begins at once, and is compared with cards when it has nothing to do.
  if (!card && known !== "wasm" && known !== "js") void found.compare();
  return found;
}

/** The one that was asked for. */
async function asked(weights: Weights, options: DecoderOptions): Promise<Evaluator> {
  const name = options.renderer!;
  try {
    return CARDS.includes(name) ? await createChecked(name, weights, options) : await createOnCpu([name], weights, options);
  } catch (error) {
    if (!(error instanceof RendererError)) throw error;
    throw new RendererError(`the renderer ${name} cannot be used here: ${error.message}. Leave it out, or name another one.`);
  }
}

/** Whether it is worth a worker to ask for it. */
function isLikely(name: RendererName): boolean {
  if (typeof navigator === "undefined" || typeof window === "undefined") return false;
  return name === "webgpu" ? Boolean(navigator.gpu) : typeof WebGL2RenderingContext !== "undefined";
}

/** Null of what fails, or takes too long. */
async function soon(starting: Promise<Evaluator>): Promise<Evaluator | null> {
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

/** The first that works, in workers, or in this thread where workers do not. */
async function createOnCpu(names: RendererName[], weights: Weights, options: DecoderOptions): Promise<Evaluator> {
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

/** A graphics card whose numbers are those of the network. */
async function createChecked(name: RendererName, weights: Weights, options: DecoderOptions): Promise<Evaluator> {
  const evaluator = await createEvaluator(name, weights, options);
  const job = madeUp(weights, Math.max(4, Math.min(MOST_CHECKED, Math.floor(CHECKED / multiplications(weights)))));
  const expected = evaluateInJavaScript(weights, job);
  const found = await evaluator.evaluate(job);
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  const error = found.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
  if (error <= TOLERANCE * largest || expected.some(Number.isNaN)) return evaluator;
  evaluator.dispose();
  throw new RendererError(`${evaluator.description} computes wrongly: numbers are off by ${error.toPrecision(2)}`);
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

/** Time of a tile: the best of three, since the first one warms up, and others may be slowed down by what else runs. */
async function milliseconds(evaluator: Evaluator, weights: Weights): Promise<number> {
  if (evaluator.renderer === "js") return Infinity;
  const job = madeUp(weights, Math.max(256, Math.min(MOST_MEASURED, Math.floor(MEASURED / multiplications(weights)))));
  let best = Infinity;
  for (let time = 0; time < 3; time++) {
    const began = performance.now();
    await evaluator.evaluate(job);
    best = Math.min(best, performance.now() - began);
  }
  return best;
}

/** What was fastest of a network of this size in this version of this browser, and on which day. */
const nameOf = ({ network: { inputs, width, depth, channels } }: Weights): string =>
  `functaset renderer ${inputs} ${width} ${depth} ${channels} ${navigator.userAgent}`;

const today = (): number => Math.floor(Date.now() / 86_400_000);

function remembered(weights: Weights): RendererName | null {
  try {
    const [renderer, day] = (localStorage.getItem(nameOf(weights)) ?? "").split(" ");
    const isKnown = [...CARDS, "wasm", "js"].includes(renderer) && today() - Number(day) < DAYS;
    return isKnown ? (renderer as RendererName) : null;
  } catch {
    return null; // there is no such storage, or it is not allowed here
  }
}

function remember(weights: Weights, renderer: RendererName): void {
  try {
    localStorage.setItem(nameOf(weights), `${renderer} ${today()}`);
  } catch {
    // It is measured again.
  }
}

/** An evaluator that is replaced where it fails: graphics cards by the CPU, workers by this thread. */
class LastingEvaluator implements Evaluator {
  private replacing: Promise<void> | null = null;
  private lost: { renderer: RendererName; at: number; times: number } | null = null;
  private isDisposed = false;
  /** Jobs that run, and when the latest one ended. */
  private running = 0;
  private ended = performance.now();

  constructor(
    private current: Evaluator,
    private readonly weights: Weights,
    private readonly options: DecoderOptions,
  ) {}

  get renderer(): RendererName {
    return this.current.renderer;
  }

  get description(): string {
    return this.current.description;
  }

  get isHere(): boolean {
    return this.current.isHere;
  }

  async evaluate(job: Job, signal?: AbortSignal): Promise<Float32Array> {
    void this.restore();
    this.running++;
    try {
      return await this.lasting(job, signal);
    } finally {
      this.running--;
      this.ended = performance.now();
    }
  }

  private async lasting(job: Job, signal?: AbortSignal): Promise<Float32Array> {
    for (;;) {
      const evaluator = this.current;
      try {
        return await evaluator.evaluate(job, signal);
      } catch (error) {
        if (this.isDisposed || signal?.aborted) throw error;
        if (this.current !== evaluator) continue; // another one took over meanwhile
        if (!(error instanceof RendererError)) throw error;
        await (this.replacing ??= this.replace(error).finally(() => (this.replacing = null)));
      }
    }
  }

  private async replace(error: RendererError): Promise<void> {
    const failed = this.current;
    const isCard = CARDS.includes(failed.renderer);
    if (isCard) this.lost = { renderer: failed.renderer, at: performance.now(), times: (this.lost?.times ?? 0) + 1 };
    else if (failed.isHere) throw error;
    failed.dispose();
    const workers = isCard ? this.options.workers : 0;
    this.take(await createOnCpu(["wasm", "js"], this.weights, { ...this.options, workers }), `${nameInWords(failed)} failed: ${error.message}`);
  }

  /** Go on by a card if one is there that is right and faster; looked for while nothing is decoded. */
  async compare(): Promise<void> {
    const likely = CARDS.filter(isLikely);
    if (likely.length === 0) return;
    await this.idle();
    if (this.isDisposed) return;
    const found = await Promise.all(likely.map((name) => soon(createChecked(name, this.weights, this.options))));
    const cards = found.filter((card) => card !== null);
    await this.idle();
    const before = this.current;
    let best = before;
    if (cards.length > 0 && !this.isDisposed) {
      const all = [...cards, before];
      const times: number[] = [];
      for (const evaluator of all) times.push(await milliseconds(evaluator, this.weights).catch(() => Infinity));
      best = all[times.indexOf(Math.min(...times))];
      remember(this.weights, best.renderer);
    }
    for (const card of cards) if (card !== best) card.dispose();
    if (best === before) return;
    if (this.isDisposed) return best.dispose();
    const replaced = this.current;
    this.take(best, `${nameInWords(best)} is faster here`);
    replaced.dispose();
  }

  /** Until nothing has been decoded for a while. */
  private async idle(): Promise<void> {
    while (!this.isDisposed && (this.running > 0 || performance.now() - this.ended < IDLE)) {
      await new Promise((resolve) => setTimeout(resolve, IDLE / 2));
    }
  }

  /** Try a graphics card again that was lost a while ago. */
  private async restore(): Promise<void> {
    const { lost } = this;
    if (!lost || CARDS.includes(this.current.renderer) || this.replacing) return;
    if (lost.times > MOST_RETRIES || performance.now() - lost.at < RETRY_AFTER) return;
    lost.at = performance.now();
    try {
      const found = await createChecked(lost.renderer, this.weights, this.options);
      if (this.isDisposed) return found.dispose();
      const before = this.current;
      this.take(found, `${nameInWords(found)} is there again`);
      before.dispose();
    } catch {
      lost.times++;
    }
  }

  private take(evaluator: Evaluator, reason: string): void {
    this.current = evaluator;
    if (this.isDisposed) evaluator.dispose();
    else this.options.onChange?.(evaluator, reason);
  }

  dispose(): void {
    this.isDisposed = true;
    this.current.dispose();
  }
}

const nameInWords = ({ description }: Evaluator): string => description.split(",")[0]!;
