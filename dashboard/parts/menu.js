import { html } from "htm/preact";
import { useId, useRef, useState } from "preact/hooks";

import { Button } from "./button.js";
import { Icon } from "./icon.js";

/**
 * @typedef {object} Item
 * @property {string} title
 * @property {import("./icon.js").IconName} [icon]
 * @property {string} [href]
 * @property {boolean} [download] the link downloads a file, so that an error response does not replace the page
 * @property {() => void} [onSelect]
 * @property {boolean} [danger]
 *
 * A button that opens a list of actions.
 * @param {{ label: string, icon?: import("./icon.js").IconName, items: Item[], kind?: "plain" | "quiet", children?: any }} props
 *   `label` names a button without children
 */
export function Menu({ label, icon = "more", items, kind = "quiet", children }) {
  return html`
    <${Popup} role="menu" label=${label} icon=${icon} kind=${kind} title=${children}>
      ${(/** @type {() => void} */ close) => items.map((item) => {
        const content = html`${item.icon && html`<${Icon} name=${item.icon} />`}<span>${item.title}</span>`;
        const style = item.danger ? "item danger" : "item";
        if (item.href) {
          return html`
            <a role="menuitem" tabindex="-1" class=${style} href=${item.href} download=${item.download ? "" : undefined} onClick=${close}>${content}</a>
          `;
        }
        const select = () => {
          close();
          item.onSelect?.();
        };
        return html`<button type="button" role="menuitem" tabindex="-1" class=${style} onClick=${select}>${content}</button>`;
      })}
    <//>
  `;
}

/**
 * A button that opens a popover, which Escape or a click elsewhere closes.
 * @param {{
 *   label: string,
 *   role?: "menu" | "dialog",
 *   icon?: import("./icon.js").IconName,
 *   kind?: "plain" | "quiet",
 *   title?: any,
 *   children: (close: () => void) => any,
 * }} props
 */
export function Popup({ label, role = "dialog", icon, kind = "quiet", title, children }) {
  const id = useId();
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const [open, setOpen] = useState(false);
  const button = () => /** @type {HTMLElement} */ (document.getElementById(`${id}-button`));
  const close = () => {
    box.current?.hidePopover();
    button().focus();
  };
  // The content is rendered before the popover is shown, because its position depends on its size. It is removed after the popover is
  // hidden, so that the browser can restore the focus.
  /** @param {ToggleEvent} event */
  const toggling = (event) => {
    if (event.newState === "open") setOpen(true);
  };
  /** @param {ToggleEvent} event */
  const toggled = (event) => {
    if (event.newState !== "open") return setOpen(false);
    if (!box.current) return;
    place(box.current, button());
    controls(box.current)[0]?.focus();
  };
  /** @param {KeyboardEvent} event */
  const move = (event) => {
    if (role !== "menu" || !box.current) return;
    if (event.key === "Tab") return close();
    const items = controls(box.current);
    const here = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const there = { ArrowDown: here + 1, ArrowUp: here - 1 + items.length, Home: 0, End: items.length - 1 }[event.key];
    if (there === undefined) return;
    event.preventDefault();
    items[there % items.length].focus();
  };
  return html`
    <${Button} id="${id}-button" kind=${kind} icon=${icon} label=${title ? undefined : label} popovertarget=${id}
      aria-haspopup=${role} aria-expanded=${String(open)}>${title}<//>
    <div id=${id} ref=${box} class="popup" popover="auto" role=${role} aria-label=${label} 
      onBeforeToggle=${toggling} onToggle=${toggled} onKeyDown=${move}>
      ${open && children(close)}
    </div>
  `;
}

/** @param {HTMLElement} box */
function controls(box) {
  return /** @type {HTMLElement[]} */ ([...box.querySelectorAll("a, button, input, select")]);
}

/**
 * Places the popover below its button and inside the window, or above the button if there is no room below.
 * @param {HTMLElement} box
 * @param {HTMLElement} button
 */
function place(box, button) {
  const anchor = button.getBoundingClientRect();
  const { width, height } = box.getBoundingClientRect();
  const left = Math.min(Math.max(anchor.right - width, 8), innerWidth - width - 8);
  const below = anchor.bottom + 4;
  const top = below + height > innerHeight - 8 ? Math.max(anchor.top - height - 4, 8) : below;
  Object.assign(box.style, { left: `${left}px`, top: `${top}px`, visibility: "visible" });
}
