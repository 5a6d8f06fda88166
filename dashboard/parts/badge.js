import { html } from "htm/preact";

/**
 * A state in one word. The color repeats the word and carries no information of its own.
 * @param {{ kind?: "neutral" | "good" | "warn" | "bad" | "info", children: any }} props
 */
export function Badge({ kind = "neutral", children }) {
  return html`<span class="badge ${kind}">${children}</span>`;
}
