/** Small pictures of all examples that a filter keeps; only those on the screen exist. */

import type { LabelColumn } from "../store";
import type { Catalogue, Filter } from "./catalogue";
import { labelInWords, NO_FILTER } from "./catalogue";
import { button, element, labelled, messageOf, select, shown, shownId } from "./dom";
import { labelFields } from "./label_filter";
import type { PictureQueue } from "./picture_queue";

const GAP_ROWS = 2;
/** Labels that are written below a picture; the one that is filtered by is among them. */
const MOST_LABELS = 3;
/** Pixels of a line below a picture. */
const LINE = 18;
/** Pixels that every browser lays out; of a taller list the scroll bar passes over more than it moves. */
const MOST_HEIGHT = 8_000_000;

/** What a person chose, kept while an example is looked at. */
export interface GalleryState {
  filter: Filter;
  scroll: number;
  /** Example that has the focus when the gallery is shown again. */
  focused: number | null;
  /** Examples that the filter keeps, in its order; null until they are known. */
  order: Uint32Array | null;
}

export const FRESH_GALLERY = (): GalleryState => ({ filter: { ...NO_FILTER }, scroll: 0, focused: null, order: null });

export class Gallery {
  readonly root = element("section", { class: "gallery", "aria-label": "Examples" });
  private readonly list = element("ol", { class: "cells" });
  private readonly scroller = element("div", { class: "scroller", tabindex: "-1" }, this.list);
  private readonly status = element("p", { role: "status", class: "status", id: "gallery-status" });
  private readonly cells = new Map<number, HTMLLIElement>();
  private places: Uint32Array | null = null;
  private asked = 0;
  private readonly observer = new ResizeObserver(() => this.lay());

  constructor(
    private readonly catalogue: Catalogue,
    private readonly queue: PictureQueue,
    private readonly state: GalleryState,
    private readonly extra: HTMLElement[] = [],
  ) {
    this.root.append(this.form(), this.status, this.scroller);
    this.scroller.addEventListener("scroll", () => {
      state.scroll = this.scroller.scrollTop;
      this.lay();
    });
    this.list.addEventListener("keydown", (event) => this.onKey(event));
    this.list.addEventListener("focusin", (event) => {
      const place = Number((event.target as HTMLElement).closest("li")?.dataset.place);
      if (Number.isInteger(place) && this.places) state.focused = this.places[place];
    });
  }

  start(): void {
    this.observer.observe(this.scroller);
    void this.choose();
  }

  close(): void {
    this.asked++; // what is still being chosen is not laid out
    this.observer.disconnect();
    for (const place of [...this.cells.keys()]) this.drop(place);
  }

  private form(): HTMLElement {
    const { filter } = this.state;
    const text = element("input", { type: "search", autocomplete: "off", spellcheck: "false", value: filter.text });
    let timer = 0;
    text.addEventListener("input", () => {
      clearTimeout(timer);
      timer = window.setTimeout(() => this.change({ text: text.value }), 150);
    });
    const split = select(
      [["", "all"], ["train", "train"], ["validation", "validation"], ["test", "test"]],
      (value) => this.change({ split: value }),
    );
    split.value = filter.split;
    const order = select(
      [["archive", "as stored"], ["worst", "worst first"], ["best", "best first"]],
      (value) => this.change({ order: value as Filter["order"] }),
    );
    order.value = filter.order;
    const form = element("form", { class: "filters", role: "search", "aria-label": "Filter examples" });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.append(labelled("Id contains", text), labelled("Split", split));
    form.append(...labelFields(this.catalogue, filter.label, (chosen) => this.change({ label: chosen })));
    form.append(labelled("Order", order), ...this.extra);
    return form;
  }

  private change(changes: Partial<Filter>): void {
    Object.assign(this.state.filter, changes);
    this.state.scroll = 0;
    this.state.focused = null;
    void this.choose();
  }

