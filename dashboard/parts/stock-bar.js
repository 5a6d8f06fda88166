import { html } from "htm/preact";

import { percent } from "../format.js";
import { t } from "../i18n.js";
import { Badge } from "./badge.js";

/**
 * The remaining stock of a set, as a bar and in words.
 * @param {{ set: {
 *   type: "single" | "multiple",
 *   quantity: number | null,
 *   available: number | null,
 *   state: "active" | "expired" | "exhausted",
 *   stock: "ok" | "low" | "exhausted",
 * } }} props
 */
export function StockBar({ set }) {
  const { type, quantity, available, state, stock } = set;
  if (state === "expired") return html`<${Badge}>${t("common.state.expired")}<//>`;
  if (quantity === 0) return html`<${Badge}>${t("common.stock.none")}<//>`;
  if (stock === "exhausted") return html`<${Badge} kind="bad">${t(`common.stock.exhausted.${type}`)}<//>`;
  if (quantity === null || available === null) return html`<span class="soft">${t("common.stock.unlimited")}</span>`;
  const share = available / quantity;
  // A stock that is almost full or almost empty is not rounded to 100 % or 0 %.
  const shown = available === quantity ? 1 : Math.min(Math.max(share, 0.01), 0.99);
  return html`
    <span class="stock-bar ${stock}">
      <span class="track" aria-hidden="true"><span class="left" style=${{ width: `${shown * 100}%` }}></span></span>
      <span class="share">${stock === "low" && html`<strong>${t("common.stock.low")}</strong> · `}${t("common.stock.left", { share: percent(shown) })}</span>
    </span>
  `;
}
