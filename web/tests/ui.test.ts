/** What is on the screen, in headless Chromium, served by `functa view`. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { StaticServer } from "./static_server";
import { Desk, drawn, ROOT, seen, sharp, STATIC } from "./ui_browser";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const desk = new Desk();
let many = "";

beforeAll(async () => {
  await desk.start();
  many = await desk.view("many.functa");
}, 120_000);
afterAll(() => desk.stop());

/** What axe-core finds wrong with what is on the screen. */
async function violations(page: Awaited<ReturnType<Desk["page"]>>): Promise<string[]> {
  return page.evaluate(async () => {
    const axe = (window as unknown as { axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } }).axe;
    const found = await axe.run();
    return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`);
  });
}

async function withAxe(options: Parameters<Desk["page"]>[0] = {}): Promise<Awaited<ReturnType<Desk["page"]>>> {
  const page = await desk.page(options);
  await page.addInitScript(AXE);
  return page;
}

test("a gallery shows pictures, ids, splits and quality, and only those on the screen", async () => {
  const page = await desk.page();
  await page.goto(many);
  await drawn(page);
  expect(await page.title()).toBe("many · functaset");
  expect(await page.textContent(".status")).toBe("3,000 examples");
  const cells = await page.locator(".cells li").count();
  expect(cells).toBeGreaterThan(20);
  expect(cells).toBeLessThan(150);
  await expect.poll(() => page.textContent(".cells li:first-child")).toBe("00000.pngtrain · 10.0 dBanimal cat · breed breed 0");
  expect(await page.textContent(".cells li:nth-child(2) .labels")).toBe("age 0.1 · animal dog"); // it has no breed
  expect((await seen(page, ".cells li:first-child canvas")).colours).toBeGreaterThan(20);
  await page.$eval(".scroller", (scroller) => (scroller.scrollTop = scroller.scrollHeight));
  await expect.poll(() => page.textContent(".cells li:last-child .id")).toBe("02999.png");
  expect(await page.locator(".cells li").count()).toBeLessThan(150);
  expect(page.errors).toEqual([]);
});

test("filters keep examples by text, split and label, and sort them by error", async () => {
  const page = await desk.page();
  await page.goto(many);
  const shown = () => page.textContent(".status");
  const first = () => page.textContent(".cells li:first-child .id");
  await page.getByLabel("Id contains").fill("0017");
  await expect.poll(shown).toBe("20 of 3,000 examples".replace("20", String(count(({ id }) => id.includes("0017")))));
  await page.getByLabel("Split").selectOption("test");
  await expect.poll(shown).toBe(`${count(({ id, i }) => id.includes("0017") && i % 3 === 2)} of 3,000 examples`);
  await page.getByLabel("Id contains").fill("");
  await page.getByLabel("Split").selectOption("");
  await page.getByLabel("Label").selectOption({ label: "animal: dog" });
  await expect.poll(shown).toBe("1,500 of 3,000 examples");
  await expect.poll(first).toBe("00001.png");
  await page.getByLabel("Order").selectOption("best");
  await expect.poll(first).toBe("02999.png");
  await page.getByLabel("Order").selectOption("worst");
  await expect.poll(first).toBe("00001.png");
  await page.getByLabel("Id contains").fill("no such");
  await expect.poll(shown).toBe("0 of 3,000 examples");
  expect(page.errors).toEqual([]);

  function count(keep: (one: { id: string; i: number }) => boolean): number {
    return Array.from({ length: 3000 }, (_, i) => ({ id: `${String(i).padStart(5, "0")}.png`, i })).filter(keep).length;
  }
});

test("labels of numbers are filtered by a range, those of many classes by a part of their names", async () => {
  const page = await desk.page();
  await page.goto(many);
  await drawn(page);
  const shown = () => page.textContent(".status");
  await page.getByLabel("Label").selectOption({ label: "age: from … to …" });
  // Every tenth example has no age; the others have a tenth of their number.
  await expect.poll(() => page.getByLabel("age from").getAttribute("placeholder")).toBe("0.1");
  expect(await page.getByLabel("age to").getAttribute("placeholder")).toBe("299.9");
  await page.getByLabel("age from").fill("10");
  await expect.poll(shown).toBe("2,610 of 3,000 examples");
  await page.getByLabel("age to").fill("10.5");
  await expect.poll(shown).toBe("5 of 3,000 examples");
  await expect.poll(() => page.textContent(".cells li:first-child .id")).toBe("00101.png");
  // By the keyboard, and kept while an example is looked at.
  await page.getByLabel("age to").press("ArrowDown");
  await expect.poll(shown).toBe("0 of 3,000 examples");
  await page.getByLabel("age to").press("ArrowUp");
  await expect.poll(shown).toBe("5 of 3,000 examples");
  await page.click(".cells li:first-child a");
  await sharp(page);
  await expect.poll(() => page.textContent("dl")).toMatch(/age\s*10\.1/);
  await page.goBack();
  await expect.poll(shown).toBe("5 of 3,000 examples");
  expect(await page.getByLabel("age from").inputValue()).toBe("10");
  await page.getByLabel("age from").fill("");
  await page.getByLabel("age to").fill("");
  await expect.poll(shown).toBe("2,700 of 3,000 examples");
  await page.getByLabel("Label").selectOption({ label: "breed: by a part of its name…" });
  await expect.poll(shown).toBe("3,000 examples");
  expect(await page.getByLabel("age from").count()).toBe(0);
  await page.getByLabel("breed contains").fill("BREED 29");
  await expect.poll(shown).toBe("110 of 3,000 examples");
  await page.getByLabel("Label").selectOption({ label: "animal: dog" });
  await expect.poll(shown).toBe("1,500 of 3,000 examples");
  expect(await page.getByLabel("breed contains").count()).toBe(0);
  expect(page.errors).toEqual([]);
});

test("keys go through the gallery, open an example and come back to it", async () => {
  const page = await desk.page();
  await page.goto(many);
  await drawn(page);
  await page.focus(".cells li:first-child a");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowDown");
  const id = await page.evaluate(() => document.activeElement!.getAttribute("href"));
  const columns = Number(id!.split("/")[2]) - 1;
  expect(columns).toBeGreaterThan(3);
  await page.keyboard.press("End");
  await expect.poll(() => page.evaluate(() => document.activeElement!.getAttribute("href"))).toBe("#/example/2999");
  await page.keyboard.press("Enter");
  await expect.poll(() => page.textContent("h2")).toBe("02999.png");
  expect(await page.evaluate(() => document.activeElement!.tagName)).toBe("H2");
  await page.keyboard.press("Tab");
  await page.goBack();
  await expect.poll(() => page.evaluate(() => document.activeElement!.getAttribute("href"))).toBe("#/example/2999");
});

test("from example to example one goes in the order of the gallery", async () => {
  const page = await desk.page();
  await page.goto(many);
  await drawn(page);
  await page.getByLabel("Label").selectOption({ label: "animal: dog" });
  await page.getByLabel("Order").selectOption("best");
  await expect.poll(() => page.textContent(".cells li:first-child")).toMatch(/^02999\.png.*animal dog/);
  await page.click(".cells li:first-child a");
  await expect.poll(() => page.textContent(".place")).toBe("1 of 1,500");
  expect(await page.getByRole("link", { name: "Previous" }).count()).toBe(0);
  await page.getByRole("link", { name: "Next" }).click();
  await expect.poll(() => page.url()).toMatch(/#\/example\/2997$/);
  await expect.poll(() => page.textContent(".place")).toBe("2 of 1,500");
  await page.goto(`${many}#/example/0`); // none of the dogs
  await expect.poll(() => page.textContent(".place")).toBe("1 of 3,000");
  expect(page.errors).toEqual([]);
});

