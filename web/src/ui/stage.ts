/** A large view of one modulation, whichever kind of domain it has; used for examples and for what lies between them. */

import type { Decoder } from "../decode";
import { inWords, type Look } from "./colours";
import { button, element, isAbort, labelled, messageOf, select, shown } from "./dom";
import { kindOf, regionOf, sheetOf } from "./kinds";
import { NativeView, SharedPlace, SharpView, type Source } from "./sheet_view";
import { SoundView } from "./sound_view";
import { TurnedView } from "./turned/turned_view";

/** Something that shows a modulation. */
export interface Stage {
  root: HTMLElement;
  show(modulation: Float32Array): void;
  close(): void;
}

export function createStage(decoder: Decoder, look: Look, options: { native: boolean }): Stage {
  switch (kindOf(decoder.functaset)) {
    case "sound":
      return new SoundView(decoder);
    case "scene":
      return new TurnedView(decoder);
    default:
      return new SheetStage(decoder, look, options.native);
  }
}

/**
 * Pictures, frames of clips, slices of solids and maps: sharp at any zoom, beside the archive's own resolution; solids
 * and globes also as what one can turn.
 */
class SheetStage implements Stage {
  readonly root = element("div", { class: "stage" });
  private readonly shared = new SharedPlace();
  private readonly sharp: SharpView;
  private readonly native: NativeView | null;
  private readonly turned: TurnedView | null = null;
  private readonly readout = element("p", { class: "readout", "aria-live": "off" });
  private readonly message = element("p", { role: "status", class: "status" });
  private readonly sheet;
  private modulation: Float32Array | null = null;
  private stop = new AbortController();
  private time = 0.5;
  private playing = 0;

  constructor(
    private readonly decoder: Decoder,
    private look: Look,
    withNative: boolean,
  ) {
    const { functaset } = decoder;
    this.sheet = sheetOf(functaset);
    const kind = kindOf(functaset);
    const tell = (message: string) => (this.message.textContent = message);
    this.sharp = new SharpView(this.sheet, this.shared, "Decoded at the screen's resolution", look, tell);
    this.native = withNative ? new NativeView(this.sheet, this.shared, "The archive's own resolution") : null;
    const panes = element("div", { class: "panes" }, this.figure("Decoded here, at the screen's resolution", this.sharp.root));
    if (this.native) {
      const [rows, columns] = this.sheet.resolution;
      panes.append(this.figure(`The archive's own ${rows}×${columns} points`, this.native.root));
    }
    if (kind === "globe" || kind === "solid") {
      this.turned = new TurnedView(decoder, look, (middle) => this.startAt(middle));
      panes.prepend(this.turned.root);
    }
    this.root.append(this.tools(), panes, this.readout, this.message);
    if (kind === "clip") this.root.append(this.scrubber("Time", "frame"));
    if (kind === "solid") this.root.append(this.scrubber(`Along ${functaset.domain.axes[0]}`, "slice"));
    for (const view of [this.sharp, this.native]) {
      view?.root.addEventListener("pointermove", (event) => this.read(view.at(event)));
      view?.root.addEventListener("pointerleave", () => (this.readout.textContent = ""));
    }
    this.shared.listen(() => (this.zoomed.textContent = zoomInWords(this.shared.place.zoom)));
  }

  private readonly zoomed = element("output", { class: "zoom", "aria-label": "Zoom" }, "1×");

  show(modulation: Float32Array): void {
    this.turned?.show(modulation);
    this.showSheet(modulation);
  }

  private showSheet(modulation: Float32Array): void {
    this.modulation = modulation;
    this.stop.abort();
    this.stop = new AbortController();
    const source: Source = { decoder: this.decoder, modulation, at: this.at() };
    this.message.textContent = "";
    this.sharp.show(source, this.look);
    void this.showNative(source, this.stop.signal);
  }

  close(): void {
    clearInterval(this.playing);
    this.stop.abort();
    this.sharp.close();
    this.native?.close();
    this.turned?.close();
  }

  private async showNative(source: Source, signal: AbortSignal): Promise<void> {
    if (!this.native) return;
    const [height, width] = this.sheet.resolution;
    try {
      const region = regionOf(this.sheet, [0, 1], [0, 1], source.at);
      const values = await this.decoder.tile(source.modulation, region, width, height, { signal });
      this.native.show(values, source, this.look);
    } catch (error) {
      if (!isAbort(error)) this.message.textContent = messageOf(error);
    }
  }

