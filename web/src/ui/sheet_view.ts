/** A flat picture that is decoded at the screen's resolution wherever it is zoomed and moved to, in tiles. */

import type { Decoder } from "../decode";
import { type Look, picture } from "./colours";
import { breathe, element, isAbort, messageOf } from "./dom";
import { regionOf, type Sheet } from "./kinds";
import { trackPointers } from "./pointers";

/** What part of a sheet is seen: its centre in fractions, and how many times larger than fitting. */
export interface Place {
  row: number;
  column: number;
  zoom: number;
}

export const MOST_ZOOM = 4096;
/** Points of the whole sheet along its longer axis at level 0, in each of whose tiles they all are. */
const LEVEL_0 = 256;
/** Points along a side of a tile: the first ones decoded have the middle size, later ones what speed allows. */
const SIDES = [64, 128, 256];
/** Milliseconds that a tile should take at most, so that the first sharp one is soon seen wherever one goes. */
const TILE_TIME = 120;
/** Points of all tiles that are kept; twice as many where the screen shows them. */
const MOST_KEPT = 160 * 256 ** 2;
/** Decoded first, at this fraction of the points, so that something is seen soon. */
const COARSE = 8;

/** A square of `side` points of a level, counted in squares of that size. */
interface Square {
  level: number;
  side: number;
  row: number;
  column: number;
}

interface Tile extends Square {
  canvas: HTMLCanvasElement;
  isSharp: boolean;
}

/** Several views may share a place: they move together. */
export class SharedPlace {
  place: Place = { row: 0.5, column: 0.5, zoom: 1 };
  private readonly listeners = new Set<() => void>();

  listen(listener: () => void): void {
    this.listeners.add(listener);
  }

  set(changes: Partial<Place>): void {
    const zoom = Math.min(MOST_ZOOM, Math.max(1, changes.zoom ?? this.place.zoom));
    const half = 0.5 / zoom;
    const inside = (at: number) => Math.min(1 - half, Math.max(half, at));
    this.place = {
      zoom,
      row: inside(changes.row ?? this.place.row),
      column: inside(changes.column ?? this.place.column),
    };
    for (const listener of this.listeners) listener();
  }
}

export type Source = { decoder: Decoder; modulation: Float32Array; at?: number[] };

/** Keys that move any view of a sheet. */
export const KEYS = "Arrow keys move, plus and minus zoom, 0 shows all.";

abstract class View {
  readonly canvas = element("canvas", { class: "sheet" });
  readonly root: HTMLElement;
  private frame = 0;
  private readonly observer = new ResizeObserver(() => this.resize());

  constructor(
    protected readonly sheet: Sheet,
    protected readonly shared: SharedPlace,
    label: string,
  ) {
    this.root = element(
      "div",
      { class: "pane", role: "application", tabindex: "0", "aria-label": `${label}. ${KEYS}` },
      this.canvas,
    );
    shared.listen(() => this.redraw());
    this.observer.observe(this.root);
    this.listenForMoves();
  }

  close(): void {
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
  }

  /** Pixels of the screen that the whole sheet would have now. */
  protected get whole(): [height: number, width: number] {
    const { width, height } = this.canvas;
    const wide = Math.min(width, height * this.sheet.aspect);
    return [(wide / this.sheet.aspect) * this.shared.place.zoom, wide * this.shared.place.zoom];
  }

  /** Where the sheet's upper left corner is on the canvas. */
  protected get corner(): [y: number, x: number] {
    const [tall, wide] = this.whole;
    const { row, column } = this.shared.place;
    return [this.canvas.height / 2 - row * tall, this.canvas.width / 2 - column * wide];
  }

  /** Fractions of the sheet at a place of the window. */
  at(event: MouseEvent): [row: number, column: number] | null {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / (box.width || 1);
    const [y, x] = this.corner;
    const [tall, wide] = this.whole;
    const found: [number, number] = [((event.clientY - box.top) * ratio - y) / tall, ((event.clientX - box.left) * ratio - x) / wide];
    return found.every((part) => part >= 0 && part <= 1) ? found : null;
  }

