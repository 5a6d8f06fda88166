import { html } from "htm/preact";

/**
 * A word about a state. Its color only repeats what it says.
 * @param {{ kind?: "neutral" | "good" | "warn" | "bad" | "info", children: any }} props
 */
export function Badge({ kind = "neutral", children }) {
  return html`<span class="badge ${kind}">${children}</span>`;
}
