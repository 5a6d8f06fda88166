import { html } from "htm/preact";

import { Icon } from "./icon.js";

/**
 * A button, or a link that looks like one if it has an `href`. An icon without children needs a `label`.
 * @param {{
 *   kind?: "primary" | "plain" | "quiet" | "danger",
 *   icon?: import("./icon.js").IconName,
 *   label?: string,
 *   busy?: boolean,
 *   href?: string,
 *   type?: "button" | "submit",
 *   class?: string,
 *   children?: any,
 *   [more: string]: any,
 * }} props further attributes go to the element; a `busy` button shows progress and ignores clicks
 */
export function Button({ kind = "plain", icon, label, busy = false, href, type = "button", children, onClick, class: more = "", ...rest }) {
  const content = html`${icon && html`<${Icon} name=${icon} />`}${children && html`<span>${children}</span>`}`;
  const style = `button ${kind}${icon && !children ? " square" : ""}${busy ? " busy" : ""} ${more}`;
  if (href) return html`<a class=${style} href=${href} aria-label=${label} title=${label} onClick=${onClick} ...${rest}>${content}</a>`;
  // Not `disabled`, because a disabled button loses the focus.
  return html`
    <button type=${type} class=${style} aria-label=${label} title=${label} aria-disabled=${busy ? "true" : undefined}
      onClick=${busy ? stop : onClick} ...${rest}>${content}</button>
  `;
}

/** @param {Event} event */
function stop(event) {
  event.preventDefault();
}
