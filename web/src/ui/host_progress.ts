/** A line about the host where it is slow or fails, whichever screen waits for it; empty while all goes well. */

import type { Progress } from "../store";
import { element, shown } from "./dom";

/** Seconds without an object that is there, after which it is said that one is awaited. */
const NOTICED = 1.5;
/** Seconds without a byte, after which it is said that the host is slow. */
const SLOW = 8;
/** Milliseconds between two looks. */
const TICK = 500;

export class HostProgress {
  /** What is read aloud: it changes only with the state of things. */
  private readonly state = element("span", { role: "status" });
  /** Seconds and kilobytes that count. */
  private readonly counter = element("span", { "aria-hidden": "true" });
  readonly root = element("p", { class: "host", "data-quiet": true }, this.state, this.counter);
  private waiting = 0;
  private bytes = 0;
  /** When an object was there last, or the first of what is awaited was asked for. */
  private since = 0;
  /** When bytes came last, likewise. */
  private heard = 0;
  /** Why something is asked for again, and when. */
  private retry = { reason: "", at: 0 };
  private timer = 0;

  readonly hear = (progress: Progress): void => {
    switch (progress.kind) {
      case "request":
        if (this.waiting++ === 0) this.begin();
        return;
      case "bytes":
        this.bytes += progress.bytes;
        this.heard = performance.now();
        return;
      case "retry":
        this.retry = { reason: progress.reason, at: performance.now() + 1000 * progress.seconds };
        return this.tell();
      case "done":
      case "failed":
        this.since = this.heard = performance.now();
        if (--this.waiting === 0) clearInterval(this.timer);
        return this.tell();
    }
  };

  private begin(): void {
    this.bytes = 0;
    this.since = this.heard = performance.now();
    this.timer = window.setInterval(() => this.tell(), TICK);
  }

  private tell(): void {
    const [state, counter] = this.words();
    if (state !== this.state.textContent) this.state.textContent = state;
    if (counter !== this.counter.textContent) this.counter.textContent = counter;
    this.root.toggleAttribute("data-quiet", state === "");
  }

  /** The state of things, and what counts in it. */
  private words(): [state: string, counter: string] {
    if (this.waiting === 0) return ["", ""];
    const now = performance.now();
    const { reason, at } = this.retry;
    if (at > now) {
      const state = shown(`${reason[0]?.toUpperCase()}${reason.slice(1)}; trying again`, 400);
      return [state, ` in ${Math.ceil((at - now) / 1000)} s.`];
    }
    if (now - this.since <= 1000 * NOTICED) return ["", ""];
    const slow = now - this.heard > 1000 * SLOW ? " The host is slow." : "";
    if (this.bytes === 0) return [`Waiting for the host.${slow}`, ""];
    return [`Fetching.${slow}`, ` ${Math.ceil(this.bytes / 1000).toLocaleString("en")} kB so far.`];
  }
}