  private async choose(): Promise<void> {
    const asked = ++this.asked;
    const slow = window.setTimeout(() => (this.status.textContent = "Reading what is known of the examples…"), 200);
    try {
      const places = await this.catalogue.chosen(this.state.filter);
      if (asked !== this.asked) return;
      this.places = this.state.order = places;
      for (const place of [...this.cells.keys()]) this.drop(place);
      this.tellCount();
      this.lay();
      this.scroller.scrollTop = this.state.scroll;
      this.lay();
      if (this.state.focused !== null) this.focus(places.indexOf(this.state.focused));
    } catch (error) {
      if (asked !== this.asked) return;
      this.status.replaceChildren(messageOf(error), " ", button("Try again", () => void this.choose()));
    } finally {
      clearTimeout(slow);
    }
  }

  private tellCount(): void {
    const chosen = this.places?.length ?? 0;
    const { count, finished, countWhenFinished } = this.catalogue.functaset;
    const of = chosen === count ? "" : ` of ${count.toLocaleString("en")}`;
    const unfinished = finished ? "" : `; unfinished, ${countWhenFinished.toLocaleString("en")} in the end`;
    this.status.textContent = `${chosen.toLocaleString("en")}${of} examples${unfinished}`;
  }

  /** Columns, sizes of cells, height of the list as it is laid out, and pixels of the whole per pixel of that. */
  private measures(): { columns: number; side: number; row: number; height: number; factor: number } {
    const width = this.list.clientWidth;
    const columns = Math.max(2, Math.floor(width / 124));
    const side = Math.floor(width / columns);
    const row = side + 4 + LINE * (this.labels().length > 0 ? 3 : 2);
    const whole = Math.ceil((this.places?.length ?? 0) / columns) * row;
    const height = Math.min(whole, MOST_HEIGHT);
    const seen = this.scroller.clientHeight;
    return { columns, side, row, height, factor: height > seen ? (whole - seen) / (height - seen) : 1 };
  }

  /** Make what is on the screen, and drop what is not. */
  private lay(): void {
    if (!this.places) return;
    const { columns, side, row, height, factor } = this.measures();
    this.list.style.height = `${height}px`;
    const { scrollTop } = this.scroller;
    const top = scrollTop * factor;
    const first = Math.max(0, Math.floor(top / row) - GAP_ROWS) * columns;
    const onScreen = Math.ceil(this.scroller.clientHeight / row) + 2 * GAP_ROWS + 1;
    const last = Math.min(this.places.length, first + onScreen * columns);
    for (const place of [...this.cells.keys()]) if (place < first || place >= last) this.drop(place);
    const fresh: number[] = [];
    for (let place = first; place < last; place++) {
      let cell = this.cells.get(place);
      if (!cell) {
        cell = this.cell(place, this.places[place]);
        this.cells.set(place, cell);
        fresh.push(place);
      }
      cell.style.transform = `translate(${(place % columns) * side}px, ${Math.floor(place / columns) * row - top + scrollTop}px)`;
      cell.style.width = `${side}px`;
      cell.style.height = `${row}px`;
    }
    // In the order of the page, for those who read it by the keyboard.
    if (fresh.length > 0) this.list.replaceChildren(...[...this.cells].sort(([a], [b]) => a - b).map(([, cell]) => cell));
    void this.describe(fresh);
  }

  private cell(place: number, index: number): HTMLLIElement {
    const canvas = element("canvas", { "aria-hidden": "true", width: 64, height: 64 });
    const link = element(
      "a",
      { href: `#/example/${index}` },
      element("span", { class: "frame" }, canvas),
      element("span", { class: "id" }, element("bdi", { dir: "ltr" }, `example ${index}`)),
      element("span", { class: "facts" }),
      this.labels().length > 0 && element("span", { class: "facts labels" }),
    );
    const cell = element("li", { "data-place": place, "aria-setsize": this.places!.length, "aria-posinset": place + 1 }, link);
    this.ask(cell, index);
    return cell;
  }

  /** Those that are written below pictures. */
  private labels(): LabelColumn[] {
    const chosen = this.state.filter.label?.name;
    const { labels } = this.catalogue.functaset;
    return [...labels].sort((a, b) => Number(b.name === chosen) - Number(a.name === chosen)).slice(0, MOST_LABELS);
  }

  private ask(cell: HTMLLIElement, index: number): void {
    this.queue.ask(
      index,
      (found) => {
        const canvas = cell.querySelector("canvas")!;
        canvas.width = found.width;
        canvas.height = found.height;
        canvas.getContext("2d")!.putImageData(found, 0, 0);
        cell.dataset.drawn = "yes";
      },
      (error) => {
        const again = button("Try again", () => this.askAgain(cell), { title: messageOf(error), "aria-describedby": this.status.id });
        cell.append(again);
        cell.dataset.failed = "yes";
        this.status.textContent = `Some examples cannot be shown: ${messageOf(error)}`;
      },
    );
  }

