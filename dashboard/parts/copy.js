import { html } from "htm/preact";

import { t } from "../i18n.js";
import { Button } from "./button.js";
import { toast } from "./toast.js";

/**
 * A button that copies a text to the clipboard.
 * @param {{ text: string, label?: string, kind?: "primary" | "plain" | "quiet", onCopied?: () => void, children?: any }} props with
 *   children it has a caption, else only an icon
 */
export function Copy({ text, label, kind, onCopied, children }) {
  const copy = async () => {
    const done = await copyText(text);
    if (done) onCopied?.();
    toast(t(done ? "common.copied" : "common.notCopied"), done ? "good" : "bad");
  };
  return html`<${Button} kind=${kind ?? (children ? "plain" : "quiet")} icon="copy" label=${label ?? t("common.copy", { text })} onClick=${copy}>${children}<//>`;
}

/**
 * A code in a monospaced font, with a button to copy it.
 * @param {{ code: string, href?: string }} props with `href` the code is a link
 */
export function Code({ code, href }) {
  const text = html`<code class="code">${code}</code>`;
  return html`<span class="code-line">${href ? html`<a href=${href}>${text}</a>` : text}<${Copy} text=${code} /></span>`;
}

/** @param {string} text */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByCommand(text);
  }
}

/** Fallback for pages without TLS, where the clipboard API is missing. @param {string} text */
function copyByCommand(text) {
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
