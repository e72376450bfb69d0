/** A line about the host where it is slow or fails, whichever screen waits for it; empty while all goes well. */

import type { Progress } from "../store";
import { element, shown } from "./dom";

/** Seconds without anything that is fetched, after which it is said that something is awaited, and that the host is slow. */
const [NOTICED, SLOW] = [1.5, 8];
/** Milliseconds between two looks. */
const TICK = 500;

export class HostProgress {
  readonly root = element("p", { class: "host", role: "status" });
  private waiting = 0;
  private bytes = 0;
  /** When something was fetched last, or the first of what is awaited was asked for. */
  private since = 0;
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
        return;
      case "retry":
        this.retry = { reason: progress.reason, at: performance.now() + 1000 * progress.seconds };
        return this.tell();
      case "done":
      case "failed":
        this.since = performance.now();
        if (--this.waiting === 0) clearInterval(this.timer);
        return this.tell();
    }
  };

  private begin(): void {
    this.bytes = 0;
    this.since = performance.now();
    this.timer = window.setInterval(() => this.tell(), TICK);
  }

  private tell(): void {
    const now = performance.now();
    const seconds = (now - this.since) / 1000;
    const { reason, at } = this.retry;
    let text = "";
    if (this.waiting > 0 && at > now) text = `${reason[0]?.toUpperCase()}${reason.slice(1)}; trying again in ${Math.ceil((at - now) / 1000)} s.`;
    else if (this.waiting > 0 && seconds > NOTICED) {
      const sofar = this.bytes === 0 ? "Waiting for the host." : `Fetching: ${Math.ceil(this.bytes / 1000).toLocaleString("en")} kB so far.`;
      text = seconds > SLOW ? `${sofar} The host is slow.` : sofar;
    }
    if (text !== this.root.textContent) this.root.textContent = shown(text, 400);
  }
}