  redraw(): void {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw());
  }

  protected abstract draw(): void;

  private resize(): void {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [this.root.clientWidth, this.root.clientHeight].map((side) => Math.max(1, Math.round(side * ratio)));
    if (width === this.canvas.width && height === this.canvas.height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.draw();
  }

  private listenForMoves(): void {
    const { root, shared } = this;
    const ratio = () => this.canvas.width / (this.canvas.getBoundingClientRect().width || 1);
    const zoomAt = (factor: number, event?: MouseEvent) => {
      const at = event && this.at(event);
      const { row, column, zoom } = shared.place;
      const wanted = Math.min(MOST_ZOOM, Math.max(1, zoom * factor));
      if (!at) return shared.set({ zoom: wanted });
      const part = zoom / wanted; // what is under the pointer stays there
      return shared.set({ zoom: wanted, row: at[0] + (row - at[0]) * part, column: at[1] + (column - at[1]) * part });
    };
    trackPointers(root, {
      drag: (right, down) => {
        const [tall, wide] = this.whole;
        const { row, column } = shared.place;
        shared.set({ row: row - (down * ratio()) / tall, column: column - (right * ratio()) / wide });
      },
      zoom: zoomAt,
    });
    root.addEventListener("dblclick", (event) => zoomAt(2, event));
    root.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const { row, column, zoom } = shared.place;
      const step = 0.15 / zoom;
      const moves: Record<string, Partial<Place>> = {
        ArrowLeft: { column: column - step },
        ArrowRight: { column: column + step },
        ArrowUp: { row: row - step },
        ArrowDown: { row: row + step },
        "+": { zoom: zoom * 1.5 },
        "=": { zoom: zoom * 1.5 },
        "-": { zoom: zoom / 1.5 },
        "0": { zoom: 1 },
      };
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      shared.set(move);
    });
  }
}

/** Decoded at the screen's resolution. */
export class SharpView extends View {
  private readonly tiles = new Map<string, Tile>();
  private source: Source | null = null;
  private running = false;
  /** The square that is decoded now, stopped where it is seen no more. */
  private current: { square: Square; stop: AbortController } | null = null;
  /** Size of the tiles of the level that is shown; it stays while that is, so that none is decoded in two sizes. */
  private grain = { level: -1, side: SIDES[1] };
  /** Points that are decoded in a millisecond. */
  private speed = 0;

  constructor(
    sheet: Sheet,
    shared: SharedPlace,
    label: string,
    private look: Look,
    private readonly tell: (message: string) => void,
  ) {
    super(sheet, shared, label);
  }

  show(source: Source, look: Look): void {
    this.current?.stop.abort();
    this.source = source;
    this.look = look;
    for (const tile of this.tiles.values()) tile.isSharp = false; // seen until there is something better
    this.root.dataset.state = "decoding";
    this.draw();
  }

  override close(): void {
    super.close();
    this.current?.stop.abort();
    this.source = null;
  }

  override redraw(): void {
    if (this.source && this.missing()) this.root.dataset.state = "decoding"; // at once, not with the next frame
    super.redraw();
  }

  /** Level of tiles that has at least the screen's resolution: each has the square root of two times more points. */
  private level(): number {
    return Math.max(0, Math.ceil(2 * Math.log2(Math.max(...this.whole) / LEVEL_0)));
  }

  /** Points of the whole sheet at a level, along rows and columns. */
  private points(level: number): [number, number] {
    const longest = LEVEL_0 * 2 ** (level / 2);
    const { aspect } = this.sheet;
    return aspect >= 1 ? [longest / aspect, longest] : [longest, longest * aspect];
  }

  /** The part of the sheet that a tile covers: rows and columns, in fractions. */
  private covered({ level, side, row, column }: Square): [[number, number], [number, number]] {
    const [tall, wide] = this.points(level);
    const part = (at: number, of: number): [number, number] => [(at * side) / of, Math.min(1, ((at + 1) * side) / of)];
    return [part(row, tall), part(column, wide)];
  }

