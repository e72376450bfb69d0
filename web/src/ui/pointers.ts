/** Pointers, pinches and wheels on a pane. */

/** What a pane does where pointers move on it. */
export interface PointerMoves {
  /** One pointer has moved by these pixels. */
  drag(right: number, down: number): void;
  /** Two pointers have spread, or a wheel was turned: what is seen grows by a factor, around the place of the event. */
  zoom(factor: number, event: MouseEvent): void;
}

/** Factors, as powers of e, of which a wheel tells lines or pixels. */
const [PER_LINE, PER_PIXEL] = [0.05, 0.002];

/** Hear the pointers of a pane, which it captures until they are lifted, and its wheel. */
export function trackPointers(pane: HTMLElement, moves: PointerMoves): void {
  const pointers = new Map<number, PointerEvent>();
  pane.addEventListener("pointerdown", (event) => {
    pane.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, event);
  });
  pane.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    pointers.set(event.pointerId, event);
    const other = [...pointers.values()].find(({ pointerId }) => pointerId !== event.pointerId);
    if (other) moves.zoom(distance(event, other) / distance(before, other), event);
    else moves.drag(event.clientX - before.clientX, event.clientY - before.clientY);
  });
  for (const name of ["pointerup", "pointercancel"] as const) {
    pane.addEventListener(name, (event) => void pointers.delete(event.pointerId));
  }
  pane.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      moves.zoom(Math.exp(-event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? PER_LINE : PER_PIXEL)), event);
    },
    { passive: false },
  );
}

/** Pixels between two pointers, at least one. */
function distance(one: MouseEvent, other: MouseEvent): number {
  return Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
}
