/** An evaluator that is replaced where it fails: graphics cards by the CPU, workers by this thread. */

import type { DecoderOptions, RendererName } from "./decoder";
import { type Evaluator, isCard, type Job, ON_CPU, RendererError, type Weights } from "./evaluator";
import { createChecked, createOnCpu } from "./starting";

/** Milliseconds without any decoding after which there is time for something else. */
const IDLE = 500;
/** Milliseconds after which a graphics card that was lost is tried again, and how many times. */
const [RETRY_AFTER, MOST_RETRIES] = [5000, 3];

export class LastingEvaluator implements Evaluator {
  private replacing: Promise<void> | null = null;
  private lost: { renderer: RendererName; at: number; times: number } | null = null;
  private isDisposed = false;
  /** Jobs that run, and when the latest one ended. */
  private running = 0;
  private ended = performance.now();

  constructor(
    private now: Evaluator,
    private readonly weights: Weights,
    private readonly options: DecoderOptions,
  ) {}

  /** The one at work. */
  get current(): Evaluator {
    return this.now;
  }

  get renderer(): RendererName {
    return this.now.renderer;
  }

  get description(): string {
    return this.now.description;
  }

  get isHere(): boolean {
    return this.now.isHere;
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

  /** Wait until nothing has been decoded for a while; false if nothing will be any more. */
  async idle(): Promise<boolean> {
    while (!this.isDisposed && (this.running > 0 || performance.now() - this.ended < IDLE)) {
      await new Promise((resolve) => setTimeout(resolve, IDLE / 2));
    }
    return !this.isDisposed;
  }

  /**
   * Go on by another one and dispose of the one before.
   *
   * Where nothing is decoded any more, or `before` is no longer at work, the new one is disposed of.
   */
  swap(evaluator: Evaluator, reason: string, before = this.now): void {
    if (this.isDisposed || this.now !== before) return evaluator.dispose();
    this.now = evaluator;
    before.dispose();
    this.options.onChange?.(evaluator, reason);
  }

  dispose(): void {
    this.isDisposed = true;
    this.now.dispose();
  }

  private async lasting(job: Job, signal?: AbortSignal): Promise<Float32Array> {
    for (;;) {
      const evaluator = this.now;
      try {
        return await evaluator.evaluate(job, signal);
      } catch (error) {
        if (this.isDisposed || signal?.aborted) throw error;
        if (this.now !== evaluator) continue; // another one took over meanwhile
        if (!(error instanceof RendererError)) throw error;
        await (this.replacing ??= this.replace(evaluator, error).finally(() => (this.replacing = null)));
      }
    }
  }

  /** Put the CPU in the place of one that failed; what took its place meanwhile stays. */
  private async replace(failed: Evaluator, error: RendererError): Promise<void> {
    const wasCard = isCard(failed.renderer);
    if (wasCard) this.lost = { renderer: failed.renderer, at: performance.now(), times: (this.lost?.times ?? 0) + 1 };
    else if (failed.isHere) throw error;
    const workers = wasCard ? this.options.workers : 0;
    try {
      const found = await createOnCpu(ON_CPU, this.weights, { ...this.options, workers });
      this.swap(found, `${nameInWords(failed)} failed: ${error.message}`, failed);
    } catch (reason) {
      if (this.now === failed) throw reason;
    } finally {
      failed.dispose();
    }
  }

  /** Try a graphics card again that was lost a while ago. */
  private async restore(): Promise<void> {
    const { lost } = this;
    if (!lost || isCard(this.renderer) || this.replacing) return;
    if (lost.times > MOST_RETRIES || performance.now() - lost.at < RETRY_AFTER) return;
    lost.at = performance.now();
    const before = this.now;
    try {
      const found = await createChecked(lost.renderer, this.weights, this.options);
      this.swap(found, `${nameInWords(found)} is there again`, before);
    } catch {
      lost.times++;
    }
  }
}

export const nameInWords = ({ description }: Evaluator): string => description.split(",")[0]!;