  /** Squares of a level that are on the screen, the nearest to its centre first. */
  private seen(level: number, side: number): Square[] {
    const [y, x] = this.corner;
    const [tall, wide] = this.whole;
    const [rows, columns] = this.points(level);
    const range = (corner: number, whole: number, screen: number, points: number) => {
      const last = Math.ceil(points / side - 1e-9) - 1;
      const from = Math.floor(((-corner / whole) * points) / side);
      const to = Math.floor((((screen - corner) / whole) * points) / side);
      return [Math.max(0, from), Math.min(last, to)];
    };
    const [top, bottom] = range(y, tall, this.canvas.height, rows);
    const [left, right] = range(x, wide, this.canvas.width, columns);
    const found: Square[] = [];
    for (let row = top; row <= bottom; row++) for (let column = left; column <= right; column++) found.push({ level, side, row, column });
    const centre = { row: (this.shared.place.row * rows) / side - 0.5, column: (this.shared.place.column * columns) / side - 0.5 };
    const far = (square: Square) => Math.hypot(square.row - centre.row, square.column - centre.column);
    return found.sort((a, b) => far(a) - far(b));
  }

  protected draw(): void {
    const context = this.canvas.getContext("2d")!;
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const level = this.level();
    const rank = (tile: Tile) => (tile.level === level ? 1e6 : -Math.abs(tile.level - level)) + (tile.isSharp ? 1e3 : 0);
    for (const tile of [...this.tiles.values()].sort((a, b) => rank(a) - rank(b))) this.put(context, tile);
    this.leave(level);
    void this.run();
  }

  /** Draw one tile where it is now. */
  private put(context: CanvasRenderingContext2D, tile: Tile): void {
    const [y, x] = this.corner;
    const [tall, wide] = this.whole;
    const [rows, columns] = this.covered(tile);
    const [left, top] = [x + columns[0] * wide, y + rows[0] * tall];
    const [width, height] = [(columns[1] - columns[0]) * wide, (rows[1] - rows[0]) * tall];
    if (left > this.canvas.width || top > this.canvas.height || left + width < 0 || top + height < 0) return;
    // Whole pixels, so that no seam is seen between tiles.
    const [l, t] = [Math.round(left), Math.round(top)];
    context.drawImage(tile.canvas, l, t, Math.round(left + width) - l, Math.round(top + height) - t);
  }

  /** Stop decoding what has left the screen. */
  private leave(level: number): void {
    if (!this.current) return;
    const name = nameOf(this.current.square);
    const isSeen = this.seen(level, this.current.square.side).some((square) => nameOf(square) === name);
    if (!isSeen) this.current.stop.abort();
  }

  private missing(): Square | undefined {
    const level = this.level();
    if (level !== this.grain.level) this.grain = { level, side: this.bestSide() };
    return this.seen(level, this.grain.side).find((square) => !this.isSharp(square));
  }

  /** Whether a sharp tile shows a square, or a larger one that holds it, or smaller ones all of it. */
  private isSharp({ level, side, row, column }: Square): boolean {
    if (this.tiles.get(nameOf({ level, side, row, column }))?.isSharp) return true;
    for (const larger of SIDES.filter((other) => other > side)) {
      const part = side / larger;
      const name = nameOf({ level, side: larger, row: Math.floor(row * part), column: Math.floor(column * part) });
      if (this.tiles.get(name)?.isSharp) return true;
    }
    const half = side / 2;
    if (half < SIDES[0]) return false;
    const [tall, wide] = this.points(level);
    return [0, 1, 2, 3].every((k) => {
      const part = { level, side: half, row: 2 * row + (k >> 1), column: 2 * column + (k & 1) };
      const isThere = part.row * half < tall - 1e-9 && part.column * half < wide - 1e-9;
      return !isThere || this.isSharp(part);
    });
  }

