import { useRef } from "preact/hooks";

import { path } from "../../address";
import { addressOf } from "../../api";
import { useGet, usePolling } from "../../hooks";
import { t } from "../../i18n";
import { place, replace } from "../../location";
import { Button } from "../../parts/button";
import { Days } from "../../parts/days";
import { Choice, Select } from "../../parts/field";
import { ProblemBox } from "../../parts/problem";
import { Loading } from "../../parts/progress";
import type { CouponSet, Schema } from "../../schemas";
import { Charts } from "./charts";
import { Figures } from "./figures";
import { PERIODS, periodOf, zonesFor } from "./period";
import { SeriesTable } from "./series-table";
import { Shares } from "./shares";
import layout from "../../parts/layout.module.css";
import css from "../coupon-set.module.css";

const REFRESH_MS = 5_000;
/** Long periods are expensive for the service, so they are refreshed less often. */
const MANY_POINTS = 200;

/** The statistics of a set: totals, charts over time and a breakdown. */
export function Statistics({ set, query }: { set: CouponSet; query: Record<string, string> }) {
  const period = periodOf(query, set, new Date());
  const address = path`/v1/coupon-sets/${set.id}/statistics`;
  const { value, loading, problem, refresh } = useGet<Schema<"CouponSetStatistics">>(period.fault ? null : address, period.ask);
  // The previous period stays visible until the next one is loaded, so that the layout does not jump.
  const last = useRef(value);
  if (value) last.current = value;
  const statistics = last.current;
  usePolling(refresh, statistics && statistics.series.length > MANY_POINTS ? 20_000 : REFRESH_MS);
  const view = query.view === "table" ? "table" : "chart";
  const { interval: _interval, ...bounds } = period.ask;
  return (
    <>
      <Figures totals={statistics?.totals ?? set} set={set} forecast={statistics?.forecast} />
      <section class={css.block} aria-labelledby="over-time">
        <div class={css.blockHead}>
          <h2 id="over-time">{t("set.overTime")}</h2>
          <Choice
            label={t("set.view")}
            hideLabel
            look="segments"
            value={view}
            onChange={(wanted: string) => change({ view: wanted })}
            options={["chart", "table"].map((value) => ({ value, title: t(`set.view.${value}`) }))}
          />
        </div>
        <div class={layout.filters}>
          <Select
            label={t("set.period")}
            hideLabel
            value={period.name}
            onChange={(wanted: string) => change({ period: wanted, interval: "" })}
            options={PERIODS.map((value) => ({ value, title: t(`set.period.${value}`) }))}
          />
          <Choice
            label={t("set.interval")}
            hideLabel
            look="segments"
            value={period.interval}
            options={period.intervals.map((value) => ({ value, title: t(`set.interval.${value}`) }))}
            onChange={(wanted: string) => change({ interval: wanted })}
          />
          <Select
            label={t("set.timezone")}
            hideLabel
            value={period.timezone}
            onChange={(wanted: string) => change({ timezone: wanted })}
            options={zonesFor(set).map((value) => ({ value, title: value.replaceAll("_", " ") }))}
          />
          {period.name === "own" && (
            <Days from={period.from} to={period.to} fault={period.fault === "ahead" ? t("set.ahead") : null} onChange={change} />
          )}
          {!period.fault && (
            <span class={layout.filtersEnd}>
              <Button icon="download" download="" href={addressOf(address, { ...bounds, format: "csv" })}>
                {t("set.exportPeriod")}
              </Button>
            </span>
          )}
        </div>
        <ProblemBox problem={problem} onRetry={refresh} />
        {!statistics && loading && (
          <div class={css.chartsWait}>
            <Loading label={t("common.loading")} />
          </div>
        )}
        {statistics && (view === "chart" ? <Charts statistics={statistics} set={set} /> : <SeriesTable statistics={statistics} />)}
      </section>
      {statistics && <Shares statistics={statistics} set={set} by={query.by} onBy={(by: string) => change({ by })} />}
    </>
  );
}

function change(changed: Record<string, string | undefined>) {
  const { path: here, query } = place.peek();
  replace(here, { ...query, ...changed });
}