  /** Where along all axes the sheet lies: a clip at a time. */
  private at(): number[] | undefined {
    const { axes } = this.decoder.functaset.domain;
    return axes.length > 2 ? axes.map((_, axis) => (axis < axes.length - 2 ? this.time : 0.5)) : undefined;
  }

  private figure(caption: string, pane: HTMLElement): HTMLElement {
    return element("figure", {}, pane, element("figcaption", {}, caption));
  }

  private tools(): HTMLElement {
    const { channels } = this.decoder.functaset;
    const zoom = (factor: number) => () => this.shared.set({ zoom: this.shared.place.zoom * factor });
    const tools = element(
      "div",
      { class: "tools", role: "toolbar", "aria-label": "View" },
      button("−", zoom(0.5), { "aria-label": "Zoom out" }),
      this.zoomed,
      button("+", zoom(2), { "aria-label": "Zoom in" }),
      button("All", () => this.shared.set({ row: 0.5, column: 0.5, zoom: 1 }), { "aria-label": "Show all" }),
    );
    if (channels.length > 1 && (channels.length !== 3 || this.look.channel !== "rgb")) {
      const options: [string, string][] = channels.map(({ name }, i) => [String(i), shown(name, 60)]);
      if (this.look.channel === "rgb") options.unshift(["rgb", "red, green, blue"]);
      const field = select(options, (value) => {
        this.look = { ...this.look, channel: value === "rgb" ? "rgb" : Number(value) };
        this.turned?.setLook(this.look);
        if (this.modulation) this.showSheet(this.modulation);
      });
      field.value = String(this.look.channel);
      tools.append(labelled("Channel", field));
    }
    return tools;
  }

  /** Values under the pointer, decoded there. */
  private async read(at: [number, number] | null): Promise<void> {
    if (!at || !this.modulation) {
      this.readout.textContent = "";
      return;
    }
    const { domain, channels } = this.decoder.functaset;
    const region = regionOf(this.sheet, [at[0], at[0]], [at[1], at[1]]);
    const [row, column] = [region.rows[0], region.columns[0]];
    const position = this.at()?.slice(0, -2) ?? [];
    const asked = ++this.readings;
    try {
      const values = await this.decoder.points(this.modulation, Float32Array.from([...position, row, column]), { signal: this.stop.signal });
      if (asked !== this.readings) return;
      const where = domain.kind === "sphere" ? `${row.toFixed(2)}° N, ${column.toFixed(2)}° E` : `${domain.axes.at(-2)} ${row.toFixed(4)}, ${domain.axes.at(-1)} ${column.toFixed(4)}`;
      this.readout.textContent = shown(`${where}: ${channels.map((channel, i) => inWords(values[i], channel)).join(", ")}`);
    } catch (error) {
      if (!isAbort(error)) this.message.textContent = messageOf(error);
    }
  }

  private readings = 0;

  /** Show the slice through the middle, until a person chooses another one. */
  private startAt(middle: number): void {
    if (!this.isChosen) this.goTo(middle);
  }

  private isChosen = false;
  private goTo: (time: number) => void = () => undefined;

  /** A slider along the first axis, with four steps from one point of the archive's to the next; clips also play. */
  private scrubber(label: string, point: string): HTMLElement {
    const { domain } = this.decoder.functaset;
    const frames = domain.resolution[0];
    const field = element("input", { type: "range", min: 0, max: 1, step: 1 / (4 * frames), value: this.time });
    const said = element("output", {}, "");
    const go = (time: number) => {
      this.time = time;
      field.value = String(time);
      said.textContent = `${point} ${Math.min(frames, 1 + Math.floor(time * frames))} of ${frames}`;
      if (this.modulation) this.showSheet(this.modulation);
    };
    this.goTo = go;
    field.addEventListener("input", () => {
      this.isChosen = true;
      go(Number(field.value));
    });
    const play = button("Play", () => {
      if (this.playing) {
        clearInterval(this.playing);
        this.playing = 0;
        play.textContent = "Play";
        return;
      }
      play.textContent = "Stop";
      this.playing = window.setInterval(() => {
        if (this.sharp.root.dataset.state === "sharp") go((this.time + 1 / frames) % 1);
      }, 80);
    });
    said.textContent = `${point} ${Math.floor(frames / 2) + 1} of ${frames}`;
    return element("div", { class: "scrubber" }, point === "frame" ? play : null, labelled(label, field), said);
  }
}

function zoomInWords(zoom: number): string {
  return `${zoom < 10 ? Number(zoom.toFixed(1)) : Math.round(zoom)}×`;
}
