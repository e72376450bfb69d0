/** Workers that run pieces of jobs, and fail together where one of them fails or is silent too long. */

import { type Job, RendererError } from "./evaluator";
import { disposed, type Executor, type Found } from "./executor";
import type { FromWorker, Start, ToWorker } from "./runner";

/** Pieces that a worker has at a time, so that it need not wait for the next. */
const AHEAD = 2;
/** Milliseconds between two looks at how long workers are silent. Time that the machine sleeps is none. */
const TICK = 500;

interface Piece {
  job: Job;
  ticks: number;
  done: (found: Found) => void;
  failed: (error: Error) => void;
}

export class Pool implements Executor {
  readonly isHere = false;
  private readonly waiting: Piece[] = [];
  private readonly running = new Map<number, Piece>();
  private readonly free: Worker[] = [];
  private next = 0;
  private failure: Error | null = null;
  private watch: ReturnType<typeof setInterval> | null = null;

  private constructor(
    private readonly workers: Worker[],
    readonly name: string,
    private readonly patience: number,
  ) {
    for (const worker of workers) {
      worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.receive(worker, data);
      worker.onerror = (event) => this.fail(`a worker failed: ${event.message || "no reason given"}`);
      worker.onmessageerror = () => this.fail("a worker's answer could not be read");
    }
    for (let i = 0; i < AHEAD; i++) this.free.push(...workers);
  }

  /**
   * @param patience Seconds that a worker may be silent.
   * @throws RendererError if a worker refuses to run this, or does not start.
   */
  static async start(what: Start, count: number, patience: number): Promise<Pool> {
    const own: Start = { ...what, weights: { ...what.weights, map: null } };
    const workers: Worker[] = [];
    try {
      const starting = Array.from({ length: count }, async () => {
        const worker = new Worker(new URL("./worker_main.ts", import.meta.url), { type: "module" });
        workers.push(worker);
        return new Promise<string>((ready, failed) => {
          const fail = (reason: string): void => failed(new RendererError(reason));
          const timer = setTimeout(() => fail(`a worker did not start within ${patience} s`), 1000 * patience);
          worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
            clearTimeout(timer);
            if ("ready" in data) ready(data.ready);
            else fail("refused" in data ? data.refused : "a worker answers what it was not asked");
          };
          worker.onerror = (event) => fail(`a worker did not start: ${event.message || "no reason given"}`);
          worker.onmessageerror = () => fail("a worker could not read the network");
          worker.postMessage({ start: own } satisfies ToWorker);
        });
      });
      const names = await Promise.all(starting);
      return new Pool(workers, names[0], patience);
    } catch (error) {
      for (const worker of workers) worker.terminate();
      throw error instanceof RendererError ? error : new RendererError(`no worker can be started: ${String(error)}`);
    }
  }

  get size(): number {
    return this.workers.length;
  }

  /** @throws RendererError if a worker fails, or is silent for longer than `patience`. */
  run(job: Job, signal?: AbortSignal): Promise<Found> {
    return new Promise((resolve, reject) => {
      if (this.failure) return reject(this.failure);
      const done = (): void => signal?.removeEventListener("abort", abort);
      const piece: Piece = {
        job,
        ticks: 0,
        done: (found) => (done(), resolve(found)),
        failed: (error) => (done(), reject(error)),
      };
      const abort = (): void => {
        const place = this.waiting.indexOf(piece);
        if (place >= 0) this.waiting.splice(place, 1);
        reject(signal!.reason as Error);
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.waiting.push(piece);
      this.send();
      this.watch ??= setInterval(() => this.look(), TICK);
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
    if (!("number" in message)) return;
    const piece = this.running.get(message.number);
    this.running.delete(message.number);
    this.free.push(worker);
    this.send();
    if ("error" in message) this.fail(message.error, piece);
    else piece?.done(message);
  }

  private look(): void {
    if (this.running.size === 0) {
      clearInterval(this.watch!);
      this.watch = null;
      return;
    }
    for (const piece of this.running.values()) {
      if (++piece.ticks * TICK > 1000 * this.patience) return this.fail(`a worker did not answer within ${this.patience} s`);
    }
  }

  private fail(reason: string, ...more: (Piece | undefined)[]): void {
    this.failure ??= new RendererError(reason);
    this.end(this.failure, more);
  }

  private end(error: Error, more: (Piece | undefined)[] = []): void {
    for (const worker of this.workers) worker.terminate();
    if (this.watch !== null) clearInterval(this.watch);
    const pieces = [...more, ...this.running.values(), ...this.waiting];
    this.running.clear();
    this.waiting.length = 0;
    for (const piece of pieces) piece?.failed(error);
  }

  stop(): void {
    this.failure ??= disposed();
    this.end(this.failure);
  }
}
