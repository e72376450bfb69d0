/** WebGL2 and WebGPU, emulated by the CPU in headless Chromium, decode to what Python does; what breaks is replaced. */

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SHADER } from "../src/decode/gpu/webgpu";
import { SINE_ERROR } from "../src/decode/gpu/sine";
import type { Broken, Calls, Case } from "./renderers/page";
import { readNpy } from "./npy";
import { StaticServer } from "./static_server";
import { FLAGS, PYTHON, ROOT, STATIC } from "./ui_browser";

const GOLDEN = join(ROOT, "tests/golden");
/** One of each kind; that older versions are read is a matter of no renderer. */
const names = readdirSync(GOLDEN).flatMap((name) => /^(v9.*)\.functa$/.exec(name)?.[1] ?? []);
const folder = mkdtempSync(join(tmpdir(), "functa-renderers-"));
const [site, wide] = [join(folder, "site"), join(folder, "wide")];
const server = new StaticServer({ golden: GOLDEN, site, wide, built: STATIC });
let address = "";
let browser: Browser;
let page: Page;
/** Why WebGPU is not tested; null if it is. */
let noWebGpu: string | null = null;

/** Writes some of the functasets whose networks are wide: of all kinds of domains, and all types of modulations. */
const WRITE_WIDE = `
import json, pathlib, sys
from tests.page.decodings import cases, decoded, write
folder, found = pathlib.Path(sys.argv[1]), []
for name, kind, *rest in [case for case in cases() if case[4] == 192][::2]:
    write(folder / f"{name}.functa", kind, *rest)
    found.append(decoded(folder, name, kind))
(folder / "cases.json").write_text(json.dumps(found))
`;

const EMULATED = [
  "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
  "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan",
];

beforeAll(async () => {
  const root = join(import.meta.dirname, "renderers");
  await build({ configFile: false, root, base: "./", logLevel: "error", build: { outDir: site, emptyOutDir: true, target: "es2022" }, worker: { format: "es" } });
  mkdirSync(wide);
  execFileSync(PYTHON, ["-c", WRITE_WIDE, wide], { cwd: ROOT });
  address = await server.start();
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [...FLAGS.filter((flag) => flag !== "--disable-gpu"), ...EMULATED],
  });
  page = await browser.newPage();
  await page.goto(`${address}/site/index.html?renderer=webgl2`);
  await page.waitForFunction(() => "calls" in globalThis);
  noWebGpu = await call("whyNoWebGpu");
  console.log(noWebGpu === null ? "WebGPU is tested, too" : `WebGPU is not tested: ${noWebGpu}`);
}, 300_000);

afterAll(async () => {
  await browser.close();
  await server.stop();
  rmSync(folder, { recursive: true });
});

async function call<K extends keyof Calls>(name: K, ...args: Parameters<Calls[K]>): Promise<Awaited<ReturnType<Calls[K]>>> {
  return page.evaluate(([name, args]) => (globalThis as never as { calls: Record<string, (...args: unknown[]) => unknown> }).calls[name](...args), [
    name,
    args,
  ] as [string, unknown[]]) as never;
}

const golden = (name: string): string => `${address}/golden/${name}.functa`;

/** Largest difference; NaN must be in both. */
function difference(found: ArrayLike<number>, expected: ArrayLike<number>, ranges = [1]): number {
  expect(found.length).toBe(expected.length);
  let most = 0;
  for (let i = 0; i < found.length; i++) {
    if (Number.isNaN(found[i]) !== Number.isNaN(expected[i])) return Infinity;
    most = Math.max(most, Math.abs(found[i] - expected[i]) / ranges[i % ranges.length] || 0);
  }
  return most;
}