test("an example is sharp at any zoom, beside the archive's own points", async () => {
  const page = await desk.page();
  await page.goto(`${many}#/example/7`);
  await sharp(page);
  await expect.poll(() => page.textContent("h2")).toBe("00007.png");
  expect(await page.textContent(".panes")).toContain("16×24 points");
  const at1 = await seen(page, ".panes figure:first-child canvas");
  await page.locator(".pane").first().focus();
  for (let i = 0; i < 11; i++) await page.keyboard.press("+"); // 1.5 ** 11 is 86
  expect(await page.textContent(".zoom")).toBe("86×");
  await sharp(page);
  const sharpOnes = await seen(page, ".panes figure:first-child canvas");
  const native = await seen(page, ".panes figure:nth-child(2) canvas");
  expect(sharpOnes.digest).not.toBe(at1.digest);
  // Of the archive's points one or two fill all; what is decoded goes on changing.
  expect(native.colours).toBeLessThan(10);
  expect(sharpOnes.colours).toBeGreaterThan(10);
  await page.keyboard.press("0");
  await expect.poll(() => page.textContent(".zoom")).toBe("1×");
  expect(page.errors).toEqual([]);
});

test("values under the pointer are told, and dragging moves", async () => {
  const page = await desk.page();
  await page.goto(`${many}#/example/7`);
  await sharp(page);
  const pane = await page.locator(".pane").first().boundingBox();
  await page.mouse.move(pane!.x + pane!.width / 2, pane!.y + pane!.height / 2);
  await expect.poll(() => page.textContent(".readout")).toMatch(/^y 0\.\d+, x 0\.\d+: red -?\d.*, green .*, blue /);
  await page.getByRole("button", { name: "Zoom in" }).click();
  await sharp(page);
  const before = await seen(page, ".pane canvas");
  await page.mouse.move(pane!.x + 200, pane!.y + 200);
  await page.mouse.down();
  await page.mouse.move(pane!.x + 260, pane!.y + 230, { steps: 3 });
  await page.mouse.up();
  await sharp(page);
  expect((await seen(page, ".pane canvas")).digest).not.toBe(before.digest);
});

