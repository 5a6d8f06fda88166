import { html } from "htm/preact";

import { date, number, percent } from "../../format.js";
import { t } from "../../i18n.js";

const LARGE = ["available", "assigned", "sent", "used"];
/** Totals that are hidden while they are zero. */
const SMALL = ["reserved", "expired", "released", "void", "withdrawn", "servedForOthers"];

/**
 * The all-time totals of a set.
 * @param {{ totals: any, set: any, forecast: any }} props `forecast` is undefined while it is loading
 */
export function Figures({ totals, set, forecast }) {
  const small = SMALL.filter((name) => totals[name] > 0);
  return html`
    <section aria-label=${t("set.totals")}>
      <dl class="figures">
        ${LARGE.map((name) => html`
          <div key=${name}>
            <dt>${t(`set.figure.${name}`)}</dt>
            <dd class="figure">${totals[name] === null ? t("common.stock.unlimited") : number(totals[name])}</dd>
            <dd class="soft">${remark(name, totals, set)}</dd>
          </div>
        `)}
        <${Forecast} forecast=${forecast} totals=${totals} />
      </dl>
      ${small.length > 0 && html`
        <dl class="small-figures">
          ${small.map((name) => html`<div key=${name}><dt>${t(`set.figure.${name}`)}</dt><dd>${number(totals[name])}</dd></div>`)}
        </dl>
      `}
    </section>
  `;
}

/**
 * @param {string} name
 * @param {any} totals
 * @param {any} set
 */
function remark(name, totals, set) {
  if (name === "available") return totals.quantity === null ? "" : t(set.type === "multiple" ? "set.ofCodes" : "set.ofUses", { n: totals.quantity });
  if (name === "assigned") return totals.quantity ? t("set.share.assigned", { share: percent(totals.assigned / totals.quantity) }) : "";
  return totals.assigned > 0 ? t("set.share.ofAssigned", { share: percent(totals[name] / totals.assigned) }) : "";
}

/** @param {{ forecast: { runsOutOn: string, earliest: string, latest: string | null } | null | undefined, totals: any }} props */
function Forecast({ forecast, totals }) {
  if (totals.available === null) return null;
  return html`
    <div>
      <dt>${t("set.figure.forecast")}</dt>
      <dd class="figure">${forecast ? html`<time datetime=${forecast.runsOutOn}>${date(forecast.runsOutOn)}</time>` : "–"}</dd>
      <dd class="soft">${forecast !== undefined && forecastRemark(forecast)}</dd>
    </div>
  `;
}

/** @param {{ earliest: string, latest: string | null } | null} forecast */
function forecastRemark(forecast) {
  if (!forecast) return t("set.forecast.none");
  const { earliest, latest } = forecast;
  if (latest === null) return t("set.forecast.after", { earliest: date(earliest) });
  if (latest === earliest) return t("set.forecast.on", { day: date(earliest) });
  return t("set.forecast.between", { earliest: date(earliest), latest: date(latest) });
}
