import { html } from "htm/preact";

import { Icon } from "./icon.js";

/**
 * The placeholder of an empty list: no data yet, or no matches, with an action that helps.
 * @param {{ icon: import("./icon.js").IconName, title: string, text?: string, action?: any }} props
 */
export function Empty({ icon, title, text, action }) {
  return html`
    <div class="empty">
      <${Icon} name=${icon} />
      <p class="empty-title">${title}</p>
      ${text && html`<p>${text}</p>`}
      ${action && html`<div class="empty-action">${action}</div>`}
    </div>
  `;
}
