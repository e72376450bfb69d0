/**
 * How soon a picture is sharp after it is zoomed: `STORE=faces.functa npm run bench -- zoom`.
 *
 * A view of 512 x 512 pixels of the first example is zoomed in by 1.5, `STEPS` (12) times, each time when the one before is
 * sharp. Times run from the key's event to the frame that shows: the first sharp tile, the one in the middle of the view,
 * of the size that the page chooses by speed; and all of the view sharp. `RENDERER` is that of the address (?renderer=).
 */

import { cpus, loadavg } from "node:os";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { Desk } from "../tests/ui_browser";

const STEPS = Number(process.env.STEPS ?? 12);
const SIDE = 512;

interface Step {
  first: number;
  all: number;
  /** Points along a side of the first tile, and pixels of the screen that it covers along it. */
  points: number;
  pixels: number;
  tiles: number;
}

test("zoom", async () => {
  const store = process.env.STORE;
  expect(store, "STORE: the path of a functaset").toBeTruthy();
  const desk = new Desk();
  try {
    await desk.launch();
    const page = await desk.page({ viewport: { width: 1290, height: 900 } });
    page.setDefaultTimeout(300_000);
    const asked = process.env.RENDERER ? `?renderer=${process.env.RENDERER}` : "";
    await page.goto(`${await desk.view(resolve(store!))}${asked}#/example/0`);
    await page.waitForSelector('.pane[data-state="sharp"]');
    await page.evaluate((side) => {
      const pane = document.querySelector<HTMLElement>(".pane[data-state]")!;
      Object.assign(pane.style, { width: `${side}px`, height: `${side}px`, flex: "none" });
      pane.focus();
    }, SIDE);
    await page.waitForTimeout(300);
    await page.waitForSelector('.pane[data-state="sharp"]');
    const canvas = await page.$eval(".pane[data-state] canvas", (found) => [(found as HTMLCanvasElement).width, (found as HTMLCanvasElement).height]);
    expect(canvas).toEqual([SIDE, SIDE]);
    const load = loadavg()[0].toFixed(1);
    const steps: Step[] = [];
    for (let step = 0; step < STEPS; step++) {
      await page.evaluate(timing, 1.5 ** (step + 1));
      await page.keyboard.press("+");
      steps.push(await page.evaluate(() => (globalThis as unknown as { timed: Promise<never> }).timed));
    }
    const figures = (of: (one: Step) => number): string => {
      const sorted = steps.map(of).sort((a, b) => a - b);
      return `${Math.round(sorted[Math.floor(STEPS / 2)])} (${Math.round(sorted[0])} to ${Math.round(sorted.at(-1)!)})`;
    };
    console.log(
      `${cpus().length} x ${cpus()[0]?.model}, load ${load}; ${await page.textContent(".renderer")}; ${STEPS} steps to ${(1.5 ** STEPS).toFixed(0)}x\n` +
        `first sharp tile, ms after the key: ${figures(({ first }) => first)}; ` +
        `${figures(({ points }) => points)} points and ${figures(({ pixels }) => pixels)} pixels along a side\n` +
        `all ${SIDE} x ${SIDE} sharp, ms after the key: ${figures(({ all }) => all)}; ${figures(({ tiles }) => tiles)} tiles`,
    );
  } finally {
    await desk.stop();
  }
});

/** Runs in the page, before the key is pressed; what it measures is then promised by `timed`. */
function timing(zoom: number): void {
  const pane = document.querySelector<HTMLElement>(".pane[data-state]")!;
  const timed = new Promise<Step>((done) => {
    let [start, first, tiles, points, pixels] = [0, 0, 0, 0, 0];
    /** After the frame that shows what is drawn now. */
    const shown = (then: () => void): number => requestAnimationFrame(() => requestAnimationFrame(then));
    pane.addEventListener("keydown", (event) => (start = event.timeStamp), { once: true, capture: true });
    const tile = (event: Event): void => {
      const { level, side } = (event as CustomEvent<{ level: number; side: number }>).detail;
      if (tiles++ > 0) return;
      points = side;
      pixels = (side * pane.clientWidth * zoom) / (256 * 2 ** (level / 2));
      shown(() => (first = performance.now() - start));
    };
    pane.addEventListener("tile", tile);
    const observer = new MutationObserver(() => {
      if (start === 0 || pane.dataset.state !== "sharp") return;
      observer.disconnect();
      pane.removeEventListener("tile", tile);
      shown(() => done({ first, all: performance.now() - start, points, pixels, tiles }));
    });
    observer.observe(pane, { attributes: true, attributeFilter: ["data-state"] });
  });
  Object.assign(globalThis, { timed });
}
