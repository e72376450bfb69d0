/** Fields that filter by labels: a choice of classes and labels, and for some labels a range of numbers or a text. */

import type { LabelColumn } from "../store";
import { type Catalogue, type LabelFilter, labelInWords, MOST_CLASSES } from "./catalogue";
import { element, labelled, select, shown } from "./dom";

/** Milliseconds after the last key until a filter is applied. */
const PAUSE = 250;

/** Whether the classes of a label are offered one by one. */
const hasFewClasses = ({ classNames }: LabelColumn): boolean => classNames !== null && classNames.length <= MOST_CLASSES;

/**
 * The fields; none where there are no labels.
 *
 * @param filter What was chosen before.
 * @param choose Told of what is chosen from now on.
 */
export function labelFields(
  catalogue: Catalogue,
  filter: LabelFilter | null,
  choose: (filter: LabelFilter | null) => void,
): HTMLElement[] {
  const { labels } = catalogue.functaset;
  if (labels.length === 0) return [];
  const options: [string, string][] = [["", "all"]];
  labels.forEach((label, k) => {
    const name = shown(label.name, 40);
    if (hasFewClasses(label)) {
      label.classNames!.forEach((one, value) => options.push([`${k} ${value}`, `${name}: ${shown(one, 60)}`]));
    } else options.push([String(k), label.classNames ? `${name}: by a part of its name…` : `${name}: from … to …`]);
  });
  const more = element("div", { class: "more", role: "group" });
  more.hidden = true;
  const field = select(options, (chosen) => {
    const [k, value] = chosen.split(" ");
    show(chosen === "" || value !== undefined ? null : labels[Number(k)], null);
    choose(value === undefined ? null : { kind: "class", name: labels[Number(k)].name, value: Number(value) });
  });
  const show = (label: LabelColumn | null, before: LabelFilter | null): void => {
    more.hidden = label === null;
    if (label) more.setAttribute("aria-label", shown(label.name, 40));
    more.replaceChildren(...(label ? fieldsOf(label, before) : []));
  };
  const fieldsOf = (label: LabelColumn, before: LabelFilter | null): HTMLElement[] =>
    label.classNames ? [textField(label, before, choose)] : rangeFields(catalogue, label, before, choose);
  const k = labels.findIndex(({ name }) => name === filter?.name);
  if (filter && k >= 0) {
    field.value = filter.kind === "class" ? `${k} ${filter.value}` : String(k);
    if (filter.kind !== "class") show(labels[k], filter);
  }
  return [labelled("Label", field), more];
}

/** A part of the name of a class; for labels of many. */
function textField(label: LabelColumn, before: LabelFilter | null, choose: (filter: LabelFilter) => void): HTMLElement {
  const text = before?.kind === "text" ? before.text : "";
  const field = element("input", { type: "search", autocomplete: "off", spellcheck: "false", value: text });
  whenTyped([field], () => choose({ kind: "text", name: label.name, text: field.value }));
  return labelled(`${shown(label.name, 40)} contains`, field);
}

/** Two ends of a range; the numbers that there are stand in those that are empty. */
function rangeFields(
  catalogue: Catalogue,
  label: LabelColumn,
  before: LabelFilter | null,
  choose: (filter: LabelFilter) => void,
): HTMLElement[] {
  const end = (value: number): HTMLInputElement =>
    element("input", { type: "number", step: "any", autocomplete: "off", value: Number.isFinite(value) ? value : "" });
  const [low, high] = before?.kind === "range" ? [before.low, before.high] : [-Infinity, Infinity];
  const ends = [end(low), end(high)];
  whenTyped(ends, () => {
    const [from, to] = ends.map(({ value }) => (value === "" ? NaN : Number(value)));
    choose({ kind: "range", name: label.name, low: Number.isNaN(from) ? -Infinity : from, high: Number.isNaN(to) ? Infinity : to });
  });
  void catalogue.extent(label).then(
    (extent) => ends.forEach((field, i) => (field.placeholder = (extent && labelInWords(label, extent[i])) ?? "none")),
    () => undefined, // the gallery tells when it needs them itself
  );
  const name = shown(label.name, 40);
  return [labelled(`${name} from`, ends[0]), labelled(`${name} to`, ends[1])];
}

function whenTyped(fields: HTMLInputElement[], action: () => void): void {
  let timer = 0;
  for (const field of fields) {
    field.addEventListener("input", () => {
      clearTimeout(timer);
      timer = window.setTimeout(() => field.isConnected && action(), PAUSE);
    });
  }
}
