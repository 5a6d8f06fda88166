/**
 * Dragging a column onto a field, by mouse and by touch. The drag and drop of browsers does not support touch, so this one uses
 * pointer events. It needs no keyboard support, because each column also has a select.
 */
import { signal } from "@preact/signals";

/** Distance in pixels from which a press is a drag and not a click. */
const THRESHOLD = 4;
/** Distance from the edge of the window in pixels within which a drag scrolls. */
const EDGE = 72;
const SPEED = 10;

/** The dragged column and the field under it. */
export const dragged = signal(/** @type {{ number: number, over: string | null } | null} */ (null));

/**
 * Starts a drag on a card: a mouse can drag anywhere on it, a finger only at its grip, because elsewhere it scrolls.
 * @param {PointerEvent} event
 * @param {number} number
 * @param {(field: string) => void} onDrop called with the `data-field` of the element under the pointer
 */
export function startDrag(event, number, onDrop) {
  const card = /** @type {HTMLElement} */ (event.currentTarget);
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.button !== 0 || !event.isPrimary || target.closest("select")) return;
  if (event.pointerType !== "mouse" && !target.closest(".grip")) return;
  const from = { x: event.clientX, y: event.clientY };
  let at = from;
  /** @type {HTMLElement | null} */
  let ghost = null;
  let frame = 0;

  const follow = () => {
    if (!ghost) return;
    ghost.style.transform = `translate(${at.x - from.x}px, ${at.y - from.y}px)`;
    const under = /** @type {HTMLElement | undefined} */ (document.elementFromPoint(at.x, at.y)?.closest("[data-field]"));
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
  /** @param {PointerEvent} moved */
  const move = (moved) => {
    at = { x: moved.clientX, y: moved.clientY };
    if (!ghost) {
      if (Math.hypot(at.x - from.x, at.y - from.y) < THRESHOLD) return;
      ghost = ghostOf(card);
      frame = requestAnimationFrame(scroll);
    }
    follow();
  };
  /** @param {Event} ended */
  const end = (ended) => {
    const field = ended.type === "pointerup" ? dragged.peek()?.over : null;
    cancelAnimationFrame(frame);
    ghost?.remove();
    dragged.value = null;
    for (const type of /** @type {const} */ (["pointerup", "pointercancel"])) card.removeEventListener(type, end);
    card.removeEventListener("pointermove", move);
    removeEventListener("keydown", stop);
    if (field) onDrop(field);
  };
  /** @param {KeyboardEvent} pressed */
  const stop = (pressed) => pressed.key === "Escape" && end(pressed);

  card.setPointerCapture(event.pointerId);
  for (const type of /** @type {const} */ (["pointerup", "pointercancel"])) card.addEventListener(type, end);
  card.addEventListener("pointermove", move);
  addEventListener("keydown", stop);
}

/** The inert copy of the card that follows the pointer. @param {HTMLElement} card */
function ghostOf(card) {
  const { left, top, width } = card.getBoundingClientRect();
  const ghost = document.createElement("div");
  ghost.className = `${card.className} ghost`;
  ghost.setAttribute("aria-hidden", "true");
  const head = card.querySelector(".column-head");
  if (head) ghost.append(head.cloneNode(true));
  Object.assign(ghost.style, { left: `${left}px`, top: `${top}px`, width: `${width}px` });
  document.body.append(ghost);
  return ghost;
}
