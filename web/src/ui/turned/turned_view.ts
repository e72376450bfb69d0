/** Solids, scenes and globes that are turned by pointer and keys; coarse while they move, fine when they rest. */

import type { Decoder } from "../../decode";
import { raysFrom } from "./cameras";
import { paint, type Look } from "../colours";
import { breathe, element, isAbort, messageOf } from "../dom";
import { colouredRays, oneChannel, sheetOf, regionOf, USUAL_TURN } from "../kinds";
import { trackPointers } from "../pointers";
import { SolidCard } from "./solid_card";
import { cubeOf, drawSolid, extentOf, middleOf, type Solid, type Turn } from "./solids";
import type { Stage } from "../stage";

/** Points per axis of the grid that shows a solid. */
const MOST_POINTS = 64;
/** Points per axis of the first one, which is soon there. */
const COARSE = 24;
/** Pixels of a side, the last ones when nothing moves any more. */
const SIDES = { solid: [128, 384], solidOnCard: [384], scene: [32, 96, 256], globe: [192, 512] };
/** Milliseconds that this thread draws before it looks whether somebody does something. */
const FRAME = 8;
/** Points of the flat map that a globe wears, along its equator. */
const MAP = 512;

export class TurnedView implements Stage {
  readonly root = element("div", { class: "stage turned" });
  private readonly canvas = element("canvas", { class: "sheet" });
  private readonly message = element("p", { role: "status", class: "status" });
  private readonly pane: HTMLElement;
  private turn: Turn = { ...USUAL_TURN };
  private stop = new AbortController();
  private modulation: Float32Array | null = null;
  private solid: Solid | null = null;
  private map: { values: Float32Array; width: number; height: number } | null = null;
  private drawing = false;
  private wanted = -1;
  /** Counts what changes what is seen. */
  private changes = 0;

  constructor(
    private readonly decoder: Decoder,
    private look: Look | null = null,
    /** Told where along the first axis the middle of a solid lies, in [0, 1], as soon as that is known. */
    private readonly tellMiddle: (middle: number) => void = () => undefined,
  ) {
    const { domain } = decoder.functaset;
    const what = domain.kind === "sphere" ? "Globe" : domain.kind === "scene" ? "Scene" : "Surface";
    if (domain.kind === "sphere") this.turn = { around: 10, above: 25, zoom: 1 };
    const label = `${what}. Arrow keys turn, plus and minus zoom, 0 turns back.`;
    this.pane = element("div", { class: "pane", role: "application", tabindex: "0", "aria-label": label }, this.canvas);
    this.root.append(element("figure", {}, this.pane, element("figcaption", {}, `${what}, turned by dragging or arrow keys`)), this.message);
    this.listen();
  }

  show(modulation: Float32Array): void {
    this.stop.abort();
    this.stop = new AbortController();
    this.modulation = modulation;
    this.pane.dataset.state = "decoding";
    void this.prepare(modulation, this.stop.signal);
  }

  setLook(look: Look): void {
    this.look = look;
    this.restart();
  }

  close(): void {
    this.stop.abort();
    this.modulation = null;
  }

  /** Decode what is then drawn from all sides; of a scene nothing, its rays are decoded. */
  private async prepare(modulation: Float32Array, signal: AbortSignal): Promise<void> {
    const { functaset } = this.decoder;
    const { domain, channels } = functaset;
    this.message.textContent = "";
    try {
      if (domain.kind === "cells") {
        const [low, high] = channels[0].range;
        const extent = extentOf(domain.resolution, domain.cellAspect);
        for (const most of [COARSE, MOST_POINTS]) {
          const size = cubeOf(domain.resolution, most);
          const values = oneChannel(await this.decoder.grid(modulation, size, { signal }), channels.length, 0);
          this.solid = { values, size, level: (low + high) / 2, extent };
          if (most === COARSE) this.tellMiddle(middleOf(this.solid));
          this.restart();
          if (Math.max(...size) < most) break;
        }
      } else if (domain.kind === "sphere") {
        const sheet = sheetOf(functaset);
        for (const width of [MAP / 4, MAP]) {
          const height = Math.max(1, Math.round(width / sheet.aspect));
          const values = await this.decoder.tile(modulation, regionOf(sheet, [0, 1], [0, 1]), width, height, { signal });
          this.map = { values, width, height };
          this.restart();
        }
      } else this.restart();
    } catch (error) {
      if (!isAbort(error)) this.fail(error);
    }
  }

  private restart(): void {
    this.wanted = 0;
    this.changes++;
    if (this.modulation) this.pane.dataset.state = "decoding";
    void this.draw();
  }