describe.each(["webgl2", "webgpu"] as const)("%s", (renderer) => {
  const check = (name: string, body: () => Promise<void>): void =>
    test(name, async (context) => {
      if (renderer === "webgpu" && noWebGpu !== null) return context.skip(noWebGpu);
      return body();
    });

  for (const name of names) {
    check(`${name} decodes to what is kept beside it`, async () => {
      const found = await call("natively", golden(name), renderer);
      expect(found.renderer).toBe(renderer);
      expect(found.description).toMatch(/swiftshader/i);
      expect(difference(found.values, readNpy(join(GOLDEN, `${name}_decoded.npy`)).values, found.ranges)).toBeLessThan(1e-4);
    });
  }

  check("wide networks decode to what Python does, float32, float16 and int8, of all kinds", async () => {
    const cases = JSON.parse(readFileSync(join(wide, "cases.json"), "utf8")) as Case[];
    expect(cases.length).toBeGreaterThan(8);
    const found: Record<string, number> = {};
    for (const one of cases) {
      const { ranges, values } = await call("parts", `${address}/wide/${one.name}.functa`, one, renderer);
      for (const [part, numbers] of Object.entries(values)) {
        const expected = readNpy(join(wide, `${one.name}_${part}.npy`)).values;
        found[`${one.name} ${part}`] = difference(numbers, expected, part === "rays" ? [1] : ranges);
      }
    }
    console.log(`${renderer}: largest difference, as a share of the range: ${Math.max(...Object.values(found)).toExponential(1)}`);
    expect(Object.entries(found).filter(([, error]) => !(error < 1e-4))).toEqual([]);
  });

  for (const kind of ["v9", "v9_sphere", "v9_scene", "v9_spatial", "v9_spatial_sphere"]) {
    check(`tiles and rays of ${kind} are those of WebAssembly`, async () => {
      const [found, expected] = [await call("elsewhere", golden(kind), renderer), await call("elsewhere", golden(kind), "wasm")];
      const size = Math.max(...expected.map((value) => Math.abs(value) || 0));
      expect(difference(found, expected) / size).toBeLessThan(1e-5);
    });
  }

  check("sines are right up to the named error", async () => {
    const turns = Array.from({ length: 20_000 }, (_, i) => Math.fround(((i - 10_000) / 10_000) * (i % 3 ? 1 : 1592) + 1e-3 * Math.sin(i)));
    const found = await call("sines", renderer, turns);
    const largest = turns.reduce((most, t, i) => Math.max(most, Math.abs(found[i] - Math.sin(2 * Math.PI * (t - Math.round(t))))), 0);
    expect(largest).toBeLessThan(SINE_ERROR);
  });

  check("what it takes of the browser is given back where it cannot work", async () => {
    const { message, isLost } = await call("givenBack", golden("v9"), renderer);
    expect(message).toMatch(renderer === "webgl2" ? /cannot draw to float32/ : /no pipeline/);
    expect(isLost).toBe(true);
  });

  check("pictures are sharp at 64x and beyond", async () => {
    for (const zoom of [64, 4096]) {
      const { error, step } = await call("zoomed", golden("v7"), renderer, zoom);
      expect(error).toBeLessThan(1e-4);
      expect(error / step, `at ${zoom}x`).toBeLessThan(zoom === 64 ? 0.02 : 1);
    }
  });
});

test("the shader of WebGPU has no errors", async (context) => {
  const messages = await call("validated", SHADER);
  if (messages === null) return context.skip("this browser has no WebGPU that could say so");
  expect(messages).toEqual([]);
});

test("a lost context is replaced by the CPU, and tried again later", async () => {
  const found = await call("loseContext", golden("v9_sphere"));
  expect(found).toMatchObject({ before: "webgl2", after: "wasm", later: "webgl2" });
  expect(found.told).toEqual([expect.stringMatching(/^WebGL2 failed: the browser took WebGL2 away.*: wasm$/), "WebGL2 is there again: webgl2"]);
  expect(found.difference).toBeLessThan(1e-2); // K, of a range of 80
});

