/** What is known of each example beside its modulation, and which examples are shown in which order. */

import type { Functaset, LabelColumn, Reading } from "../store";

export type Order = "archive" | "worst" | "best";

/** What a label must be: one of its classes, a number between two (both included), or a class with a text in its name. */
export type LabelFilter =
  | { kind: "class"; name: string; value: number }
  | { kind: "range"; name: string; low: number; high: number }
  | { kind: "text"; name: string; text: string };

export interface Filter {
  text: string;
  split: string;
  label: LabelFilter | null;
  order: Order;
}

export const NO_FILTER: Filter = { text: "", split: "", label: null, order: "archive" };

/** Classes that a filter offers one by one. */
export const MOST_CLASSES = 200;

/** Examples whose side columns are read at once. */
const BLOCK = 65_536;

export class Catalogue {
  private readonly kept = new Map<string, Promise<unknown>>();

  constructor(readonly functaset: Functaset) {}

  ids(): Promise<string[]> {
    return this.keep("ids", () => this.inBlocks((from, to, options) => this.functaset.ids(from, to, options)));
  }

  splits(): Promise<string[]> {
    return this.keep("splits", () => this.inBlocks((from, to, options) => this.functaset.splits(from, to, options)));
  }

  psnr(): Promise<number[]> {
    const read = async (from: number, to: number, options: Reading) => [...(await this.functaset.psnr.values(from, to, options))];
    return this.keep("psnr", () => this.inBlocks(read));
  }

  label(label: LabelColumn): Promise<number[]> {
    const read = async (from: number, to: number, options: Reading) => [...(await label.values(from, to, options))];
    return this.keep(`label ${label.name}`, () => this.inBlocks(read));
  }

  /** The smallest and the largest number of a label; null if no example has one. */
  async extent(label: LabelColumn): Promise<[number, number] | null> {
    let [low, high] = [Infinity, -Infinity];
    for (const value of await this.label(label)) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return low <= high ? [low, high] : null;
  }

  /** Places of the examples that a filter keeps, in its order. */
  async chosen(filter: Filter): Promise<Uint32Array> {
    let places: number[] | Uint32Array = Uint32Array.from({ length: this.functaset.count }, (_, i) => i);
    const text = filter.text.trim().toLocaleLowerCase();
    if (text !== "") {
      const ids = await this.ids();
      places = places.filter((i) => ids[i].toLocaleLowerCase().includes(text));
    }
    if (filter.split !== "") {
      const splits = await this.splits();
      places = places.filter((i) => splits[i] === filter.split);
    }
    const label = this.functaset.labels.find(({ name }) => name === filter.label?.name);
    if (label && filter.label) {
      const values = await this.label(label);
      const isKept = judge(label, filter.label);
      places = places.filter((i) => isKept(values[i]));
    }
    if (filter.order !== "archive") {
      const psnr = await this.psnr();
      const sign = filter.order === "worst" ? 1 : -1;
      const rank = (i: number) => (Number.isNaN(psnr[i]) ? Infinity : sign * psnr[i]);
      places = Uint32Array.from(places).sort((a, b) => (rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : a - b));
    }
    return Uint32Array.from(places);
  }

  private keep<T>(name: string, read: () => Promise<T>): Promise<T> {
    let found = this.kept.get(name) as Promise<T> | undefined;
    if (!found) {
      found = read();
      found.catch(() => this.kept.delete(name));
      this.kept.set(name, found);
    }
    return found;
  }

  private async inBlocks<T>(read: (from: number, to: number, options: Reading) => Promise<T[]>): Promise<T[]> {
    const found: T[][] = [];
    for (let from = 0; from < this.functaset.count; from += BLOCK) {
      found.push(await read(from, Math.min(from + BLOCK, this.functaset.count), {}));
    }
    return found.flat();
  }
}

/** Whether a value of a label is what a filter keeps; examples without a value are not. */
function judge(label: LabelColumn, filter: LabelFilter): (value: number) => boolean {
  if (filter.kind === "class") return (value) => value === filter.value;
  if (filter.kind === "range") return (value) => value >= filter.low && value <= filter.high;
  const wanted = filter.text.trim().toLocaleLowerCase();
  const kept = new Set((label.classNames ?? []).flatMap((name, i) => (name.toLocaleLowerCase().includes(wanted) ? [i] : [])));
  return (value) => kept.has(value);
}

/** The value of a label in words; null where there is none: NaN, or the number of no class. */
export function labelInWords(label: LabelColumn, value: number): string | null {
  if (Number.isNaN(value)) return null;
  if (label.classNames) return label.classNames[value] ?? null;
  return `${Number(value.toPrecision(6))}${label.unit === "1" || !label.unit ? "" : ` ${label.unit}`}`;
}
