/** What is said of a host that is slow or fails, in Node with a clock of its own. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HostProgress } from "../src/ui/host_progress";

/** What `HostProgress` needs of an element; counts how often its text is written. */
class FakeElement {
  readonly attributes = new Map<string, string>();
  readonly children: FakeElement[] = [];
  writings = 0;
  private text = "";

  get textContent(): string {
    return this.text + this.children.map(({ textContent }) => textContent).join("");
  }

  set textContent(text: string) {
    this.text = text;
    this.writings++;
  }

  setAttribute(name: string, value: string): void {
    this.attributes.set(name, value);
  }

  toggleAttribute(): void {}

  append(...children: FakeElement[]): void {
    this.children.push(...children);
  }
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("window", globalThis);
  vi.stubGlobal("document", { createElement: () => new FakeElement() });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const started = (): { host: HostProgress; root: FakeElement } => {
  const host = new HostProgress();
  host.hear({ kind: "request", key: "base" });
  return { host, root: host.root as unknown as FakeElement };
};

/** What is read aloud, and what is not. */
const parts = ({ children }: FakeElement): FakeElement[] => {
  const found = [["role", "status"], ["aria-hidden", "true"]].map(([name, value]) => children.find(({ attributes }) => attributes.get(name) === value)!);
  expect(found).toEqual(children);
  return found;
};

test("a host is not slow while a long object comes", () => {
  const { host, root } = started();
  for (let seconds = 1; seconds <= 20; seconds++) {
    host.hear({ kind: "bytes", key: "base", bytes: 1_000_000 });
    vi.advanceTimersByTime(1000);
    expect(root.textContent).toBe(seconds === 1 ? "" : `Fetching. ${seconds},000 kB so far.`);
  }
  vi.advanceTimersByTime(8000);
  expect(root.textContent).toBe("Fetching. The host is slow. 20,000 kB so far.");
  host.hear({ kind: "done", key: "base" });
  expect(root.textContent).toBe("");
});

test("of a countdown and of bytes that come only the beginning is read aloud", () => {
  const { host, root } = started();
  const [spoken, silent] = parts(root);
  host.hear({ kind: "retry", key: "base", seconds: 10, reason: "the host answered 503" });
  for (let seconds = 10; seconds > 1; seconds--) {
    expect(root.textContent).toBe(`The host answered 503; trying again in ${seconds} s.`);
    vi.advanceTimersByTime(1000);
  }
  expect([spoken.textContent, spoken.writings]).toEqual(["The host answered 503; trying again", 1]);
  vi.advanceTimersByTime(500);
  for (let kilobytes = 0; kilobytes < 9; kilobytes++) {
    host.hear({ kind: "bytes", key: "base", bytes: 1000 });
    vi.advanceTimersByTime(1000);
  }
  expect([spoken.textContent, spoken.writings]).toEqual(["Fetching.", 2]);
  expect(silent.writings).toBeGreaterThan(15);
});
