/** Evaluators that are compared, fail or are disposed of, in Node: what is then at work, and what is remembered of it. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { chooseEvaluator } from "../src/decode/choice";
import type { RendererName } from "../src/decode/decoder";
import { type Evaluator, type Job, RendererError, type Weights } from "../src/decode/evaluator";
import { LastingEvaluator } from "../src/decode/lasting_evaluator";
import { ThisThread } from "../src/decode/executor";
import type { Network } from "../src/store";
import * as starting from "../src/decode/starting";

vi.mock("../src/decode/starting", { spy: true });

const WEIGHTS: Weights = {
  network: { inputs: 1, width: 2, depth: 2, channels: 1, w0: 1 } as Network,
  sine: [{ kernel: new Float32Array(2), bias: new Float32Array(2) }],
  last: { kernel: new Float32Array(2), bias: new Float32Array(1) },
  map: null,
};
const JOB: Job = { shifts: { rows: 1, values: new Float32Array(2) }, inputs: new Float32Array(3), rows: null };

class Fake implements Evaluator {
  readonly isHere = true;
  isDisposed = false;

  constructor(
    readonly renderer: RendererName,
    readonly evaluate: Evaluator["evaluate"] = async ({ inputs }) => new Float32Array(inputs.length),
    readonly description: string = renderer,
  ) {}

  dispose(): void {
    this.isDisposed = true;
  }
}

const failing = async (): Promise<never> => {
  throw new RendererError("it does not work");
};

beforeEach(() => {
  const kept = new Map<string, string>();
  vi.stubGlobal("localStorage", { getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => kept.set(key, value), kept });
  vi.stubGlobal("window", globalThis);
  vi.stubGlobal("navigator", { userAgent: "a browser" });
  vi.stubGlobal("WebGL2RenderingContext", class {});
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetAllMocks();
});

test.each([
  ["fails", failing, "js", []],
  ["works", undefined, "webgl2", ["webgl2"]],
] as const)("of plain JavaScript and a card that %s when it is timed the right one is at work, and remembered", async (_, evaluate, expected, remembered) => {
  const [js, card] = [new Fake("js"), new Fake("webgl2", evaluate)];
  vi.mocked(starting.createOnCpu).mockResolvedValue(js);
  vi.mocked(starting.createChecked).mockResolvedValue(card);
  const told: string[] = [];
  const found = await chooseEvaluator(WEIGHTS, { onChange: (_, reason) => told.push(reason) });
  await expect.poll(() => js.isDisposed || card.isDisposed, { timeout: 5000 }).toBe(true); // when the comparison is over
  expect(found.renderer).toBe(expected);
  expect([js.isDisposed, card.isDisposed]).toEqual([expected !== "js", expected === "js"]);
  const kept = [...(localStorage as unknown as { kept: Map<string, string> }).kept.values()];
  expect(kept.map((value) => value.split(" ")[0])).toEqual(remembered);
  expect(told).toEqual(expected === "js" ? [] : ["webgl2 is faster here"]);
});

test("what took the place of a failed evaluator meanwhile stays", async () => {
  const [failed, card, cpu] = [new Fake("webgl2", failing), new Fake("webgpu"), new Fake("wasm")];
  let start: (evaluator: Evaluator) => void;
  vi.mocked(starting.createOnCpu).mockReturnValue(new Promise((resolve) => (start = resolve)));
  const told: string[] = [];
  const lasting = new LastingEvaluator(failed, WEIGHTS, { onChange: (_, reason) => told.push(reason) });
  const found = lasting.evaluate(JOB);
  await expect.poll(() => vi.mocked(starting.createOnCpu).mock.calls.length).toBe(1);
  lasting.swap(card, "webgpu is faster here");
  start!(cpu);
  expect((await found).length).toBe(3);
  expect(lasting.current).toBe(card);
  expect([failed, card, cpu].map(({ isDisposed }) => isDisposed)).toEqual([true, false, true]);
  expect(told).toEqual(["webgpu is faster here"]);
});

test("a failed evaluator is disposed of where nothing takes its place", async () => {
  const failed = new Fake("webgl2", failing);
  vi.mocked(starting.createOnCpu).mockRejectedValue(new RendererError("there is nothing else"));
  const lasting = new LastingEvaluator(failed, WEIGHTS, {});
  await expect(lasting.evaluate(JOB)).rejects.toThrow("there is nothing else");
  expect(failed.isDisposed).toBe(true);
});

test("pieces that wait for this thread end when it is stopped", async () => {
  const evaluate = vi.fn(({ inputs }: Job) => inputs);
  const thread = new ThisThread({ name: "fake", evaluate, dispose: () => undefined });
  const [first, ...others] = [1, 2, 3].map(() => thread.run(JOB));
  await first;
  thread.stop();
  for (const found of [...others, thread.run(JOB)]) await expect(found).rejects.toThrow(expect.objectContaining({ name: "AbortError" }));
  expect(evaluate).toHaveBeenCalledTimes(1);
});
