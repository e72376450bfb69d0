/** Decoded values as colours of pixels. */

import type { Channel, Functaset } from "../store";

/** Which channels are seen: all three of a picture, or one by a scale of colours. */
export interface Look {
  /** "rgb", or the number of a channel. */
  channel: "rgb" | number;
  /** Of one channel: brightness, or colours that are told apart better. */
  scale: "grey" | "viridis";
}

/** The usual look at the values of a functaset. */
export function usualLook(functaset: Functaset): Look {
  const { channels, domain } = functaset;
  const names = channels.map(({ name }) => name).join(" ");
  if (channels.length >= 3 && (names.startsWith("red green blue") || (channels.length === 3 && isPlain(channels)))) {
    return { channel: "rgb", scale: "grey" };
  }
  return { channel: 0, scale: domain.kind === "sphere" || !isPlain(channels) ? "viridis" : "grey" };
}

function isPlain(channels: Channel[]): boolean {
  return channels.every(({ unit }) => unit === "1");
}

/** Values (points, channels) as red, green, blue and opacity; what is no number is transparent. */
export function paint(values: Float32Array, channels: Channel[], look: Look, out: Uint8ClampedArray): void {
  const step = channels.length;
  const first = look.channel === "rgb" ? 0 : look.channel;
  const [low, high] = channels[first].range;
  const gain = 255 / (high - low || 1);
  const points = out.length / 4;
  if (look.channel === "rgb") {
    for (let i = 0, from = 0, to = 0; i < points; i++, from += step, to += 4) {
      for (let c = 0; c < 3; c++) {
        const [bottom, top] = channels[c].range;
        out[to + c] = ((values[from + c] - bottom) / (top - bottom || 1)) * 255;
      }
      out[to + 3] = Number.isNaN(values[from]) ? 0 : 255;
    }
    return;
  }
  for (let i = 0, from = first, to = 0; i < points; i++, from += step, to += 4) {
    const level = (values[from] - low) * gain;
    if (Number.isNaN(level)) {
      out[to + 3] = 0;
      continue;
    }
    const place = level < 0 ? 0 : level > 255 ? 255 : Math.round(level);
    if (look.scale === "grey") out[to] = out[to + 1] = out[to + 2] = place;
    else {
      out[to] = VIRIDIS[3 * place];
      out[to + 1] = VIRIDIS[3 * place + 1];
      out[to + 2] = VIRIDIS[3 * place + 2];
    }
    out[to + 3] = 255;
  }
}

export function picture(values: Float32Array, functaset: Functaset, look: Look, width: number, height: number): ImageData {
  const found = new ImageData(width, height);
  paint(values, functaset.channels, look, found.data);
  return found;
}

/** Dark violet to yellow by way of blue and green, equally bright steps for the eye; 256 colours. */
const VIRIDIS = (() => {
  const stops = [
    [68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
    [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37],
  ];
  const found = new Uint8Array(3 * 256);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (stops.length - 1);
    const below = Math.min(Math.floor(place), stops.length - 2);
    for (let c = 0; c < 3; c++) {
      const [from, to] = [stops[below][c], stops[below + 1][c]];
      found[3 * i + c] = from + (to - from) * (place - below);
    }
  }
  return found;
})();

/** A value with its unit for people. */
export function inWords(value: number, channel: Channel): string {
  if (Number.isNaN(value)) return `${channel.name}: no value`;
  const digits = Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(3) : value.toPrecision(4);
  return `${channel.name} ${digits}${channel.unit === "1" ? "" : ` ${channel.unit}`}`;
}
