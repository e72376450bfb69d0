/** Values read back from buffers are those of `Functaset.decode`, for all kinds, data types, lookups, sizes and versions. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDecoder, type Decoder, type Region } from "../src/decode";
import { type Functaset, openFunctaset } from "../src/store";
import { readNpy } from "./npy";
import { StaticServer } from "./static_server";
import { PYTHON, ROOT } from "./ui_browser";

interface Case {
  name: string;
  kind: string;
  index: number;
  tiles: { part: string; region: Region; points: number[] }[];
  origins?: number[];
  directions?: number[];
}

/** Share of a channel's range that values may differ by. */
const TOLERANCE = 2 / 255;

const folder = mkdtempSync(join(tmpdir(), "functa-decodings-"));
const server = new StaticServer({ stores: folder });
let address = "";
let cases: Case[] = [];
const worst = new Map<string, number>();

beforeAll(async () => {
  execFileSync(PYTHON, ["-m", "tests.page.decodings", folder], { cwd: ROOT });
  cases = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8")) as Case[];
  address = await server.start();
}, 600_000);

afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
  const figures = [...worst].map(([what, error]) => `${what} ${error.toExponential(1)}`).join(", ");
  console.log(`largest differences, as shares of the ranges: ${figures}`);
}, 60_000);

/** The largest difference between what was found and what is kept, as a share of the ranges; NaN must be in both. */
function difference(found: Float32Array, name: string, ranges: number[]): number {
  const { values } = readNpy(join(folder, `${name}.npy`));
  expect(found.length, name).toBe(values.length);
  let most = 0;
  found.forEach((value, i) => {
    const expected = values[i]!;
    if (Number.isNaN(expected) !== Number.isNaN(value)) most = Infinity;
    else if (!Number.isNaN(value)) most = Math.max(most, Math.abs(value - expected) / ranges[i % ranges.length]!);
  });
  return most;
}

/** What differs by more than may be, in words. */
async function compare(functaset: Functaset, decoder: Decoder, one: Case): Promise<string[]> {
  const ranges = functaset.channels.map(({ range: [low, high] }) => high - low);
  const modulation = await functaset.modulation(one.index);
  const wrong: string[] = [];
  const note = (part: string, error: number): void => {
    worst.set(`${one.kind} ${part}`, Math.max(worst.get(`${one.kind} ${part}`) ?? 0, error));
    if (!(error < TOLERANCE)) wrong.push(`${one.name} ${part}: ${error}`);
  };
  const check = (part: string, found: Float32Array, of = ranges): void => note(part, difference(found, `${one.name}_${part}`, of));
  check("native", await decoder.grid(modulation));
  for (const { part, region, points } of one.tiles) {
    const [height, width] = [points.at(-2) ?? 1, points.at(-1)!];
    check(part, await decoder.tile(modulation, region, width, height));
  }
  if (one.origins && one.directions) {
    const rays = await decoder.rays(modulation, Float32Array.from(one.origins), Float32Array.from(one.directions));
    check("rays", rays.colours, [1, 1, 1]);
  }
  // What is interpolated up to a tolerance is close to what is computed, also between the points that were compared.
  const { region } = one.tiles.find(({ part }) => part === "zoom")!;
  const exact = await decoder.tile(modulation, region, 64, 64);
  const interpolated = await decoder.tile(modulation, region, 64, 64, { tolerance: TOLERANCE / 2 });
  note("interpolated", exact.reduce((most, value, i) => Math.max(most, Math.abs((interpolated[i]! - value) / ranges[i % ranges.length]!) || 0), 0));
  return wrong;
}

test("values are those of Python", async () => {
  expect(cases.filter(({ kind }) => !kind.startsWith("version")).length).toBe(35);
  expect(new Set(cases.flatMap(({ kind }) => /^version (\d)/.exec(kind)?.[1] ?? []))).toEqual(new Set("123456789"));
  const wrong: string[] = [];
  for (const one of cases) {
    const functaset = await openFunctaset(`${address}/stores/${one.name}.functa`);
    const decoder = await createDecoder(functaset, { renderer: "wasm" });
    wrong.push(...(await compare(functaset, decoder, one)));
    decoder.dispose();
  }
  expect(wrong).toEqual([]);
}, 120_000);
