import { html } from "htm/preact";

import { Icon } from "./icon.js";

/**
 * A button, or a link that looks like one where it has an `href`. With `icon` alone it needs a `label`.
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
 * }} props the rest goes to the element. `busy` shows that it works, and takes no click meanwhile
 */
export function Button({ kind = "plain", icon, label, busy = false, href, type = "button", children, onClick, class: more = "", ...rest }) {
  const content = html`${icon && html`<${Icon} name=${icon} />`}${children && html`<span>${children}</span>`}`;
  const style = `button ${kind}${icon && !children ? " square" : ""}${busy ? " busy" : ""} ${more}`;
  if (href) return html`<a class=${style} href=${href} aria-label=${label} title=${label} onClick=${onClick} ...${rest}>${content}</a>`;
  // A busy button keeps the focus, which a disabled one would lose.
  return html`
    <button type=${type} class=${style} aria-label=${label} title=${label} aria-disabled=${busy ? "true" : undefined}
      onClick=${busy ? stop : onClick} ...${rest}>${content}</button>
  `;
}

/** @param {Event} event */
function stop(event) {
  event.preventDefault();
}
