import { html } from "htm/preact";
import { useEffect, useRef } from "preact/hooks";

import { t } from "../i18n.js";
import { hasMoved } from "../location.js";
import { Icon } from "./icon.js";

/**
 * The layout of every screen: its heading, which takes the focus when the screen is opened, and the title of the window.
 * @param {{
 *   title: string,
 *   note?: any,
 *   back?: { href: string, title: string },
 *   actions?: any,
 *   fill?: boolean,
 *   children: any,
 * }} props `note` is shown under the heading, `actions` beside it; a page that fills the window has one `fill` table that scrolls
 */
export function Page({ title, note, back, actions, fill = false, children }) {
  const heading = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    if (hasMoved()) heading.current?.focus({ preventScroll: true });
  }, []);
  useEffect(() => {
    document.title = `${title} · ${t("common.product")}`;
  }, [title]);
  return html`
    <div class=${fill ? "page fill" : "page"}>
      <header class="page-head">
        <div class="page-title">
          ${back && html`<a class="back" href=${back.href}><${Icon} name="back" /><span>${back.title}</span></a>`}
          <h1 ref=${heading} tabindex="-1">${title}</h1>
          ${note && html`<div class="note">${note}</div>`}
        </div>
        ${actions && html`<div class="page-actions">${actions}</div>`}
      </header>
      ${children}
    </div>
  `;
}
