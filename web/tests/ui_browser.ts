/** Headless Chromium, `functa view` and functasets for tests of what is on the screen. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

export const ROOT = join(import.meta.dirname, "../..");
export const STATIC = join(ROOT, "functa_store/page/static");
export const PYTHON = process.env.PYTHON ?? join(ROOT, ".venv/bin/python");
const QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
export const FLAGS = ["--no-sandbox", ...QUIET, "--disable-component-update", "--disable-sync"];

/** A folder with the functasets of `tests/page/stores.py`, until `stop`. */
export class Desk {
  readonly folder = mkdtempSync(join(tmpdir(), "functa-page-"));
  private readonly servers: ChildProcess[] = [];
  private browser: Browser | null = null;

  async start(): Promise<void> {
    execFileSync(PYTHON, ["-m", "tests.page.stores", this.folder], { cwd: ROOT });
    await this.launch();
  }

  /** Chromium alone, without functasets in the folder. */
  async launch(): Promise<void> {
    this.browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
  }

  async stop(): Promise<void> {
    await this.browser?.close();
    for (const server of this.servers) server.kill("SIGINT");
    rmSync(this.folder, { recursive: true });
  }

  /** Write the functaset of 1 GiB into the folder, too. */
  writeLarge(): void {
    execFileSync(PYTHON, ["-m", "tests.page.stores", this.folder, "large"], { cwd: ROOT });
  }

  /** Address of a functaset's page, served by `functa view`; a name is one of the folder, or a path. */
  async view(name: string): Promise<string> {
    const words = ["-m", "functa_store.cli", "view", resolve(this.folder, name), "--no-browser", "--json"];
    const server = spawn(PYTHON, words, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
    this.servers.push(server);
    return new Promise((resolve) => server.stdout!.once("data", (line) => resolve(JSON.parse(String(line)).url)));
  }

  /** A page in a browser of its own, whose errors fail the test that looks at them. */
  async page(options: BrowserContextOptions = {}): Promise<Page & { errors: string[] }> {
    const context = await this.browser!.newContext({ viewport: { width: 1100, height: 760 }, ...options });
    const page = Object.assign(await context.newPage(), { errors: [] as string[] });
    page.setDefaultTimeout(20_000);
    page.on("pageerror", (error) => page.errors.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) page.errors.push(message.text());
    });
    return page;
  }
}

/** Wait until all small pictures on the screen are drawn. */
export async function drawn(page: Page): Promise<void> {
  await page.waitForFunction(() => {
    const cells = [...document.querySelectorAll<HTMLElement>(".cells li")];
    return cells.length > 0 && cells.every(({ dataset }) => dataset.drawn);
  });
}

export async function sharp(page: Page): Promise<void> {
  await page.waitForSelector('.stage [data-state="sharp"], .stage[data-state="sharp"]');
}

/** What a canvas shows: a digest of its pixels, how many colours they have, and how many are there at all. */
export async function seen(page: Page, selector: string): Promise<{ digest: number; colours: number; opaque: number; width: number }> {
  return page.$eval(selector, (canvas) => {
    const { width, height } = canvas as HTMLCanvasElement;
    const { data } = (canvas as HTMLCanvasElement).getContext("2d")!.getImageData(0, 0, width, height);
    const colours = new Set<number>();
    let [digest, opaque] = [2166136261, 0];
    for (const colour of new Uint32Array(data.buffer)) {
      colours.add(colour);
      if (colour >>> 24 === 255) opaque++;
      digest = Math.imul(digest ^ colour, 16777619);
    }
    return { digest, colours: colours.size, opaque, width };
  });
}
