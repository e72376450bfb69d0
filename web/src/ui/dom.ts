/** Elements made without markup: texts of strangers stay texts. */

type Child = Node | string | null | undefined | false;

type Attributes = Record<string, string | number | boolean | null | undefined>;

/** An element with attributes; `false`, `null` and `undefined` leave one out, `true` sets it empty. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    found.setAttribute(name, value === true ? "" : String(value));
  }
  found.append(...children.filter((child): child is Node | string => Boolean(child)));
  return found;
}

export function button(label: string, action: () => void, attributes: Attributes = {}): HTMLButtonElement {
  const found = element("button", { type: "button", ...attributes }, label);
  found.addEventListener("click", action);
  return found;
}

/** A field with its label, which wraps it. */
export function labelled<T extends HTMLElement>(label: string, field: T, attributes: Attributes = {}): HTMLLabelElement {
  return element("label", attributes, element("span", {}, label), field);
}

export function select(options: [value: string, text: string][], action: (value: string) => void): HTMLSelectElement {
  const found = element("select");
  for (const [value, text] of options) found.append(element("option", { value }, text));
  found.addEventListener("change", () => action(found.value));
  return found;
}

/** The message of whatever was thrown, without more than a person reads. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.length > 600 ? `${text.slice(0, 600)}…` : text || "something unforeseen happened";
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** A text of a stranger without control characters and marks that turn the direction of what follows. */
export function shown(text: string, most = 200): string {
  const plain = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "\ufffd");
  return plain.length > most ? `${plain.slice(0, most - 1)}…` : plain;
}

/** The same of an id, whose end tells it from others that begin alike: what is too long is cut in the middle. */
export function shownId(id: string, most = 200): string {
  const plain = shown(id, Infinity);
  const start = Math.floor(most / 2);
  return plain.length > most ? `${plain.slice(0, start)}…${plain.slice(start + 1 - most)}` : plain;
}

/** Lets the browser draw and hear keys between two pieces of work. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      resolve();
    };
    channel.port2.postMessage(null);
  });
}
