/** Checks of a stranger's JSON; each names the field, what was found and what was expected. */

import { StoreError } from "./errors";

export type Fields = Record<string, unknown>;

/** Reads fields of one JSON object. */
export class Reader {
  private readonly fields: Fields;

  constructor(
    value: unknown,
    private readonly where: string,
  ) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new StoreError(`${where}: found ${brief(value)}, expected an object. Copy or convert again.`);
    }
    this.fields = value as Fields;
  }

  /** Refuse fields that no writer writes, and miss those that one does. */
  only(...names: string[]): this {
    for (const name of names) if (!(name in this.fields)) this.fail(name, "is missing");
    for (const name of Object.keys(this.fields)) if (!names.includes(name)) this.fail(brief(name), "is unknown");
    return this;
  }

  fail(name: string, what: string): never {
    throw new StoreError(`${this.where}: ${name} ${what}. Copy or convert again.`);
  }

  value(name: string): unknown {
    return this.fields[name];
  }

  object(name: string): Reader {
    return new Reader(this.fields[name], `${this.where}.${name}`);
  }

  entries(name: string): [string, Reader][] {
    const found = this.object(name);
    return Object.keys(found.fields).map((key) => [key, found.object(key)]);
  }

  whole(name: string, low: number, high: number): number {
    return this.wholeOf(name, this.fields[name], low, high);
  }

  wholes(name: string, low: number, high: number, most: number): number[] {
    return this.list(name, most).map((value) => this.wholeOf(name, value, low, high));
  }

  number(name: string, low = -Number.MAX_VALUE, high = Number.MAX_VALUE): number {
    return this.numberOf(name, this.fields[name], low, high);
  }

  numbers(name: string, most: number, low = -Number.MAX_VALUE, high = Number.MAX_VALUE): number[] {
    return this.list(name, most).map((value) => this.numberOf(name, value, low, high));
  }

  flag(name: string): boolean {
    const value = this.fields[name];
    return typeof value === "boolean" ? value : this.fail(name, `is ${brief(value)}, expected true or false`);
  }

  text(name: string): string {
    return this.textOf(name, this.fields[name]);
  }

  texts(name: string, most: number): string[] {
    return this.list(name, most).map((value) => this.textOf(name, value));
  }

  oneOf<T extends string | number>(name: string, ...words: T[]): T {
    const value = this.fields[name] as T;
    return words.includes(value) ? value : this.fail(name, `is ${brief(value)}, expected ${words.join(" or ")}`);
  }

  list(name: string, most: number): unknown[] {
    const value = this.fields[name];
    if (!Array.isArray(value)) return this.fail(name, `is ${brief(value)}, expected a list`);
    if (value.length > most) return this.fail(name, `has ${value.length} entries, expected at most ${most}`);
    return value as unknown[];
  }

  private wholeOf(name: string, value: unknown, low: number, high: number): number {
    if (typeof value === "number" && Number.isInteger(value) && value >= low && value <= high) return value;
    return this.fail(name, `is ${brief(value)}, expected a whole number from ${low} to ${high}`);
  }

  private numberOf(name: string, value: unknown, low: number, high: number): number {
    if (typeof value === "number" && value >= low && value <= high) return value;
    const range = high < Number.MAX_VALUE ? ` from ${low} to ${high}` : "";
    return this.fail(name, `is ${brief(value)}, expected a finite number${range}`);
  }

  private textOf(name: string, value: unknown): string {
    return typeof value === "string" ? value : this.fail(name, `is ${brief(value)}, expected a text`);
  }
}

/** A value in at most 80 characters. */
export function brief(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

export const product = (sizes: readonly number[]): number => sizes.reduce((total, size) => total * size, 1);