  private async draw(): Promise<void> {
    if (this.drawing) return;
    this.drawing = true;
    const { domain } = this.decoder.functaset;
    try {
      while (this.wanted >= 0 && this.modulation) {
        const card = domain.kind === "cells" ? SolidCard.get() : null;
        const sides = domain.kind === "cells" ? (card ? SIDES.solidOnCard : SIDES.solid) : domain.kind === "scene" ? SIDES.scene : SIDES.globe;
        if (this.wanted >= sides.length) break;
        const [round, side] = [this.wanted, sides[this.wanted]];
        const found = this.solid && card?.draw(this.solid, this.turn, side) ? card.canvas : await this.picture(side, round > 0, this.stop.signal);
        if (found) {
          this.canvas.width = this.canvas.height = side;
          const context = this.canvas.getContext("2d")!;
          if (found instanceof ImageData) context.putImageData(found, 0, 0);
          else context.drawImage(found, 0, 0);
        }
        this.pane.dataset.state = this.wanted === sides.length - 1 ? "sharp" : "decoding";
        this.pane.dataset.drawn = card && this.solid ? "card" : "cpu";
        await breathe();
        if (this.wanted === round) this.wanted = round + 1;
      }
    } catch (error) {
      if (!isAbort(error)) this.fail(error);
    } finally {
      this.drawing = false;
    }
  }

  /** A picture drawn by this thread; null if there is nothing yet, or something else is to be seen meanwhile. */
  private async picture(side: number, mayStop: boolean, signal: AbortSignal): Promise<ImageData | null> {
    const { functaset } = this.decoder;
    const { domain } = functaset;
    if (domain.kind === "scene") {
      const { origins, directions } = raysFrom(domain, this.turn, side, side);
      const numSamples = side === SIDES.scene.at(-1) ? undefined : Math.min(domain.numSamples, 32);
      const { colours } = await this.decoder.rays(this.modulation!, origins, directions, { signal, numSamples });
      return colouredRays(colours, side, side);
    }
    const found = new ImageData(side, side);
    const { solid, turn, changes } = this;
    if (solid) {
      let began = performance.now();
      for (let row = 0; row < side; row += 4) {
        drawSolid(solid, turn, side, side, found.data, row, Math.min(side, row + 4));
        if (performance.now() - began < FRAME) continue;
        await breathe();
        if (mayStop && changes !== this.changes) return null;
        began = performance.now();
      }
    } else if (this.map) this.drawGlobe(found);
    else return null;
    return found;
  }

  /** The flat map on a ball, seen from far away. */
  private drawGlobe(out: ImageData): void {
    const { functaset } = this.decoder;
    const { values, width, height } = this.map!;
    const { rows, columns } = sheetOf(functaset);
    const channels = functaset.channels.length;
    const colours = new Uint8ClampedArray(4 * width * height);
    paint(values.subarray(0, channels * width * height), functaset.channels, this.look!, colours);
    const centre = (this.turn.around * Math.PI) / 180;
    const tilt = (this.turn.above * Math.PI) / 180;
    const side = out.width;
    const radius = 0.48 * side * this.turn.zoom;
    const round = columns[1] - columns[0] >= 360 - 1e-6;
    for (let row = 0; row < side; row++) {
      for (let column = 0; column < side; column++) {
        const u = (column + 0.5 - side / 2) / radius;
        const v = (side / 2 - row - 0.5) / radius;
        const square = 1 - u * u - v * v;
        if (square < 0) continue;
        const w = Math.sqrt(square);
        const sine = v * Math.cos(tilt) + w * Math.sin(tilt);
        const latitude = (Math.asin(Math.min(1, Math.max(-1, sine))) * 180) / Math.PI;
        const longitude = ((centre + Math.atan2(u, w * Math.cos(tilt) - v * Math.sin(tilt))) * 180) / Math.PI;
        const down = (latitude - rows[0]) / (rows[1] - rows[0]);
        const turns = (((longitude - columns[0]) % 360) + 360) % 360;
        const along = turns / (columns[1] - columns[0]);
        const at = 4 * (row * side + column);
        if (down < 0 || down > 1 || (along > 1 && !round)) {
          out.data.set([128, 128, 128, 60], at);
          continue;
        }
        const from = 4 * (Math.min(height - 1, Math.floor(down * height)) * width + Math.min(width - 1, Math.floor(along * width)));
        const light = 0.55 + 0.45 * w;
        for (let c = 0; c < 3; c++) out.data[at + c] = colours[from + c] * light;
        out.data[at + 3] = colours[from + 3] === 0 ? 60 : 255;
      }
    }
  }

  private fail(error: unknown): void {
    this.message.textContent = messageOf(error);
    this.pane.dataset.state = "failed";
  }

  private move(changes: Partial<Turn>): void {
    const { around, above, zoom } = { ...this.turn, ...changes };
    this.turn = { around, above: Math.min(89, Math.max(-89, above)), zoom: Math.min(8, Math.max(0.5, zoom)) };
    this.restart();
  }

  private listen(): void {
    const { pane } = this;
    trackPointers(pane, {
      drag: (right, down) => {
        const speed = 0.4 / this.turn.zoom; // degrees per pixel
        this.move({ around: this.turn.around - right * speed, above: this.turn.above + down * speed });
      },
      zoom: (factor) => this.move({ zoom: this.turn.zoom * factor }),
    });
    pane.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const { around, above, zoom } = this.turn;
      const moves: Record<string, Partial<Turn>> = {
        ArrowLeft: { around: around + 10 },
        ArrowRight: { around: around - 10 },
        ArrowUp: { above: above + 10 },
        ArrowDown: { above: above - 10 },
        "+": { zoom: zoom * 1.25 },
        "=": { zoom: zoom * 1.25 },
        "-": { zoom: zoom / 1.25 },
        "0": USUAL_TURN,
      };
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      this.move(move);
    });
  }
}
