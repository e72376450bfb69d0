/** Modulations by example, neighbours fetched together, and small pictures of them, one after the other. */

import type { Decoder } from "../decode";
import type { Functaset } from "../store";
import type { Look } from "./colours";
import { breathe, isAbort } from "./dom";
import { smallPicture } from "./kinds";

/** Rows that lie so near are fetched by one request, with those between them. */
const GAP = 8;

/** Numbers of modulations that are fetched at once. */
const MOST_NUMBERS = 2 ** 19;

interface Wanted {
  index: number;
  draw: (picture: ImageData) => void;
  fail: (error: unknown) => void;
}

/** Pictures that are wanted now; those asked for last are dropped first when they are no longer wanted. */
export class PictureQueue {
  private readonly wanted = new Map<number, Wanted>();
  private readonly modulations = new Map<number, Float32Array>();
  private readonly pictures = new Map<number, ImageData>();
  private running = false;
  private readonly stop = new AbortController();

  constructor(
    private readonly functaset: Functaset,
    private readonly decoder: Decoder,
    private readonly look: Look,
  ) {}

  ask(index: number, draw: Wanted["draw"], fail: Wanted["fail"]): void {
    const there = this.pictures.get(index);
    if (there) {
      draw(there);
      return;
    }
    this.wanted.set(index, { index, draw, fail });
    void this.run();
  }

  forget(index: number): void {
    this.wanted.delete(index);
  }

  close(): void {
    this.wanted.clear();
    this.stop.abort();
  }

  private async run(): Promise<void> {
    if (this.running) return;
    this.running = true;
    await breathe(); // others are asked for in the same breath
    const { signal } = this.stop;
    while (this.wanted.size > 0 && !signal.aborted) {
      const [wanted] = this.wanted.values();
      try {
        const modulation = this.modulations.get(wanted.index) ?? (await this.fetchWith(wanted.index));
        if (!this.wanted.has(wanted.index)) continue;
        const found = await smallPicture(this.decoder, modulation, this.look, signal);
        keep(this.pictures, wanted.index, found, 4000);
        this.wanted.get(wanted.index)?.draw(found);
      } catch (error) {
        if (!isAbort(error)) wanted.fail(error);
      }
      this.wanted.delete(wanted.index);
      await breathe();
    }
    this.running = false;
  }

  /** The modulation of an example, and those of its neighbours that are wanted, too. */
  private async fetchWith(index: number): Promise<Float32Array> {
    const near = [...this.wanted.keys()].filter((i) => !this.modulations.has(i)).sort((a, b) => a - b);
    const size = this.functaset.network.modulationSize;
    const most = Math.max(1, Math.floor(MOST_NUMBERS / size));
    let [from, to] = [index, index + 1];
    for (const i of near) if (i >= to && i - to < GAP && i - from < most) to = i + 1;
    for (const i of near.reverse()) if (i < from && from - i <= GAP && to - i <= most) from = i;
    const rows = await this.functaset.modulations(from, to, { signal: this.stop.signal });
    for (let i = from; i < to; i++) keep(this.modulations, i, rows.slice((i - from) * size, (i - from + 1) * size), 2000);
    return this.modulations.get(index)!;
  }
}

function keep<T>(kept: Map<number, T>, index: number, value: T, most: number): void {
  kept.delete(index);
  kept.set(index, value);
  if (kept.size > most) kept.delete(kept.keys().next().value!);
}
