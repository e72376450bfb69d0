/** What lies between two examples, and what changes along principal directions. */

import type { Decoder } from "../decode";
import type { Functaset } from "../store";
import { type Look } from "./colours";
import { type Directions, principalDirections } from "./directions";
import { button, element, isAbort, labelled, messageOf, shownId } from "./dom";
import { createStage, type Stage } from "./stage";

/** Modulations from which directions are found, and numbers of them that are fetched for it. */
const [MOST_ROWS, MOST_NUMBERS] = [512, 2 ** 20];
const SLIDERS = 6;
/** Deviations to which a slider goes. */
const FAR = 3;

export class WalkScreen {
  readonly root = element("section", { class: "example walk", "aria-labelledby": "walk-title" });
  private readonly title = element("h2", { id: "walk-title", tabindex: "-1" }, "Walk between two examples");
  private readonly message = element("p", { role: "status", class: "status" });
  private readonly between = element("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0.5 });
  private readonly ends: [HTMLInputElement, HTMLInputElement];
  private readonly names = [element("span", { class: "end" }), element("span", { class: "end" })];
  private readonly sliders = element("fieldset", { class: "directions" }, element("legend", {}, "Principal directions"));
  private readonly stage: Stage;
  private readonly stop = new AbortController();
  private rows: [Float32Array, Float32Array] | null = null;
  private directions: Directions | null = null;
  private shifts: number[] = [];
  private frame = 0;
  private asked = 0;

  constructor(
    private readonly functaset: Functaset,
    decoder: Decoder,
    look: Look,
    from: number,
    to: number,
  ) {
    this.stage = createStage(decoder, look, { native: false });
    this.ends = [this.end(from), this.end(to)];
    this.between.addEventListener("input", () => this.show());
    const form = element(
      "form",
      { class: "tools" },
      labelled("From example", this.ends[0]),
      labelled("To example", this.ends[1]),
      button("Surprise me", () => this.draw()),
    );
    form.addEventListener("submit", (event) => event.preventDefault());
    this.root.append(
      element("nav", { class: "steps", "aria-label": "Examples" }, element("a", { href: "#/" }, "All examples")),
      this.title,
      form,
      this.message,
      labelled("Between them", this.between, { class: "between" }),
      element("p", { class: "ends" }, this.names[0], this.names[1]),
      this.stage.root,
      this.sliders,
    );
    const find = button("Find directions in which examples differ most", () => void this.findDirections());
    this.sliders.append(find);
  }

  start(): void {
    this.title.focus({ preventScroll: true });
    void this.load();
  }

  close(): void {
    this.stop.abort();
    cancelAnimationFrame(this.frame);
    this.stage.close();
  }

  private end(value: number): HTMLInputElement {
    const field = element("input", { type: "number", min: 0, max: this.functaset.count - 1, step: 1, value, inputmode: "numeric" });
    field.addEventListener("change", () => {
      if (field.checkValidity() && field.value !== "") void this.load();
    });
    return field;
  }

  private draw(): void {
    for (const field of this.ends) field.value = String(Math.floor(Math.random() * this.functaset.count));
    void this.load();
  }

  private async load(): Promise<void> {
    const { signal } = this.stop;
    const asked = ++this.asked;
    const [from, to] = this.ends.map((field) => Number(field.value));
    history.replaceState(null, "", `#/walk/${from}/${to}`);
    try {
      const found = await Promise.all([from, to].map((index) => this.functaset.modulation(index, { signal })));
      if (asked !== this.asked) return; // others were chosen meanwhile
      this.rows = found as [Float32Array, Float32Array];
      this.message.textContent = "";
      this.show();
      const ids = await Promise.all([from, to].map((index) => this.functaset.ids(index, index + 1, { signal })));
      if (asked === this.asked) ids.forEach(([id], k) => (this.names[k].textContent = shownId(id, 60)));
    } catch (error) {
      if (isAbort(error) || asked !== this.asked) return;
      this.message.replaceChildren(messageOf(error), " ", button("Try again", () => void this.load()));
    }
  }

  private show(): void {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => {
      if (!this.rows) return;
      const [from, to] = this.rows;
      const part = Number(this.between.value);
      const found = from.map((value, i) => value + part * (to[i] - value));
      this.directions?.vectors.forEach((vector, k) => {
        const far = (this.shifts[k] ?? 0) * this.directions!.deviations[k];
        if (far) for (let i = 0; i < found.length; i++) found[i] += far * vector[i];
      });
      this.stage.show(found);
    });
  }

  private async findDirections(): Promise<void> {
    const { functaset } = this;
    const { signal } = this.stop;
    const size = functaset.network.modulationSize;
    const count = Math.min(functaset.count, MOST_ROWS, Math.max(2, Math.floor(MOST_NUMBERS / size)));
    this.message.textContent = `Looking at ${count} modulations…`;
    try {
      // A few runs of neighbours, spread over the whole: one request each.
      const runs = Math.min(8, count);
      const each = Math.floor(count / runs);
      const parts = await Promise.all(
        Array.from({ length: runs }, (_, k) => {
          const from = Math.floor((k * (functaset.count - each)) / Math.max(1, runs - 1));
          return functaset.modulations(from, from + each, { signal });
        }),
      );
      const rows = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
      parts.reduce((at, part) => (rows.set(part, at), at + part.length), 0);
      this.directions = principalDirections(rows, size, SLIDERS);
      this.shifts = this.directions.vectors.map(() => 0);
      this.message.textContent = "";
      this.lay();
    } catch (error) {
      if (!isAbort(error)) this.message.textContent = messageOf(error);
    }
  }

  private lay(): void {
    const fields = this.shifts.map((_, k) => {
      const field = element("input", { type: "range", min: -FAR, max: FAR, step: 0.05, value: 0 });
      field.addEventListener("input", () => {
        this.shifts[k] = Number(field.value);
        this.show();
      });
      return field;
    });
    const back = button("Back to the middle", () => {
      fields.forEach((field) => (field.value = "0"));
      this.shifts.fill(0);
      this.show();
    });
    this.sliders.replaceChildren(
      element("legend", {}, "Principal directions, to three deviations"),
      ...fields.map((field, k) => labelled(`Direction ${k + 1}`, field)),
      back,
    );
    fields[0]?.focus();
  }
}
