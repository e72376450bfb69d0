/** Which renderer decodes: the one that is asked for, or the fastest that is there and right, by measured time. */

import type { DecoderOptions, RendererName } from "./decoder";
import { CARDS, type Evaluator, isCard, ON_CPU, RENDERERS, RendererError, type Weights } from "./evaluator";
import { LastingEvaluator, nameInWords } from "./lasting_evaluator";
import { createChecked, createOnCpu, soon } from "./starting";
import { fastest } from "./trial";

/** Days for which it is remembered what was fastest. */
const DAYS = 30;

/**
 * The evaluator of a page, which goes on by another renderer where the one at work fails.
 *
 * @throws RendererError if nothing works, or not the one that is asked for.
 */
export async function chooseEvaluator(weights: Weights, options: DecoderOptions): Promise<Evaluator> {
  if (options.renderer) return new LastingEvaluator(await asked(options.renderer, weights, options), weights, options);
  const known = remembered(weights);
  const card = known && isCard(known) ? await soon(createChecked(known, weights, options)) : null;
  const found = new LastingEvaluator(card ?? (await createOnCpu(ON_CPU, weights, options)), weights, options);
  // The CPU begins at once, and is compared with cards when it has nothing to do.
  if (!card && (!known || isCard(known))) void compare(found, weights, options);
  return found;
}

async function asked(name: RendererName, weights: Weights, options: DecoderOptions): Promise<Evaluator> {
  try {
    return isCard(name) ? await createChecked(name, weights, options) : await createOnCpu([name], weights, options);
  } catch (error) {
    if (!(error instanceof RendererError)) throw error;
    throw new RendererError(`the renderer ${name} cannot be used here: ${error.message}. Leave it out, or name another one.`);
  }
}

/** Go on by a card if one is there that is right and faster; looked for while nothing is decoded. */
async function compare(evaluator: LastingEvaluator, weights: Weights, options: DecoderOptions): Promise<void> {
  const likely = CARDS.filter(isLikely);
  if (likely.length === 0 || !(await evaluator.idle())) return;
  const found = await Promise.all(likely.map((name) => soon(createChecked(name, weights, options))));
  const cards = found.filter((card) => card !== null);
  let best: Evaluator | null = null;
  if ((await evaluator.idle()) && cards.length > 0) {
    // The one at work comes first: it stays where no card is faster, also where none can be timed.
    const first = await fastest([evaluator.current, ...cards], weights);
    best = first.evaluator;
    if (first.milliseconds < Infinity) remember(weights, best.renderer);
  }
  for (const card of cards) {
    if (card === best) evaluator.swap(card, `${nameInWords(card)} is faster here`);
    else card.dispose();
  }
}

/** Whether it is worth a worker to ask for it. */
function isLikely(name: RendererName): boolean {
  if (typeof navigator === "undefined" || typeof window === "undefined") return false;
  return name === "webgpu" ? Boolean(navigator.gpu) : typeof WebGL2RenderingContext !== "undefined";
}

/** What was fastest of a network of this size in this version of this browser, and on which day. */
const nameOf = ({ network: { inputs, width, depth, channels } }: Weights): string =>
  `functaset renderer ${inputs} ${width} ${depth} ${channels} ${navigator.userAgent}`;

const today = (): number => Math.floor(Date.now() / 86_400_000);

function remembered(weights: Weights): RendererName | null {
  try {
    const [renderer, day] = (localStorage.getItem(nameOf(weights)) ?? "").split(" ");
    const found = RENDERERS.find((name) => name === renderer);
    return found && today() - Number(day) < DAYS ? found : null;
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
