/** Which modulations the gallery's queue of pictures fetches, in Node. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Decoder } from "../src/decode";
import type { Functaset } from "../src/store";
import { PictureQueue } from "../src/ui/picture_queue";

vi.mock("../src/ui/kinds", () => ({ smallPicture: async () => ({}) }));

beforeEach(() => vi.stubGlobal("window", globalThis));
afterEach(() => vi.unstubAllGlobals());

test("examples that come with one that is asked for again are not fetched a third time", async () => {
  const fetched: [number, number][] = [];
  let isDown = true;
  const modulations = async (from: number, to: number): Promise<Float32Array> => {
    fetched.push([from, to]);
    if (isDown) throw new Error("the host is down");
    return new Float32Array(to - from);
  };
  const functaset = { network: { modulationSize: 1 }, modulations } as unknown as Functaset;
  const queue = new PictureQueue(functaset, {} as Decoder, {} as never);
  const ask = (...indices: number[]): Promise<boolean[]> =>
    Promise.all(indices.map((index) => new Promise<boolean>((end) => queue.ask(index, () => end(true), () => end(false)))));

  expect(await ask(0, 1, 2, 3, 4)).toEqual(Array(5).fill(false));
  isDown = false;
  expect(await ask(0, 4)).toEqual([true, true]);
  expect(await ask(2)).toEqual([true]);
  expect(fetched).toEqual([[0, 5], [0, 5]]);
  queue.close();
});
