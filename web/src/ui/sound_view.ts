/** Sound: its wave, and a button that plays it. */

import type { Decoder } from "../decode";
import { button, element, isAbort, labelled, messageOf, select, shown } from "./dom";
import { drawWave } from "./kinds";
import type { Stage } from "./stage";

/** Samples per second where a sound says none. */
const USUAL_RATE = 16_000;
/** What browsers play. */
const [LEAST_RATE, MOST_RATE] = [8_000, 96_000];

export class SoundView implements Stage {
  readonly root = element("div", { class: "stage sound" });
  private readonly canvas = element("canvas", { class: "wave", width: 1024, height: 256, role: "img", "aria-label": "Waveform" });
  private readonly message = element("p", { role: "status", class: "status" });
  private readonly play: HTMLButtonElement;
  private samples: Float32Array | null = null;
  private context: AudioContext | null = null;
  private source: AudioBufferSourceNode | null = null;
  private stop = new AbortController();
  private channel = 0;

  constructor(private readonly decoder: Decoder) {
    this.play = button("Play", () => void this.toggle(), { disabled: true });
    const tools = element("div", { class: "tools", role: "toolbar", "aria-label": "Sound" }, this.play);
    const { channels } = decoder.functaset;
    if (channels.length > 1) {
      const options: [string, string][] = channels.map(({ name }, i) => [String(i), shown(name, 60)]);
      tools.append(labelled("Wave of", select(options, (value) => {
        this.channel = Number(value);
        this.draw();
      })));
    }
    tools.append(element("span", {}, `${decoder.functaset.domain.resolution[0].toLocaleString("en")} samples, ${this.rate.toLocaleString("en")} per second`));
    this.root.append(tools, this.canvas, this.message);
  }

  /** Samples per second, by the length of the whole in seconds if it has one. */
  private get rate(): number {
    const { domain } = this.decoder.functaset;
    const seconds = domain.kind === "cells" && domain.units[0] === "s" ? domain.lengths[0] : NaN;
    const rate = seconds > 0 ? domain.resolution[0] / seconds : USUAL_RATE;
    return Math.round(rate);
  }

  show(modulation: Float32Array): void {
    this.stop.abort();
    this.stop = new AbortController();
    this.silence();
    this.root.dataset.state = "decoding";
    void this.decode(modulation, this.stop.signal);
  }

  close(): void {
    this.stop.abort();
    this.silence();
    void this.context?.close();
  }

  private async decode(modulation: Float32Array, signal: AbortSignal): Promise<void> {
    try {
      this.samples = await this.decoder.grid(modulation, undefined, { signal });
      this.draw();
      this.play.disabled = false;
      this.message.textContent = "";
      this.root.dataset.state = "sharp";
    } catch (error) {
      if (!isAbort(error)) this.message.textContent = messageOf(error);
    }
  }

  private draw(): void {
    if (!this.samples) return;
    const found = new ImageData(this.canvas.width, this.canvas.height);
    drawWave(this.samples, this.decoder.functaset, this.channel, found);
    this.canvas.getContext("2d")!.putImageData(found, 0, 0);
  }

  private async toggle(): Promise<void> {
    if (this.source) return this.silence();
    const { samples } = this;
    const { signal } = this.stop;
    if (!samples) return;
    const { channels } = this.decoder.functaset;
    const length = samples.length / channels.length;
    const rate = Math.min(MOST_RATE, Math.max(LEAST_RATE, this.rate));
    this.context ??= new AudioContext();
    await this.context.resume();
    if (this.source || signal.aborted) return; // it was clicked twice, or left meanwhile
    const buffer = this.context.createBuffer(Math.min(2, channels.length), length, rate);
    for (let c = 0; c < buffer.numberOfChannels; c++) {
      const [low, high] = channels[c].range;
      const half = Math.max(Math.abs(low), Math.abs(high)) || 1;
      const data = buffer.getChannelData(c);
      for (let i = 0; i < length; i++) data[i] = Math.min(1, Math.max(-1, samples[i * channels.length + c] / half));
    }
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    source.addEventListener("ended", () => {
      if (this.source === source) this.silence(); // another one may play by now
    });
    source.start();
    this.source = source;
    this.play.textContent = "Stop";
  }

  private silence(): void {
    const { source } = this;
    this.source = null;
    this.play.textContent = "Play";
    try {
      source?.stop();
    } catch {
      // it has ended
    }
  }
}
