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

/** Pictures that are decoded at a time: one is fetched and painted while another is computed. */
const AT_A_TIME = 3;
const MOST_PICTURES = 4000;
/** Modulations that are kept, and numbers of all of them. */
const [MOST_MODULATIONS, MOST_KEPT_NUMBERS] = [2000, 2 ** 23];
/** Milliseconds between two paintings: each lays out and draws anew what is on the screen. */
const PAINTING = 100;

interface Wanted {
  index: number;
  draw: (picture: ImageData) => void;
  fail: (error: unknown) => void;
}

/** Pictures that are wanted now; those asked for last are dropped first when they are no longer wanted. */
export class PictureQueue {
  private readonly wanted = new Map<number, Wanted>();
  private readonly taken = new Set<number>();
  private readonly modulations = new Map<number, Promise<Float32Array>>();
  /** Those whose modulations could not be fetched: they are fetched anew when they are asked for again. */
  private readonly failed = new Set<number>();
  private readonly pictures = new Map<number, ImageData>();
  private running = 0;
  private readonly ready: (() => void)[] = [];
  private painting = 0;
  private painted = -PAINTING;
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
    if (this.failed.delete(index)) this.modulations.delete(index);
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

  /** Draw what is wanted, one picture after the other; several of these run at a time. */
  private async run(): Promise<void> {
    if (this.running >= AT_A_TIME) return;
    this.running++;
    await breathe(); // others are asked for in the same breath
    const { signal } = this.stop;
    for (let next = this.next(); next && !signal.aborted; next = this.next()) {
      this.taken.add(next.index);
      try {
        const modulation = await this.modulation(next.index);
        if (!this.wanted.has(next.index)) continue;
        const found = await smallPicture(this.decoder, modulation, this.look, signal);
        keep(this.pictures, next.index, found, MOST_PICTURES);
        const wanted = this.wanted.get(next.index);
        if (wanted) this.paint(() => wanted.draw(found));
      } catch (error) {
        if (!isAbort(error)) next.fail(error);
      } finally {
        this.taken.delete(next.index);
        this.wanted.delete(next.index);
      }
      await breathe();
    }
    this.running--;
  }

  /** Draw a picture, together with others that come soon. */
  private paint(draw: () => void): void {
    this.ready.push(draw);
    if (this.painting) return;
    this.painting = window.setTimeout(() => {
      this.painting = 0;
      this.painted = performance.now();
      for (const one of this.ready.splice(0)) one();
    }, Math.max(0, this.painted + PAINTING - performance.now()));
  }

  private next(): Wanted | undefined {
    for (const wanted of this.wanted.values()) if (!this.taken.has(wanted.index)) return wanted;
    return undefined;
  }

  /** The modulation of an example; those of its neighbours that are wanted are fetched with it. */
  private modulation(index: number): Promise<Float32Array> {
    const there = this.modulations.get(index);
    if (there) return there;
    const near = [...this.wanted.keys()].filter((i) => !this.modulations.has(i)).sort((a, b) => a - b);
    const size = this.functaset.network.modulationSize;
    const most = Math.max(1, Math.floor(MOST_NUMBERS / size));
    let [from, to] = [index, index + 1];
    for (const i of near) if (i >= to && i - to < GAP && i - from < most) to = i + 1;
    for (const i of near.reverse()) if (i < from && from - i <= GAP && to - i <= most) from = i;
    const rows = this.functaset.modulations(from, to, { signal: this.stop.signal });
    for (let i = from; i < to; i++) {
      const row = rows.then((all) => all.slice((i - from) * size, (i - from + 1) * size));
      // All that were fetched together fail together: none of them waits again for a host.
      row.then(() => this.failed.delete(i), () => this.failed.add(i));
      keep(this.modulations, i, row, Math.max(1, Math.min(MOST_MODULATIONS, Math.floor(MOST_KEPT_NUMBERS / size))));
    }
    return this.modulations.get(index)!;
  }
}

function keep<T>(kept: Map<number, T>, index: number, value: T, most: number): void {
  kept.delete(index);
  kept.set(index, value);
  if (kept.size > most) kept.delete(kept.keys().next().value!);
}
