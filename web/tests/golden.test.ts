/** Stores of every format version, as they lie in the repository, decode to what is kept beside them. */

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDecoder } from "../src/decode";
import { openFunctaset } from "../src/store";
import { readNpy } from "./npy";
import { StaticServer } from "./static_server";

const GOLDEN = join(import.meta.dirname, "../../tests/golden");
const server = new StaticServer({ golden: GOLDEN });
let address = "";

beforeAll(async () => void (address = await server.start()));
afterAll(() => server.stop());

const names = readdirSync(GOLDEN).flatMap((name) => /^(v\d.*)\.functa$/.exec(name)?.[1] ?? []);

test.each(names)("%s decodes to what is kept beside it", async (name) => {
  const functaset = await openFunctaset(`${address}/golden/${name}.functa`);
  const decoder = await createDecoder(functaset, { renderer: "wasm" });
  expect(decoder.description).toBe("CPU, this thread, WebAssembly");
  const { shape, values } = readNpy(join(GOLDEN, `${name}_decoded.npy`));
  expect([functaset.count, ...functaset.domain.resolution, functaset.channels.length]).toEqual(shape);
  const size = values.length / functaset.count;
  const ranges = functaset.channels.map(({ range: [low, high] }) => high - low);
  for (let example = 0; example < functaset.count; example++) {
    const found = await decoder.grid(await functaset.modulation(example));
    expect(found.length).toBe(size);
    found.forEach((value, i) => {
      const expected = values[example * size + i]!;
      if (Number.isNaN(expected)) expect(value).toBeNaN();
      else expect(Math.abs(value - expected) / ranges[i % ranges.length]!).toBeLessThan(1e-5);
    });
  }
  decoder.dispose();
});

test("there is a store of each format version", () => {
  expect(new Set(names.map((name) => name[1]))).toEqual(new Set("12345679"));
  expect(existsSync(join(GOLDEN, "grown_v8.functa"))).toBe(true);
});

test("a grown functaset has the examples of its part behind its own", async () => {
  const grown = await openFunctaset(`${address}/golden/grown_v8.functa`);
  const first = await openFunctaset(`${address}/golden/v7.functa`);
  expect([grown.formatVersion, grown.count, grown.numParts]).toEqual([8, 7, 2]);
  expect(await grown.ids(3, 7)).toEqual(["d.png", "e.png", "f.png", "g.png"]);
  const modulations = await grown.modulations(0, 7);
  expect(modulations.subarray(0, 20)).toEqual(await first.modulations(0, 5));
  const steps = modulations.subarray(20, 28).map((value, i) => value - modulations[4 + i]!);
  expect(Math.max(...steps.map(Math.abs))).toBeLessThan(0.01);
  expect(grown.labels.map(({ name }) => name)).toEqual([]);
});

test("a part's classes are told by their names, whatever their numbers in it", async () => {
  const grown = await openFunctaset(`${address}/golden/grown_v8_classes.functa`);
  const [animal] = grown.labels;
  expect([animal!.name, animal!.classNames]).toEqual(["animal", ["cat", "dog", "owl"]]);
  expect([...(await animal!.values(0, 7))]).toEqual([0, 1, 1, 0, 1, 1, 2]);
  expect([...(await animal!.values(6, 7))]).toEqual([2]);
});

test("a grown functaset may be of the version whose manifest is in arrays", async () => {
  const grown = await openFunctaset(`${address}/golden/grown_v8_of_v9.functa`);
  expect([grown.formatVersion, grown.numParts]).toEqual([8, 2]);
  expect((await grown.ids(0, 1)).length).toBe(1);
});

test.each(["v7", "v9"])("ids, splits, labels, errors and statistics of %s are read", async (name) => {
  const functaset = await openFunctaset(`${address}/golden/${name}.functa`);
  expect(await functaset.ids(0, 5)).toEqual(["a.png", "b.png", "ä.png", "d.png", "e.png"]);
  expect(await functaset.splits(1, 3)).toEqual(["validation", "test"]);
  expect(functaset.labels.map(({ name, classNames }) => [name, classNames])).toEqual([["animal", ["cat", "dog"]]]);
  expect([...(await functaset.labels[0]!.values(0, 5))]).toEqual([0, 1, 1, 0, 1]);
  const [mse, psnr] = [await functaset.mse.values(0, 5), await functaset.psnr.values(0, 5)];
  expect(psnr[4]).toBeCloseTo(-10 * Math.log10(mse[4]!), 10);
  expect(functaset.metrics.map(({ name }) => name)).toEqual(["iou", "accuracy"]);
  expect((await functaset.metrics[1]!.values(0, 5))[0]).toBeNaN();
  const { mean, std } = (await functaset.statistics())!;
  const rows = await functaset.modulations(0, 5);
  const column = [0, 1, 2, 3, 4].map((i) => rows[4 * i + 2]!);
  const average = column.reduce((a, b) => a + b) / 5;
  expect(mean[2]).toBeCloseTo(average, 5);
  expect(std[2]).toBeCloseTo(Math.sqrt(column.reduce((a, b) => a + (b - average) ** 2, 0) / 5), 5);
});

test("a modulation is one closed range, and nothing else is asked for", async () => {
  const functaset = await openFunctaset(`${address}/golden/v7_spatial.functa`);
  await functaset.modulation(0);
  server.asked.length = 0;
  await functaset.modulation(4);
  expect(server.asked).toEqual([
    { method: "GET", path: "/golden/v7_spatial.functa/modulations/c/1/0/0/0", range: "bytes=0-11", bytes: 12 },
  ]);
});
