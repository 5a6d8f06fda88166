import { html } from "htm/preact";

/** The introduction of a tab and its main action. @param {{ text: any, action?: any }} props */
export function Lead({ text, action }) {
  return html`<div class="lead"><p class="soft">${text}</p>${action}</div>`;
}