  /** Ask for all pictures that failed, since one host has them all. */
  private askAgain(pressed: HTMLLIElement): void {
    pressed.querySelector("a")!.focus({ preventScroll: true }); // the button goes
    this.tellCount();
    const failed = [...this.cells].filter(([, { dataset }]) => dataset.failed);
    for (const [place, cell] of failed) {
      cell.querySelector("button")!.remove();
      delete cell.dataset.failed;
      this.ask(cell, this.places![place]);
    }
  }

  /** Ids, quality and labels of fresh cells, by runs of neighbours in the functaset. */
  private async describe(fresh: number[]): Promise<void> {
    const places = this.places!;
    const there = fresh.filter((place) => this.cells.has(place));
    const byIndex = new Map(there.map((place) => [places[place], this.cells.get(place)!]));
    const order = [...byIndex.keys()].sort((a, b) => a - b);
    for (let k = 0; k < order.length; ) {
      let end = k + 1;
      while (end < order.length && order[end] - order[end - 1] < 64) end++;
      const [from, to] = [order[k], order[end - 1] + 1];
      const { functaset } = this.catalogue;
      try {
        const labels = this.labels();
        const [ids, splits, psnr, ...values] = await Promise.all([
          functaset.ids(from, to),
          functaset.splits(from, to),
          functaset.psnr.values(from, to),
          ...labels.map((label) => label.values(from, to)),
        ]);
        for (const index of order.slice(k, end)) {
          const link = byIndex.get(index)!.firstElementChild as HTMLElement;
          const id = shownId(ids[index - from]);
          const facts = [splits[index - from], inDecibels(psnr[index - from])].filter(Boolean).join(" · ");
          link.querySelector(".id bdi")!.textContent = id;
          link.querySelector(".facts")!.textContent = facts;
          link.title = id;
          const known = labels.flatMap((label, k) => {
            const words = labelInWords(label, values[k][index - from]);
            return words === null ? [] : [shown(`${label.name} ${words}`)];
          });
          const line = link.querySelector<HTMLElement>(".labels");
          if (line) line.title = line.textContent = known.join(" · ");
        }
      } catch (error) {
        this.status.replaceChildren(messageOf(error), " ", button("Try again", () => (this.tellCount(), void this.describe(fresh))));
      }
      k = end;
    }
  }

  private drop(place: number): void {
    const cell = this.cells.get(place);
    if (!cell) return;
    const index = Number(cell.querySelector("a")!.hash.split("/")[2]);
    this.queue.forget(index);
    cell.remove();
    this.cells.delete(place);
  }

  private focus(place: number): void {
    if (!this.places || place < 0 || place >= this.places.length) return;
    const { columns, row, factor } = this.measures();
    const top = Math.floor(place / columns) * row;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop * factor) this.scroller.scrollTop = top / factor;
    else if (top + row > scrollTop * factor + clientHeight) this.scroller.scrollTop = (top + row - clientHeight) / factor;
    this.lay();
    this.cells.get(place)?.querySelector("a")?.focus({ preventScroll: true });
  }

  private onKey(event: KeyboardEvent): void {
    const at = Number((event.target as HTMLElement).closest("li")?.dataset.place);
    if (!Number.isInteger(at) || !this.places || event.altKey || event.ctrlKey || event.metaKey) return;
    const { columns, row } = this.measures();
    const page = columns * Math.max(1, Math.floor(this.scroller.clientHeight / row));
    const last = this.places.length - 1;
    const moves: Record<string, number> = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      ArrowUp: at - columns,
      ArrowDown: at + columns,
      PageUp: Math.max(at - page, at % columns),
      PageDown: Math.min(at + page, last),
      Home: 0,
      End: last,
    };
    const to = moves[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to >= 0 && to <= last) this.focus(to);
  }
}

export function inDecibels(psnr: number): string {
  return Number.isNaN(psnr) ? "" : psnr === Infinity ? "exact" : `${psnr.toFixed(1)} dB`;
}

