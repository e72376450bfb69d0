/**
 * How long a gallery takes: `STORE=faces.functa npm run bench`, with `RUNS` pages (5) of a hundred examples or more.
 *
 * The store is served by `functa view`, headless Chromium has no GPU. Times are milliseconds after the page's load event.
 */

import { cpus, loadavg } from "node:os";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { Desk } from "../tests/ui_browser";

const RUNS = Number(process.env.RUNS ?? 5);
const EXAMPLES = 100;
const PATIENCE = 60_000;

interface Timing {
  first: number;
  all: number;
  cells: number;
  requests: number;
  bytes: number;
}

test("gallery", async () => {
  const store = process.env.STORE;
  expect(store, "STORE: the path of a functaset").toBeTruthy();
  const desk = new Desk();
  try {
    await desk.launch();
    const url = await desk.view(resolve(store!));
    const timings: Timing[] = [];
    const load = loadavg()[0]!.toFixed(1);
    for (let run = 0; run < RUNS; run++) {
      const page = await desk.page({ viewport: { width: 1290, height: 1600 } });
      await page.goto(url, { waitUntil: "load" });
      timings.push(await page.evaluate(timing, [EXAMPLES, PATIENCE] as const));
      await page.context().close();
    }
    const { cells, requests, bytes } = timings[0]!;
    const figures = (of: (one: Timing) => number): string => {
      const [least, ...rest] = timings.map(of).sort((a, b) => a - b);
      return `${[least, ...rest][Math.floor(RUNS / 2)]} (${least} to ${rest.at(-1) ?? least})`;
    };
    console.log(
      `${cpus().length} x ${cpus()[0]?.model}, load ${load}; ${RUNS} pages, ${cells} cells, ${requests} requests, ${bytes} bytes\n` +
        `first picture, ms after load: ${figures(({ first }) => first)}\n` +
        `${EXAMPLES} pictures, ms after load: ${figures(({ all }) => all)}`,
    );
  } finally {
    await desk.stop();
  }
});

/** Runs in the page. */
function timing([examples, patience]: readonly [number, number]): Promise<Timing> {
  return new Promise((done) => {
    const [navigation] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
    const after = () => Math.round(performance.now() - navigation!.loadEventEnd);
    let first = 0;
    const look = () => {
      const drawn = document.querySelectorAll(".cells li[data-drawn]").length;
      if (drawn > 0 && first === 0) first = after();
      if (drawn < examples && performance.now() < patience) return setTimeout(look, 10);
      const fetched = performance.getEntriesByType("resource") as PerformanceResourceTiming[];
      done({
        first,
        all: drawn < examples ? Infinity : after(),
        cells: document.querySelectorAll(".cells li").length,
        requests: fetched.length,
        bytes: fetched.reduce((sum, { transferSize }) => sum + transferSize, 0),
      });
    };
    look();
  });
}
