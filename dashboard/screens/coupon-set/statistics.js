import { html } from "htm/preact";
import { useRef } from "preact/hooks";

import { path } from "../../address.js";
import { addressOf } from "../../api.js";
import { useGet, usePolling } from "../../hooks.js";
import { t } from "../../i18n.js";
import { place, replace } from "../../location.js";
import { Button } from "../../parts/button.js";
import { Days } from "../../parts/days.js";
import { Choice, Select } from "../../parts/field.js";
import { ProblemBox } from "../../parts/problem.js";
import { Loading } from "../../parts/progress.js";
import { Charts } from "./charts.js";
import { Figures } from "./figures.js";
import { PERIODS, periodOf, zonesFor } from "./period.js";
import { SeriesTable } from "./series-table.js";
import { Shares } from "./shares.js";

const REFRESH_MS = 5_000;
/** Long periods are expensive for the service, so they are refreshed less often. */
const MANY_POINTS = 200;

/**
 * The statistics of a set: totals, charts over time and a breakdown.
 * @param {{ set: any, query: Record<string, string> }} props
 */
export function Statistics({ set, query }) {
  const period = periodOf(query, set, new Date());
  const address = path`/v1/coupon-sets/${set.id}/statistics`;
  const { value, loading, problem, refresh } = useGet(period.fault ? null : address, period.ask);
  // The previous period stays visible until the next one is loaded, so that the layout does not jump.
  const last = useRef(value);
  if (value) last.current = value;
  const statistics = last.current;
  usePolling(refresh, statistics?.series.length > MANY_POINTS ? 20_000 : REFRESH_MS);
  const view = query.view === "table" ? "table" : "chart";
  const { interval: _interval, ...bounds } = period.ask;
  return html`
    <${Figures} totals=${statistics?.totals ?? set} set=${set} forecast=${statistics?.forecast} />
    <section class="block" aria-labelledby="over-time">
      <div class="block-head">
        <h2 id="over-time">${t("set.overTime")}</h2>
        <${Choice} label=${t("set.view")} hideLabel look="segments" value=${view} onChange=${(/** @type {string} */ wanted) => change({ view: wanted })}
          options=${["chart", "table"].map((value) => ({ value, title: t(`set.view.${value}`) }))} />
      </div>
      <div class="filters">
        <${Select} label=${t("set.period")} hideLabel value=${period.name} onChange=${(/** @type {string} */ wanted) => change({ period: wanted, interval: "" })}
          options=${PERIODS.map((value) => ({ value, title: t(`set.period.${value}`) }))} />
        <${Choice} label=${t("set.interval")} hideLabel look="segments" value=${period.interval}
          options=${period.intervals.map((value) => ({ value, title: t(`set.interval.${value}`) }))}
          onChange=${(/** @type {string} */ wanted) => change({ interval: wanted })} />
        <${Select} label=${t("set.timezone")} hideLabel value=${period.timezone} onChange=${(/** @type {string} */ wanted) => change({ timezone: wanted })}
          options=${zonesFor(set).map((value) => ({ value, title: value.replaceAll("_", " ") }))} />
        ${period.name === "own" && html`
          <${Days} from=${period.from} to=${period.to} fault=${period.fault === "ahead" && t("set.ahead")} onChange=${change} />
        `}
        ${!period.fault && html`
          <span class="filters-end">
            <${Button} icon="download" download="" href=${addressOf(address, { ...bounds, format: "csv" })}>${t("set.exportPeriod")}<//>
          </span>
        `}
      </div>
      <${ProblemBox} problem=${problem} onRetry=${refresh} />
      ${!statistics && loading && html`<div class="charts-wait"><${Loading} label=${t("common.loading")} /></div>`}
      ${statistics && (view === "chart"
        ? html`<${Charts} statistics=${statistics} set=${set} />`
        : html`<${SeriesTable} statistics=${statistics} />`)}
    </section>
    ${statistics && html`<${Shares} statistics=${statistics} set=${set} by=${query.by} onBy=${(/** @type {string} */ by) => change({ by })} />`}
  `;
}

/** @param {Record<string, string | undefined>} changed */
function change(changed) {
  const { path: here, query } = place.peek();
  replace(here, { ...query, ...changed });
}
