/**
 * Dragging a column onto a field, by mouse and by touch. The browser's own drag and drop does not know touch, so this one is made of
 * pointer events. Keys need none of it: each column has a select too.
 */
import { signal } from "@preact/signals";

/** From here on it is a drag and no click. */
const THRESHOLD = 4;
/** So near to the edge of the window it scrolls. */
const EDGE = 72;
const SPEED = 10;

/** The column that is dragged and the field it is over. */
export const dragged = signal(/** @type {{ number: number, over: string | null } | null} */ (null));

/**
 * Begins where the pointer goes down on a card: by a mouse anywhere on it, by a finger at its grip, for elsewhere a finger scrolls.
 * @param {PointerEvent} event
 * @param {number} number
 * @param {(field: string) => void} onDrop called with the `data-field` of the element that it was dropped on
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
    // What it would be dropped on must not move away.
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

/** What is seen under the pointer: a picture of the card, which nobody can use. @param {HTMLElement} card */
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
