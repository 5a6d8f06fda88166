import { html } from "htm/preact";

import { percent } from "../format.js";
import { t } from "../i18n.js";

/**
 * What of a set is left, as a bar and in words.
 * @param {{ set: { quantity: number | null, available: number | null, assigned: number, reserved: number, stock: "ok" | "low" | "exhausted" } }} props
 */
export function StockBar({ set }) {
  const { quantity, available, stock } = set;
  if (quantity === null || available === null) return html`<span class="stock-bar"><span class="soft">${t("common.stock.unlimited")}</span></span>`;
  if (quantity === 0) return html`<span class="stock-bar"><span class="soft">${t("common.stock.none")}</span></span>`;
  const share = available / quantity;
  // What is almost full or almost empty is not shown as if it were quite so.
  const shown = available === 0 ? 0 : available === quantity ? 1 : Math.min(Math.max(share, 0.01), 0.99);
  return html`
    <span class="stock-bar ${stock}">
      <span class="track" aria-hidden="true"><span class="left" style=${{ width: `${shown * 100}%` }}></span></span>
      <span class="share">${t("common.stock.left", { share: percent(shown) })}</span>
    </span>
  `;
}
