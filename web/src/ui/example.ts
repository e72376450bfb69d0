/** One example, large, with what is known of it. */

import type { Decoder } from "../decode";
import type { Catalogue } from "./catalogue";
import { labelInWords } from "./catalogue";
import { type Look } from "./colours";
import { button, element, isAbort, messageOf, shown, shownId } from "./dom";
import { inDecibels } from "./gallery";
import { createStage, type Stage } from "./stage";

export class ExampleScreen {
  readonly root = element("section", { class: "example", "aria-labelledby": "example-title" });
  private readonly title = element("h2", { id: "example-title", tabindex: "-1" });
  private readonly facts = element("dl", { class: "facts" });
  private readonly message = element("p", { role: "status", class: "status" });
  private readonly stage: Stage;
  private readonly stop = new AbortController();

  constructor(
    private readonly catalogue: Catalogue,
    decoder: Decoder,
    look: Look,
    private readonly index: number,
    /** Examples of the gallery, in its order; null stands for all. */
    order: Uint32Array | null,
  ) {
    this.title.textContent = `Example ${index}`;
    this.stage = createStage(decoder, look, { native: true });
    const { count } = catalogue.functaset;
    const at = order?.indexOf(index) ?? -1;
    const [place, of] = at < 0 ? [index, count] : [at, order!.length];
    const neighbour = (to: number, text: string, rel: string) =>
      to >= 0 && to < of && element("a", { href: `#/example/${at < 0 ? to : order![to]}`, rel }, text);
    this.root.append(
      element(
        "nav",
        { class: "steps", "aria-label": "Examples" },
        element("a", { href: "#/" }, "All examples"),
        neighbour(place - 1, "Previous", "prev"),
        element("span", { class: "place" }, `${(place + 1).toLocaleString("en")} of ${of.toLocaleString("en")}`),
        neighbour(place + 1, "Next", "next"),
        count > 1 ? element("a", { href: `#/walk/${index}/${(index + 1) % count}` }, "Walk from here") : null,
      ),
      this.title,
      this.message,
      this.stage.root,
      this.facts,
    );
  }

  start(): void {
    this.title.focus({ preventScroll: true });
    void this.load();
  }

  close(): void {
    this.stop.abort();
    this.stage.close();
  }

  private async load(): Promise<void> {
    const { signal } = this.stop;
    const { functaset } = this.catalogue;
    const { index } = this;
    this.message.textContent = "Fetching the modulation…";
    try {
      const modulation = await functaset.modulation(index, { signal });
      this.message.textContent = "";
      this.stage.show(modulation);
      await this.describe(signal);
    } catch (error) {
      if (isAbort(error)) return;
      this.message.replaceChildren(messageOf(error), " ", button("Try again", () => void this.load()));
    }
  }

  private async describe(signal: AbortSignal): Promise<void> {
    const { functaset } = this.catalogue;
    const { index } = this;
    const one = [index, index + 1] as const;
    const [[id], [split], [psnr], labels, metrics] = await Promise.all([
      functaset.ids(...one, { signal }),
      functaset.splits(...one, { signal }),
      functaset.psnr.values(...one, { signal }),
      Promise.all(functaset.labels.map((label) => label.values(...one, { signal }))),
      Promise.all(functaset.metrics.map((metric) => metric.values(...one, { signal }))),
    ]);
    this.title.textContent = shownId(id);
    document.title = `${shownId(id, 60)} · ${shown(functaset.name, 80)}`;
    const facts: [string, string][] = [
      ["Index", String(index)],
      ["Split", split],
      ["PSNR", inDecibels(psnr)],
      ...functaset.labels.map((label, k): [string, string] => [shown(label.name), shown(labelInWords(label, labels[k][0]) ?? "none")]),
      ...functaset.metrics.map(({ name, unit }, k): [string, string] => [
        shown(name),
        Number.isNaN(metrics[k][0]) ? "" : `${Number(metrics[k][0].toPrecision(4))}${unit === "1" ? "" : ` ${shown(unit, 20)}`}`,
      ]),
      ["Modulation", `${functaset.network.modulationSize.toLocaleString("en")} numbers in ${functaset.modulationDtype}`],
    ];
    this.facts.replaceChildren(
      ...facts.filter(([, value]) => value !== "").map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
    );
  }
}
