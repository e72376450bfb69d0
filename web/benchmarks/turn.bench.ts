/**
 * For how long keys and pointers are not heard while a surface is turned: `STORE=shapes.functa npm run bench -- turn`.
 *
 * The surface of the first example is turned by arrow keys, `STEPS` (12) times, each time when it is sharp. A message that
 * the page sends to itself again and again tells the longest time in which nothing else was heard, of each turn.
 * `RENDERER=webgl2` draws by WebGL2 also where the CPU emulates it.
 */

import { cpus, loadavg } from "node:os";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { Desk } from "../tests/ui_browser";

const STEPS = Number(process.env.STEPS ?? 12);

test("turn", async () => {
  const store = process.env.STORE;
  expect(store, "STORE: the path of a functaset").toBeTruthy();
  const desk = new Desk();
  try {
    await desk.launch();
    const page = await desk.page();
    page.setDefaultTimeout(300_000);
    const asked = process.env.RENDERER ? `?renderer=${process.env.RENDERER}` : "";
    await page.goto(`${await desk.view(resolve(store!))}${asked}#/example/0`);
    for (const place of [".turned", ".panes > figure"]) await page.waitForSelector(`${place} .pane[data-state="sharp"]`);
    await page.locator(".turned .pane").focus();
    const load = loadavg()[0].toFixed(1);
    const found: { longest: number; all: number }[] = [];
    for (let step = 0; step < STEPS; step++) {
      await page.evaluate(turning);
      await page.keyboard.press(step % 3 ? "ArrowRight" : "ArrowUp");
      found.push(await page.evaluate(() => (globalThis as unknown as { timed: Promise<never> }).timed));
    }
    const figures = (of: (one: { longest: number; all: number }) => number): string => {
      const sorted = found.map(of).sort((a, b) => a - b);
      return `${Math.round(sorted[Math.floor(STEPS / 2)])} (${Math.round(sorted[0])} to ${Math.round(sorted.at(-1)!)})`;
    };
    const by = await page.$eval(".turned .pane", (pane) => (pane as HTMLElement).dataset.drawn);
    console.log(
      `${cpus().length} x ${cpus()[0]?.model}, load ${load}; drawn by the ${by}; ${STEPS} turns\n` +
        `longest time without hearing keys, ms: ${figures(({ longest }) => longest)}\n` +
        `all sharp, ms after the key: ${figures(({ all }) => all)}`,
    );
  } finally {
    await desk.stop();
  }
});

/** Runs in the page, before the key is pressed; what it measures is then promised by `timed`. */
function turning(): void {
  const pane = document.querySelector<HTMLElement>(".turned .pane")!;
  const timed = new Promise<{ longest: number; all: number }>((done) => {
    const channel = new MessageChannel();
    let [start, before, longest, hasBegun] = [0, 0, 0, false];
    const observer = new MutationObserver(() => (hasBegun = start > 0));
    observer.observe(pane, { attributes: true, attributeFilter: ["data-state"] });
    pane.addEventListener("keydown", (event) => (start = before = event.timeStamp), { once: true, capture: true });
    channel.port1.onmessage = () => {
      const now = performance.now();
      if (start > 0) {
        longest = Math.max(longest, now - before);
        before = now;
        if (hasBegun && pane.dataset.state === "sharp") {
          channel.port1.close();
          observer.disconnect();
          return done({ longest, all: now - start });
        }
      }
      channel.port2.postMessage(null);
    };
    channel.port2.postMessage(null);
  });
  Object.assign(globalThis, { timed });
}
