import { html } from "htm/preact";

import { t } from "../i18n.js";
import { Button } from "./button.js";
import { toast } from "./toast.js";

/**
 * A button that copies a text.
 * @param {{ text: string, label?: string, kind?: "primary" | "plain" | "quiet", onCopied?: () => void, children?: any }} props with
 *   children a button with words, else an icon
 */
export function Copy({ text, label, kind, onCopied, children }) {
  const copy = async () => {
    const done = await copied(text);
    if (done) onCopied?.();
    toast(t(done ? "common.copied" : "common.notCopied"), done ? "good" : "bad");
  };
  return html`<${Button} kind=${kind ?? (children ? "plain" : "quiet")} icon="copy" label=${label ?? t("common.copy", { text })} onClick=${copy}>${children}<//>`;
}

/**
 * A code as it is written: in letters that cannot be mistaken for others, with a button to copy it.
 * @param {{ code: string, href?: string }} props `href` makes it a link, best to its history
 */
export function Code({ code, href }) {
  const text = html`<code class="code">${code}</code>`;
  return html`<span class="code-line">${href ? html`<a href=${href}>${text}</a>` : text}<${Copy} text=${code} /></span>`;
}

/** @param {string} text */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedByHand(text);
  }
}

/** Without TLS a browser has no clipboard for scripts, but still obeys this command. @param {string} text */
function copiedByHand(text) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "unseen";
  (focused?.closest("dialog") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}