test("a walk leads from one example to another, and along principal directions", async () => {
  const page = await desk.page();
  await page.goto(`${many}#/walk/3/8`);
  await sharp(page);
  const look = async () => {
    await page.waitForTimeout(100);
    await sharp(page);
    return (await seen(page, ".pane canvas")).digest;
  };
  const middle = await look();
  await page.getByLabel("Between them").fill("0");
  const start = await look();
  expect(start).not.toBe(middle);
  await page.getByRole("button", { name: /Find directions/ }).click();
  await page.getByLabel("Direction 1").fill("2");
  expect(await look()).not.toBe(start);
  await page.getByRole("button", { name: "Back to the middle" }).click();
  expect(await look()).toBe(start);
  await page.getByLabel("To example").fill("11");
  await page.getByLabel("To example").press("Enter");
  await expect.poll(() => page.url()).toMatch(/#\/walk\/3\/11$/);
  expect(page.errors).toEqual([]);
});

test("of ends of a walk that are chosen quickly the last ones are shown, however slow the first ones are", async () => {
  const page = await desk.page();
  await page.goto(`${many}#/walk/3/8`);
  await sharp(page);
  const end = page.locator(".ends .end").last();
  await expect.poll(() => end.textContent()).toBe("00008.png");
  let [isFirst, answered] = [true, false];
  await page.route("**/modulations/c/**", async (route) => {
    const delayed = isFirst;
    isFirst = false;
    if (delayed) await page.waitForTimeout(1000);
    await route.continue();
    answered ||= delayed;
  });
  for (const example of ["2500", "11"]) {
    await page.getByLabel("To example").fill(example);
    await page.getByLabel("To example").press("Enter");
  }
  await expect.poll(() => answered, { timeout: 5000 }).toBe(true);
  await page.waitForTimeout(300);
  expect(await end.textContent()).toBe("00011.png");
  expect(page.errors).toEqual([]);
});

test("an address of an example that is not there says so, above all examples", async () => {
  const page = await desk.page();
  for (const hash of ["#/example/3000", "#/example/", "#/example/1e1", "#/walk/0/-1", "#/nothing"]) {
    await page.goto(many + hash);
    await expect.poll(() => page.locator('[role="alert"]').allTextContents()).toEqual([
      `${hash}: nothing is there; expected #/example/N or #/walk/N/M, of 0 to 2999. These are all examples.`,
    ]);
    await drawn(page);
  }
  await page.goto(`${many}#/example/2999`);
  await sharp(page);
  expect(await page.locator('[role="alert"]').count()).toBe(0);
  expect(page.errors).toEqual([]);
});

test("solids turn, clips are scrubbed, sounds have a wave", async () => {
  const page = await desk.page();
  await page.goto(`${await desk.view("solids.functa")}#/example/1`);
  await sharp(page);
  await page.waitForSelector('.turned [data-state="sharp"]');
  const before = (await seen(page, ".turned canvas")).digest;
  await page.locator(".turned .pane").focus();
  await page.keyboard.press("ArrowRight");
  await sharp(page);
  await expect.poll(async () => (await seen(page, ".turned canvas")).digest === before).toBe(false);
  await page.getByLabel("Along z").fill("1");
  await expect.poll(() => page.textContent(".scrubber output")).toBe("slice 12 of 12");
  await page.goto(`${await desk.view("clips.functa")}#/example/1`);
  await sharp(page);
  await page.getByLabel("Time").fill("0");
  await expect.poll(() => page.textContent(".scrubber output")).toBe("frame 1 of 6");
  await sharp(page);
  await page.goto(`${await desk.view("sounds.functa")}#/example/1`);
  await sharp(page);
  expect(await page.getByRole("button", { name: "Play" }).isEnabled()).toBe(true);
  const wave = await seen(page, ".wave");
  expect(wave.opaque).toBeGreaterThan(wave.width);
  expect(page.errors).toEqual([]);
}, 60_000);

test("two fingers zoom what one turns", async () => {
  const page = await desk.page({ viewport: { width: 360, height: 740 }, hasTouch: true });
  await page.goto(`${await desk.view(join(ROOT, "tests/golden/v9_sphere.functa"))}#/example/1`);
  const sharpOne = () => page.waitForSelector('.turned [data-state="sharp"]');
  await sharpOne();
  const before = await seen(page, ".turned canvas");
  const box = (await page.locator(".turned .pane").boundingBox())!;
  const devices = await page.context().newCDPSession(page);
  const touch = (type: "touchStart" | "touchMove" | "touchEnd", apart: number) =>
    devices.send("Input.dispatchTouchEvent", {
      type,
      touchPoints: type === "touchEnd" ? [] : [-1, 1].map((side, id) => ({ x: box.x + box.width / 2 + (side * apart) / 2, y: box.y + box.height / 2, id })),
    });
  await touch("touchStart", 60);
  for (const apart of [70, 80, 90, 100]) await touch("touchMove", apart);
  await touch("touchEnd", 0);
  await sharpOne();
  await expect.poll(async () => (await seen(page, ".turned canvas")).opaque).toBeGreaterThan(1.1 * before.opaque);
  expect(before.opaque).toBeGreaterThan(1000);
  expect(page.errors).toEqual([]);
});

test("a sound plays once, however quickly it is asked for", async () => {
  const page = await desk.page();
  await page.addInitScript(() => {
    const counted = globalThis as unknown as { started: number };
    counted.started = 0;
    const start = AudioBufferSourceNode.prototype.start;
    AudioBufferSourceNode.prototype.start = function (...times: [number?]) {
      counted.started++;
      start.apply(this, times);
    };
  });
  await page.goto(`${await desk.view("sounds.functa")}#/example/0`);
  await sharp(page);
  await page.getByRole("button", { name: "Play" }).evaluate((button) => {
    for (let i = 0; i < 2; i++) (button as HTMLButtonElement).click();
  });
  await page.waitForTimeout(500);
  expect(await page.evaluate(() => (globalThis as unknown as { started: number }).started)).toBe(1);
  expect(page.errors).toEqual([]);
});

test("globes and scenes turn, and a map shows its channels", async () => {
  const page = await desk.page();
  const golden = join(ROOT, "tests/golden");
  await page.goto(`${await desk.view(join(golden, "v7_sphere.functa"))}#/example/1`);
  for (const [kind, selector] of [["globe", ".turned canvas"], ["map", ".panes > figure canvas"]]) {
    await page.waitForSelector('.turned [data-state="sharp"]');
    await page.waitForSelector('.panes > figure [data-state="sharp"]');
    const before = await seen(page, selector);
    expect(before.colours, kind).toBeGreaterThan(100);
    await page.getByLabel("Channel").selectOption(kind === "globe" ? "u" : "t2m");
    await expect.poll(async () => (await seen(page, selector)).digest, { message: kind }).not.toBe(before.digest);
  }
  await page.locator(".panes > figure .pane").first().hover();
  await expect.poll(() => page.textContent(".readout")).toMatch(/° N, -?\d+\.\d+° E: (t2m|no value)/);
  await page.goto(`${await desk.view(join(golden, "v7_scene.functa"))}#/example/1`);
  await page.waitForSelector('.turned [data-state="sharp"]');
  const before = await seen(page, ".turned canvas");
  expect(before.colours).toBeGreaterThan(100);
  await page.locator(".turned .pane").focus();
  await page.keyboard.press("ArrowRight");
  await expect.poll(async () => (await seen(page, ".turned canvas")).digest).not.toBe(before.digest);
  expect(page.errors).toEqual([]);
}, 60_000);

test("nothing of a hostile functaset is run, and its texts are texts", async () => {
  const page = await desk.page();
  const outside: string[] = [];
  const url = await desk.view("hostile.functa");
  page.on("request", (request) => void (request.url().startsWith(url) || request.url().startsWith("blob:") || outside.push(request.url())));
  await page.goto(url);
  await drawn(page);
  await expect.poll(() => page.textContent(".cells li:first-child .id")).toContain("<img src=x onerror");
  expect(await page.textContent(".cells li:first-child .id")).not.toContain("\u202e");
  await page.click(".cells li:first-child a");
  await expect.poll(() => page.textContent("h2")).toContain("<script>");
  await page.waitForTimeout(200);
  expect(await page.evaluate(() => (window as unknown as { hacked?: number }).hacked)).toBeUndefined();
  expect(await page.locator("img, main script").count()).toBe(0);
  expect(outside).toEqual([]);
  expect(page.errors).toEqual([]);
});

test("a functaset whose base is damaged is an error in words", async () => {
  const page = await desk.page();
  await page.goto(await desk.view("damaged.functa"));
  await expect.poll(() => page.textContent('[role="alert"]')).toContain("base/linear/kernel");
  expect(await page.locator(".cells").count()).toBe(0);
  expect(page.errors).toEqual([]);
});

test("one example takes the base, what is known of it, and one row", async () => {
  const server = new StaticServer({ site: STATIC, stores: desk.folder });
  const address = await server.start();
  try {
    const page = await desk.page();
    await page.goto(`${address}/site/index.html?store=${address}/stores/many.functa#/example/7`);
    await sharp(page);
    await expect.poll(() => page.textContent("h2")).toBe("00007.png");
    const rows = server.asked.filter(({ path }) => path.includes("/modulations/c/"));
    expect(rows.map(({ path, range }) => [path.slice(-4), range])).toEqual([["/0/0", "bytes=224-255"]]);
  } finally {
    await server.stop();
  }
});

test("one example of 1 GiB takes the base, its chunks of what is known of it, and one row", async () => {
  desk.writeLarge();
  const [site, stores] = [new StaticServer({ site: STATIC }), new StaticServer({ stores: desk.folder })];
  const [address, other] = [await site.start(), await stores.start()];
  try {
    const page = await desk.page();
    await page.goto(`${address}/site/index.html?store=${other}/stores/large.functa#/example/100000`);
    await sharp(page);
    await expect.poll(() => page.textContent("h2")).toBe("100000.png");
    await expect.poll(() => page.textContent("dl")).toContain("animal");
    const { asked } = stores;
    expect(asked.every(({ method, range }) => method === "GET" && (range === undefined || /^bytes=\d+-\d+$/.test(range)))).toBe(true);
    expect(new Set(asked.map(({ path }) => path)).size).toBe(asked.length);
    const of = (pattern: RegExp) => asked.filter(({ path }) => pattern.test(path));
    const bytes = (some: typeof asked) => some.reduce((sum, one) => sum + one.bytes, 0);
    expect(of(/\/modulations\//).map((one) => [one.range?.split(/[=-]/).length, one.bytes])).toEqual([[3, 8192]]);
    expect(of(/\/mse\//).map((one) => one.bytes)).toEqual([4]);
    expect(of(/large.functa\/(id|split|labels\/animal)\/c\//).map(({ path }) => path.split("/").at(-1))).toEqual(["1", "1", "1"]);
    const rest = asked.filter(({ path }) => !/\/(base|modulations|mse)\/|\/(id|split|labels\/animal)\/c\//.test(path));
    expect(of(/\/base\/.*\/c\//).length).toBe(8);
    expect(bytes(of(/\/base\//))).toBeLessThan(250_000);
    expect(bytes(of(/\/(id|split|labels\/animal)\/c\//))).toBeLessThan(60_000);
    expect(bytes(rest)).toBeLessThan(20_000);
    expect(asked.length).toBeLessThan(30);
    expect(page.errors).toEqual([]);
  } finally {
    await Promise.all([site.stop(), stores.stop()]);
  }
}, 180_000);

test("addresses that are none are refused, and run nothing", async () => {
  const page = await desk.page();
  for (const store of ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "http://["]) {
    await page.goto(`${many}?store=${encodeURIComponent(store)}`);
    await expect.poll(() => page.textContent('[role="alert"]')).toContain(`${store}: expected the address of a functaset`);
  }
  await page.goto(`${many}?store=none.functa`);
  await expect.poll(() => page.textContent('[role="alert"]')).toContain("none.functa");
});

test("a failing host is tried again, by itself and by a button", async () => {
  const server = new StaticServer({ site: STATIC, stores: desk.folder });
  const address = await server.start();
  try {
    const page = await desk.page();
    await page.goto(`${address}/site/index.html`);
    expect(await page.getByLabel("Address of a functaset").count()).toBe(1);
    await page.route("**/many.functa/**", (route) => route.abort());
    const failed = page.waitForSelector('[role="alert"]', { timeout: 40_000 });
    await page.goto(`${address}/site/index.html?store=${address}/stores/many.functa`);
    await expect.poll(() => page.textContent('[role="status"]')).toMatch(/trying again|Opening/);
    await failed;
    await page.unroute("**/many.functa/**");
    await page.getByRole("button", { name: "Try again" }).click();
    await drawn(page);
  } finally {
    await server.stop();
  }
}, 60_000);

test("a host that is slow or fails while an example is fetched is told of", async () => {
  const page = await desk.page();
  await page.goto(many);
  await drawn(page);
  expect(await page.textContent(".host")).toBe("");
  let times = 0;
  await page.route("**/modulations/c/**", async (route) => {
    if (times++ === 0) return route.fulfill({ status: 503 });
    await page.waitForTimeout(2500);
    return route.continue();
  });
  await page.evaluate(() => (location.hash = "#/example/2500"));
  await expect.poll(() => page.textContent(".host"), { interval: 20 }).toBe("The host answered 503; trying again in 1 s.");
  await expect.poll(() => page.textContent(".host"), { timeout: 4000 }).toBe("Waiting for the host.");
  await sharp(page);
  await expect.poll(() => page.textContent(".host")).toBe("");
  expect(page.errors).toEqual([]);
});

test("pictures that could not be fetched are asked for again by a button, without a pointer", async () => {
  const page = await withAxe();
  await page.route("**/modulations/c/**", (route) => route.fulfill({ status: 500 }));
  await page.goto(many);
  await page.waitForSelector(".cells li[data-failed]", { timeout: 20_000 });
  await expect.poll(() => page.locator(".cells li:not([data-failed])").count()).toBe(0);
  expect(await page.textContent(".status")).toMatch(/^Some examples cannot be shown: .*failed 5 times: the host answered 500/);
  expect(await violations(page)).toEqual([]);
  await page.unroute("**/modulations/c/**");
  await page.focus(".cells li:first-child a");
  await page.keyboard.press("Tab");
  expect(await page.evaluate(() => document.activeElement!.textContent)).toBe("Try again");
  await page.keyboard.press("Enter");
  await drawn(page);
  expect(await page.locator(".cells button").count()).toBe(0);
  expect(await page.textContent(".status")).toBe("3,000 examples");
  expect(await page.evaluate(() => document.activeElement!.getAttribute("href"))).toBe("#/example/0");
  expect(page.errors).toEqual([]);
}, 60_000);

test("of an id that is too long the end is seen, and all of it is its name", async () => {
  const page = await desk.page({ viewport: { width: 360, height: 740 } });
  await page.goto(await desk.view("long.functa"));
  await drawn(page);
  const first = page.locator(".cells li:first-child");
  const id = `${"a folder in which all are/".repeat(3)}000000.png`;
  await expect.poll(() => first.locator(".id").textContent()).toBe(id);
  const [text, box] = await first.evaluate((cell) => [".id bdi", ".id"].map((part) => cell.querySelector(part)!.getBoundingClientRect()));
  expect(text.width).toBeGreaterThan(box.width);
  expect(Math.abs(text.right - box.right)).toBeLessThan(2);
  expect(await first.locator("a").getAttribute("title")).toBe(id);
  expect(await page.getByRole("link", { name: `${id} train · 10.0 dB` }).count()).toBe(1);
});

test("a functaset of another host that allows it is shown", async () => {
  const [site, stores] = [new StaticServer({ site: STATIC }), new StaticServer({ stores: desk.folder })];
  const [address, other] = [await site.start(), await stores.start()];
  try {
    const page = await desk.page();
    await page.goto(`${address}/site/index.html?store=${encodeURIComponent(`${other}/stores/many.functa`)}`);
    await drawn(page);
    expect(stores.asked.every(({ method }) => method === "GET")).toBe(true);
    expect(page.errors).toEqual([]);
  } finally {
    await Promise.all([site.stop(), stores.stop()]);
  }
});

const LOOKS = [
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["on a phone", { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true }],
] as const;

test.each(LOOKS)("axe finds no violations, and nothing is wider than the screen: %s", async (_, options) => {
  const page = await withAxe(options as Parameters<Desk["page"]>[0]);
  const places = [
    [many, ".cells li[data-drawn]"],
    [`${many}#/example/7`, '[data-state="sharp"]'],
    [`${many}#/walk/3/8`, '[data-state="sharp"]'],
    [`${many}?store=javascript:1`, '[role="alert"]'],
  ];
  for (const [url, selector] of places) {
    await page.goto("about:blank");
    await page.goto(url);
    await page.waitForSelector(selector);
    if (url.includes("walk")) await page.getByRole("button", { name: /Find directions/ }).click();
    for (const label of url === many ? ["age: from … to …", "breed: by a part of its name…"] : []) {
      await page.getByLabel("Label").selectOption({ label });
      await page.waitForTimeout(150);
      expect(await violations(page), label).toEqual([]);
    }
    await page.waitForTimeout(150);
    expect(await violations(page), url).toEqual([]);
    const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    expect(wide, url).toBeLessThanOrEqual(screen);
  }
}, 60_000);
