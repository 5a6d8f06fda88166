import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { useEffect, useRef } from "preact/hooks";

import { t } from "../i18n.js";
import { Button } from "./button.js";
import { Icon } from "./icon.js";

const LASTS_MS = 6_000;

/** @typedef {{ id: number, text: string, kind: "good" | "bad" }} Message */

const messages = signal(/** @type {Message[]} */ ([]));
let count = 0;

/**
 * Shows a toast: a message that disappears by itself. Not for messages that need an answer or must not be missed.
 * @param {string} text
 * @param {"good" | "bad"} [kind]
 */
export function toast(text, kind = "good") {
  const id = (count += 1);
  messages.value = [...messages.value, { id, text, kind }];
  setTimeout(() => dismiss(id), LASTS_MS);
}

/** @param {number} id */
function dismiss(id) {
  messages.value = messages.value.filter((message) => message.id !== id);
}

/** The live region of the toasts. It is rendered from the start, else screen readers would miss the first toast. */
export function Toasts() {
  const region = useRef(/** @type {HTMLElement | null} */ (null));
  // A popover is above the dialogs that were opened before it, so each message opens it again.
  useEffect(() => messages.subscribe(() => {
    region.current?.hidePopover();
    region.current?.showPopover();
  }), []);
  return html`
    <div class="toasts" role="status" aria-live="polite" popover="manual" ref=${region}>
      ${messages.value.map(({ id, text, kind }) => html`
        <div class="toast ${kind}" key=${id}>
          <${Icon} name=${kind === "good" ? "check" : "warning"} />
          <span>${text}</span>
          <${Button} kind="quiet" icon="close" label=${t("common.close")} onClick=${() => dismiss(id)} />
        </div>
      `)}
    </div>
  `;
}
