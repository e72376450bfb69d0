/** The page: opens a functaset, and shows the screen that the address names. */

import { createDecoder, type Decoder, type RendererName, RENDERERS } from "../decode";
import { type Functaset, openFunctaset } from "../store";
import { Catalogue } from "./catalogue";
import { type Look, usualLook } from "./colours";
import { button, element, isAbort, labelled, messageOf, shown } from "./dom";
import { ExampleScreen } from "./example";
import { FRESH_GALLERY, Gallery, type GalleryState } from "./gallery";
import { HostProgress } from "./host_progress";
import { PictureQueue } from "./picture_queue";
import { WalkScreen } from "./walk";

export function startPage(body: HTMLElement): void {
  const page = new Page();
  body.append(page.header, page.main, page.host.root);
  window.addEventListener("hashchange", () => page.route());
  void page.open();
}

/** Address of the functaset: that of `?store=`, or the one that the page was made for. */
export function storeAddress(location: Location, document: Document): string | null {
  const asked = new URLSearchParams(location.search).get("store");
  const made = document.querySelector<HTMLMetaElement>('meta[name="functaset"]')?.content;
  const found = asked || made;
  if (!found) return null;
  const url = parsed(found, location.href);
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    throw new Error(`${shown(found)}: expected the address of a functaset, https://host/path/NAME.functa`);
  }
  return url.href;
}

function parsed(address: string, base: string): URL | null {
  try {
    return new URL(address, base);
  } catch {
    return null; // URL.canParse is not in browsers before 2023
  }
}

/** What `?renderer=` asks for; undefined leaves it to the page. */
export function askedRenderer(location: Location): RendererName | undefined {
  const asked = new URLSearchParams(location.search).get("renderer");
  if (asked === null) return undefined;
  const found = RENDERERS.find((name) => name === asked);
  if (!found) throw new Error(`renderer=${shown(asked, 40)}: expected one of ${RENDERERS.join(", ")}`);
  return found;
}

interface Screen {
  root: HTMLElement;
  start(): void;
  close(): void;
}

class Page {
  readonly header = element("header");
  readonly main = element("main");
  readonly host = new HostProgress();
  private readonly renderer = element("p", { class: "renderer", role: "status" });
  private functaset: Functaset | null = null;
  private catalogue: Catalogue | null = null;
  private decoder: Decoder | null = null;
  private queue: PictureQueue | null = null;
  private look: Look = { channel: 0, scale: "grey" };
  private screen: Screen | null = null;
  private readonly gallery: GalleryState = FRESH_GALLERY();

  constructor() {
    this.header.append(element("h1", {}, "Functaset"));
  }

  /** Open the functaset, with its progress, and a button to try again if that fails. */
  async open(): Promise<void> {
    let address: string | null;
    let renderer: RendererName | undefined;
    try {
      address = storeAddress(window.location, document);
      renderer = askedRenderer(window.location);
    } catch (error) {
      return this.showError(error, null);
    }
    if (address === null) return this.askForAddress();
    const stop = new AbortController();
    const line = element("p", { role: "status" }, "Opening the functaset…");
    const bar = element("progress", { "aria-label": "Opening" });
    const cancel = button("Stop", () => stop.abort());
    this.main.replaceChildren(element("div", { class: "opening" }, line, bar, cancel));
    try {
      const functaset = await openFunctaset(address, { signal: stop.signal, onProgress: this.host.hear });
      line.textContent = "Fetching the base network…";
      this.decoder = await createDecoder(functaset, {
        signal: stop.signal,
        renderer,
        onChange: ({ description }, reason) => this.tellRenderer(description, reason),
      });
      this.show(functaset);
    } catch (error) {
      this.showError(isAbort(error) ? new Error("Opening was stopped.") : error, address);
    }
  }