  private async run(): Promise<void> {
    if (this.running) return;
    this.running = true;
    try {
      for (let next = this.missing(); next && this.source; next = this.missing()) {
        this.root.dataset.state = "decoding";
        await this.decode(next, this.source);
        await breathe();
      }
      if (this.source && !this.missing()) this.root.dataset.state = "sharp";
    } catch (error) {
      this.tell(messageOf(error));
      this.root.dataset.state = "failed";
    } finally {
      this.running = false;
    }
  }

  private async decode(square: Square, source: Source): Promise<void> {
    const stop = new AbortController();
    this.current = { square, stop };
    const { signal } = stop;
    const [rows, columns] = this.covered(square);
    const points = this.points(square.level);
    const height = Math.max(1, Math.round((rows[1] - rows[0]) * points[0]));
    const width = Math.max(1, Math.round((columns[1] - columns[0]) * points[1]));
    const region = regionOf(this.sheet, rows, columns, source.at);
    try {
      if (this.tiles.size === 0) {
        const [w, h] = [Math.ceil(width / COARSE), Math.ceil(height / COARSE)];
        this.keep(square, source, await source.decoder.tile(source.modulation, region, w, h, { signal }), w, h, false);
      }
      const began = performance.now();
      const values = await source.decoder.tile(source.modulation, region, width, height, { signal });
      this.learn(width * height, performance.now() - began);
      signal.throwIfAborted(); // of what was shown before
      this.keep(square, source, values, width, height, true);
      this.root.dispatchEvent(new CustomEvent("tile", { detail: { ...square, width, height } }));
    } catch (error) {
      if (!isAbort(error)) throw error;
    } finally {
      this.current = null;
    }
  }

  private keep(square: Square, source: Source, values: Float32Array, wide: number, high: number, isSharp: boolean): void {
    const canvas = element("canvas", { width: wide, height: high });
    canvas.getContext("2d")!.putImageData(picture(values, source.decoder.functaset, this.look, wide, high), 0, 0);
    this.tiles.delete(nameOf(square));
    const tile = { ...square, canvas, isSharp };
    this.tiles.set(nameOf(square), tile);
    this.put(this.canvas.getContext("2d")!, tile); // over what is there; the others are as they were
    let kept = 0;
    for (const { canvas } of this.tiles.values()) kept += canvas.width * canvas.height;
    for (const [name, old] of this.tiles) {
      if (kept <= MOST_KEPT || (old.level === square.level && kept <= 2 * MOST_KEPT)) continue;
      this.tiles.delete(name);
      kept -= old.canvas.width * old.canvas.height;
    }
  }

  /** Note how fast tiles are decoded. */
  private learn(points: number, milliseconds: number): void {
    if (points < SIDES[0] ** 2) return; // a strip at the edge, that costs more to ask for than to compute
    // What else runs at the same time slows one tile down, not the next one.
    this.speed = Math.max(points / Math.max(milliseconds, 0.1), 0.7 * this.speed);
  }

  /** The largest tiles that take no longer than they should. */
  private bestSide(): number {
    if (this.speed === 0) return this.grain.side;
    return SIDES.findLast((side) => side ** 2 <= TILE_TIME * this.speed) ?? SIDES[0];
  }
}

function nameOf({ level, side, row, column }: Square): string {
  return `${level} ${side} ${row} ${column}`;
}

/** The archive's own points, each as large as it gets. */
export class NativeView extends View {
  private bitmap: HTMLCanvasElement | null = null;

  show(values: Float32Array, source: Source, look: Look): void {
    const [height, width] = this.sheet.resolution;
    this.bitmap = element("canvas", { width, height });
    this.bitmap.getContext("2d")!.putImageData(picture(values, source.decoder.functaset, look, width, height), 0, 0);
    this.root.dataset.state = "drawn";
    this.redraw();
  }

  protected draw(): void {
    const context = this.canvas.getContext("2d")!;
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.bitmap) return;
    const [y, x] = this.corner;
    const [tall, wide] = this.whole;
    context.imageSmoothingEnabled = false;
    context.drawImage(this.bitmap, x, y, wide, tall);
  }
}
