import { html } from "htm/preact";

import { path } from "../../address.js";
import { t } from "../../i18n.js";
import { Badge } from "../../parts/badge.js";
import { Icon } from "../../parts/icon.js";

/**
 * The address of the history of a found code.
 * @param {any} found
 * @param {string} searched
 */
export function historyOf(found, searched) {
  return path`/codes/${found.coupon?.code ?? searched.trim()}`;
}

/**
 * The sets that contain the searched text as a code.
 * @param {{ found: any[], code: string }} props
 */
export function FoundCodes({ found, code }) {
  if (found.length === 0) return null;
  return html`
    <section class="found" aria-label=${t("sets.codesFound")}>
      <ul>
        ${found.map((one) => html`
          <li key=${one.couponSet.id}>
            <${Icon} name="code" />
            <a href="#${historyOf(one, code)}"><code>${one.coupon?.code ?? code.trim()}</code></a>
            <span>${t("sets.codeIn", { set: one.couponSet.name })}</span>
            <${Status} found=${one} />
          </li>
        `)}
      </ul>
      <p class="hint">${t("sets.codesFound.hint")}</p>
    </section>
  `;
}

/** @param {{ found: any }} props */
function Status({ found }) {
  const { couponSet, coupon } = found;
  if (couponSet.deletedAt) return html`<${Badge}>${t("sets.deletedSet")}<//>`;
  if (!coupon) return html`<${Badge}>${t("common.type.single")}<//>`;
  return html`<${Badge} kind=${coupon.status === "available" ? "good" : "neutral"}>${t(`common.status.${coupon.status}`)}<//>`;
}
