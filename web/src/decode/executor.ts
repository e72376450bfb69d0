/** What runs pieces of jobs: this thread, or a pool of workers (`pool.ts`). */

import { type Job, RendererError, type Runner } from "./evaluator";

/** Numbers of a piece, and how long one thread took for them. */
export interface Found {
  numbers: Float32Array;
  milliseconds: number;
}

/** One thread or several, each with a runner of its own. */
export interface Executor {
  /** Whether it is this thread, which also draws and hears keys. */
  readonly isHere: boolean;
  /** How many threads it has. */
  readonly size: number;
  /** What each of them runs on. */
  readonly name: string;
  /** @throws RendererError if it does not work any more, an AbortError once it is stopped. */
  run(job: Job, signal?: AbortSignal): Promise<Found>;
  /** End what runs and what waits. */
  stop(): void;
}

/** With this end the pieces of what is stopped. */
export const disposed = (): DOMException => new DOMException("the decoder was disposed of", "AbortError");

/** One piece after the other in this thread, since a graphics card is waited for within one. */
export class ThisThread implements Executor {
  readonly isHere = true;
  readonly size = 1;
  private latest: Promise<unknown> = Promise.resolve();
  private failure: Error | null = null;

  constructor(private readonly runner: Runner) {}

  get name(): string {
    return this.runner.name;
  }

  run(job: Job, signal?: AbortSignal): Promise<Found> {
    const found = this.latest.then(() => this.next(job, signal));
    this.latest = found.catch(() => undefined);
    return found;
  }

  private async next(job: Job, signal?: AbortSignal): Promise<Found> {
    this.check(signal);
    await new Promise((resolve) => setTimeout(resolve)); // keys and pointers are heard between two pieces
    this.check(signal);
    const began = performance.now();
    try {
      return { numbers: await this.runner.evaluate(job), milliseconds: performance.now() - began };
    } catch (error) {
      if (error instanceof RendererError) this.failure ??= error; // the pieces that wait would fail one by one
      throw error;
    }
  }

  private check(signal?: AbortSignal): void {
    signal?.throwIfAborted();
    if (this.failure) throw this.failure;
  }

  stop(): void {
    this.failure ??= disposed(); // the pieces that wait end with it, too
    this.runner.dispose();
  }
}
