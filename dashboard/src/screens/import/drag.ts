/**
 * Dragging a column onto a field, by mouse and by touch. The drag and drop of browsers does not support touch, so this one uses
 * pointer events. It needs no keyboard support, because each column also has a select.
 */
import { signal } from "@preact/signals";

import css from "../import.module.css";

/** Distance in pixels from which a press is a drag and not a click. */
const THRESHOLD = 4;
/** Distance from the edge of the window in pixels within which a drag scrolls. */
const EDGE = 72;
const SPEED = 10;

/** The dragged column and the field under it. */
export const dragged = signal<{ number: number; over: string | null } | null>(null);

/**
 * Starts a drag on a card: a mouse can drag anywhere on it, a finger only at its grip, because elsewhere it scrolls.
 * @param onDrop called with the `data-field` of the element under the pointer
 */
export function startDrag(event: PointerEvent, number: number, onDrop: (field: string) => void) {
  const card = event.currentTarget as HTMLElement;
  const target = event.target as HTMLElement;
  if (event.button !== 0 || !event.isPrimary || target.closest("select")) return;
  if (event.pointerType !== "mouse" && !target.closest("[data-part=grip]")) return;
  const from = { x: event.clientX, y: event.clientY };
  let at = from;
  let ghost: HTMLElement | null = null;
  let frame = 0;

  const follow = () => {
    if (!ghost) return;
    ghost.style.transform = `translate(${at.x - from.x}px, ${at.y - from.y}px)`;
    const under = document.elementFromPoint(at.x, at.y)?.closest("[data-field]") as HTMLElement | undefined;
    const over = under?.dataset.field ?? null;
    if (over !== dragged.peek()?.over) dragged.value = { number, over };
  };
  const scroll = () => {
    const by = at.y < EDGE ? -SPEED : at.y > innerHeight - EDGE ? SPEED : 0;
    // The layout must not move the drop target away.
    if (by && !dragged.peek()?.over) {
      scrollBy({ top: by, behavior: "instant" });
      follow();
    }
    frame = requestAnimationFrame(scroll);
  };
  const move = (moved: PointerEvent) => {
    at = { x: moved.clientX, y: moved.clientY };
    if (!ghost) {
      if (Math.hypot(at.x - from.x, at.y - from.y) < THRESHOLD) return;
      ghost = ghostOf(card);
      frame = requestAnimationFrame(scroll);
    }
    follow();
  };
  const end = (ended: Event) => {
    const field = ended.type === "pointerup" ? dragged.peek()?.over : null;
    cancelAnimationFrame(frame);
    ghost?.remove();
    dragged.value = null;
    for (const type of ["pointerup", "pointercancel"] as const) card.removeEventListener(type, end);
    card.removeEventListener("pointermove", move);
    removeEventListener("keydown", stop);
    if (field) onDrop(field);
  };
  const stop = (pressed: KeyboardEvent) => pressed.key === "Escape" && end(pressed);

  card.setPointerCapture(event.pointerId);
  for (const type of ["pointerup", "pointercancel"] as const) card.addEventListener(type, end);
  card.addEventListener("pointermove", move);
  addEventListener("keydown", stop);
}

/** The inert copy of the card that follows the pointer. */
function ghostOf(card: HTMLElement) {
  const { left, top, width } = card.getBoundingClientRect();
  const ghost = document.createElement("div");
  ghost.className = `${card.className} ${css.ghost}`;
  ghost.setAttribute("aria-hidden", "true");
  const head = card.querySelector("[data-part=column-head]");
  if (head) ghost.append(head.cloneNode(true));
  Object.assign(ghost.style, { left: `${left}px`, top: `${top}px`, width: `${width}px` });
  document.body.append(ghost);
  return ghost;
}
