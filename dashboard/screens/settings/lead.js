import { html } from "htm/preact";

/** What a tab is about, and what can be done first. @param {{ text: any, action?: any }} props */
export function Lead({ text, action }) {
  return html`<div class="lead"><p class="soft">${text}</p>${action}</div>`;
}