  private show(functaset: Functaset): void {
    this.functaset = functaset;
    this.catalogue = new Catalogue(functaset);
    this.look = usualLook(functaset);
    this.queue = new PictureQueue(functaset, this.decoder!, this.look);
    this.header.replaceChildren(
      element("h1", {}, element("a", { href: "#/" }, shown(functaset.name, 80))),
      element("p", { class: "what" }, describe(functaset)),
      this.renderer,
    );
    this.tellRenderer(this.decoder!.description);
    this.route();
  }

  /** Say what decodes, and why if that has changed. */
  private tellRenderer(description: string, reason?: string): void {
    this.renderer.textContent = shown(`${reason ? `${reason}. ` : ""}Decoded by ${description}`, 300);
  }

  /** Show the screen that the address names. */
  route(): void {
    const { functaset, catalogue, decoder, queue } = this;
    if (!functaset || !catalogue || !decoder || !queue) return;
    const { hash } = window.location;
    const [, name, ...numbers] = hash.split("/");
    const places = numbers.map((text) => (/^\d+$/.test(text) ? Number(text) : NaN));
    const areThere = places.every((index) => index < functaset.count);
    let missing: HTMLElement | null = null;
    this.screen?.close();
    document.title = `${shown(functaset.name, 80)} · functaset`;
    if (name === "example" && places.length === 1 && areThere) {
      this.screen = new ExampleScreen(catalogue, decoder, this.look, places[0], this.gallery.order);
      this.gallery.focused = places[0];
    } else if (name === "walk" && places.length === 2 && areThere) {
      this.screen = new WalkScreen(functaset, decoder, this.look, places[0], places[1]);
    } else {
      const walk = functaset.count > 1 ? [element("a", { href: "#/walk/0/1", class: "go" }, "Walk between two")] : [];
      this.screen = new Gallery(catalogue, queue, this.gallery, walk);
      if (name) missing = element("p", { role: "alert", class: "status" }, notThere(hash, functaset.count));
    }
    this.main.replaceChildren(...(missing ? [missing] : []), this.screen.root);
    this.screen.start();
  }

  private showError(error: unknown, address: string | null): void {
    const heading = element("h2", { tabindex: "-1" }, "This functaset cannot be shown");
    this.main.replaceChildren(
      element(
        "div",
        { class: "failed", role: "alert" },
        heading,
        element("p", { class: "reason" }, shown(messageOf(error), 600)),
        address === null ? null : button("Try again", () => void this.open()),
      ),
    );
    heading.focus();
  }

  private askForAddress(): void {
    const field = element("input", { type: "url", name: "store", required: true, placeholder: "https://host/path/NAME.functa" });
    const form = element("form", { class: "opening" }, labelled("Address of a functaset", field), element("button", {}, "Open"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      window.location.search = `?${new URLSearchParams({ store: field.value })}`;
    });
    this.main.replaceChildren(form);
  }
}

/** That an address names no screen, and which ones there are. */
function notThere(hash: string, count: number): string {
  const last = count - 1;
  return `${shown(hash, 40)}: nothing is there; expected #/example/N or #/walk/N/M, of 0 to ${last}. These are all examples.`;
}

/** What a functaset holds, in one line. */
function describe(functaset: Functaset): string {
  const { domain, channels, network } = functaset;
  const what = domain.kind === "cells" ? domain.quantity : domain.kind === "sphere" ? "field on the sphere" : "scene";
  const names = channels.length <= 4 ? channels.map(({ name }) => shown(name, 30)).join(", ") : `${channels.length} channels`;
  const quality = Object.entries(functaset.quality)
    .flatMap(([split, { psnrMean }]) => (psnrMean === null ? [] : [`${split} ${psnrMean.toFixed(1)} dB`]))
    .join(", ");
  return [
    `${functaset.count.toLocaleString("en")} examples`,
    `${what} of ${domain.resolution.join("×")} points (${names})`,
    `${network.modulationSize.toLocaleString("en")} numbers each`,
    quality,
  ]
    .filter(Boolean)
    .join(" · ");
}