test.each([
  ["silent", /did not answer within 1 s/],
  ["unreadable", /could not be read/],
] as const)("workers that are %s are replaced by this thread, with a message", async (how, reason) => {
  const found: Broken = await call("breakWorkers", golden("v9"), how);
  expect(found.before).toBe("CPU, 2 workers, broken");
  expect(found.after).toBe("CPU, this thread, WebAssembly");
  expect(found.told).toEqual([expect.stringMatching(reason)]);
  expect(found.difference).toBeLessThan(1e-2);
});

test("where workers do not start, this thread decodes", async () => {
  const found: Broken = await call("breakWorkers", golden("v9"), "never started");
  expect(found.after).toBe("CPU, this thread, WebAssembly");
});

test.each([
  ["emulated", ["wasm", null, "wasm", "0 + 0"]],
  ["slow", ["wasm", "wasm", "wasm", "1 + 0"]],
  ["wrong", ["wasm", null, "wasm", "1 + 0"]],
  ["without WebAssembly", ["webgl2", "webgl2", "webgl2", "1 + 1"]],
] as const)("of WebGL2 and the CPU the faster one is chosen that is right: %s", async (how, expected) => {
  expect(await call("chosen", golden("v9"), how)).toEqual(expected);
});

test.each([
  { around: 35, above: 25, zoom: 1 },
  { around: 200, above: -60, zoom: 2.5 },
])("the graphics card draws solids as this thread does: %o", async (turn) => {
  const { differing, filled } = await call("solids", turn);
  expect(filled).toBeGreaterThan(0.1);
  expect(differing).toBeLessThan(0.005);
});

describe("the page as it is built", () => {
  const open = async (asked: string, script?: () => void): Promise<Page> => {
    const found = await browser.newPage({ viewport: { width: 420, height: 600 } });
    if (script) await found.addInitScript(script);
    await found.goto(`${address}/built/index.html?store=${golden("v9")}${asked}#/example/1`);
    return found;
  };
  const pixels = async (from: Page): Promise<Buffer> => {
    const text = await from.$eval(".panes figure:first-child canvas", (canvas) => {
      const { width, height } = canvas as HTMLCanvasElement;
      const { data } = (canvas as HTMLCanvasElement).getContext("2d")!.getImageData(0, 0, width, height);
      return Array.from(data, (value) => String.fromCharCode(value)).join("");
    });
    return Buffer.from(text, "latin1");
  };

  test("shows what decodes, and the same picture whichever does", async () => {
    let expected: Buffer | null = null;
    for (const [renderer, words] of [["wasm", /^Decoded by CPU, \d+ workers, WebAssembly$/], ["js", /JavaScript$/], ["webgl2", /^Decoded by WebGL2, .*SwiftShader/]] as const) {
      const found = await open(`&renderer=${renderer}`);
      await found.waitForSelector('.panes [data-state="sharp"]');
      expect(await found.textContent(".renderer")).toMatch(words);
      const seen = await pixels(found);
      expected ??= seen;
      expect(difference(seen, expected), renderer).toBeLessThanOrEqual(2);
      await found.close();
    }
    expect(new Set(expected).size).toBeGreaterThan(20);
  });

  test("an unknown renderer is an error that names the known ones", async () => {
    const found = await open("&renderer=opengl");
    await expect.poll(() => found.textContent('[role="alert"]')).toContain("expected one of webgpu, webgl2, wasm, js");
    await found.close();
  });

  test("a failing worker is told, and the picture is drawn", async () => {
    const found = await open("&renderer=wasm", () => {
      const send = Worker.prototype.postMessage;
      Worker.prototype.postMessage = function (this: Worker, message: { number?: number }, ...rest: never[]) {
        if (message.number === undefined) send.call(this, message, ...rest);
        else setTimeout(() => this.onmessageerror!(new MessageEvent("messageerror")));
      };
    });
    await found.waitForSelector('.panes [data-state="sharp"]');
    expect(await found.textContent(".renderer")).toBe("CPU failed: a worker's answer could not be read. Decoded by CPU, this thread, WebAssembly");
    await found.close();
  });
});
