/** JSON that keeps the digits of numbers as they are written, so that its checksum can be computed as a writer does. */

import { StoreError } from "./errors";

const DEEPEST = 100;

/** A number, text, boolean or null: its value, and how it is written in canonical JSON. */
interface Scalar {
  value: string | number | boolean | null;
  text: string;
}

export type Json = Scalar | Json[] | Map<string, Json>;

/** @throws StoreError if the text is no JSON, or deeper than can be meant. */
export function parseJson(text: string, where: string): Json {
  let at = 0;
  const fail = (what: string): never => {
    throw new StoreError(`${where}: no valid JSON: ${what} at character ${at}; copy or convert again.`);
  };
  const space = /[ \t\n\r]*/y;
  const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
  const string = /"(?:[^"\\\u0000-\u001f]|\\.)*"/y;
  const skip = (): void => {
    space.lastIndex = at;
    space.test(text);
    at = space.lastIndex;
  };
  const token = (pattern: RegExp, what: string): string => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (!found) fail(`expected ${what}`);
    at = pattern.lastIndex;
    return found![0];
  };
  const take = (character: string): boolean => {
    skip();
    if (text[at] !== character) return false;
    at++;
    return true;
  };
  const textValue = (): string => {
    const found = token(string, "a text");
    try {
      return JSON.parse(found) as string;
    } catch {
      return fail("a text with unknown escapes");
    }
  };
  const value = (depth: number): Json => {
    if (depth > DEEPEST) fail(`deeper than ${DEEPEST} levels`);
    skip();
    const first = text[at];
    if (first === "{") {
      at++;
      const entries = new Map<string, Json>();
      if (take("}")) return entries;
      do {
        skip();
        const key = textValue();
        if (!take(":")) fail("expected a colon");
        entries.set(key, value(depth + 1));
      } while (take(","));
      if (!take("}")) fail("expected a comma or the end of an object");
      return entries;
    }
    if (first === "[") {
      at++;
      const items: Json[] = [];
      if (take("]")) return items;
      do items.push(value(depth + 1));
      while (take(","));
      if (!take("]")) fail("expected a comma or the end of a list");
      return items;
    }
    if (first === '"') {
      const found = textValue();
      return { value: found, text: JSON.stringify(found) };
    }
    for (const [word, meant] of WORDS) {
      if (text.startsWith(word, at)) {
        at += word.length;
        return { value: meant, text: word };
      }
    }
    const digits = token(number, "a value");
    return { value: Number(digits), text: digits };
  };
  const whole = value(0);
  skip();
  if (at !== text.length) fail("expected the end");
  return whole;
}

const WORDS: [string, boolean | null][] = [["true", true], ["false", false], ["null", null]];

/** JSON with sorted keys, without spaces, numbers as they were written. */
export function canonical(json: Json): string {
  if (Array.isArray(json)) return `[${json.map(canonical).join(",")}]`;
  if (json instanceof Map) {
    const keys = [...json.keys()].sort(byCodePoints);
    return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(json.get(key)!)}`).join(",")}}`;
  }
  return json.text;
}

/** Order of texts by code points, which differs from that of UTF-16 beyond the basic plane. */
function byCodePoints(a: string, b: string): number {
  if (!/[\ud800-\udfff]/.test(a + b)) return a < b ? -1 : a > b ? 1 : 0;
  const [left, right] = [Array.from(a, codePoint), Array.from(b, codePoint)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    if (left[i] !== right[i]) return left[i]! - right[i]!;
  }
  return left.length - right.length;
}

const codePoint = (character: string): number => character.codePointAt(0)!;

/** Plain objects, lists and values. */
export function plain(json: Json): unknown {
  if (Array.isArray(json)) return json.map(plain);
  if (json instanceof Map) return Object.fromEntries([...json].map(([key, value]) => [key, plain(value)]));
  return json.value;
}
