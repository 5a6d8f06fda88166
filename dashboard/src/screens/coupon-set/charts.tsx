import { useMemo, useState } from "preact/hooks";

import { date, dateTime, number } from "../../format";
import { t } from "../../i18n";
import { Chart, type Line } from "../../parts/chart";
import type { CouponSet, Schema } from "../../schemas";
import css from "../coupon-set.module.css";

type Point = Schema<"StatisticsPoint">;
/** A line whose values are numbers of each point of a series. */
type Move = Line & { id: "assigned" | "sent" | "used" };

const DAY = 86_400;
/** Distance of a day that is too far away to forecast, in seconds. */
const FAR = 3_650 * DAY;

const MOVES: Move[] = [
  { id: "assigned", paint: "--accent", fill: "--accent-soft" },
  { id: "sent", paint: "--info", dash: [7, 3] },
  { id: "used", paint: "--warn-fill", dash: [2, 3] },
];
const STOCK: Line[] = [
  // The band between these two comes first, so that it is drawn below the lines.
  { id: "latest", paint: "--accent", hidden: true },
  { id: "earliest", paint: "--accent", hidden: true },
  { id: "available", paint: "--accent" },
  { id: "forecast", paint: "--accent", dash: [6, 5] },
];

/** The events of each hour, day or week, and below them the stock with its forecast. */
export function Charts({ statistics, set }: { statistics: Schema<"CouponSetStatistics">; set: CouponSet }) {
  const { totals } = statistics;
  return (
    <div class={css.charts} data-part="charts">
      <Moves statistics={statistics} />
      {totals.available !== null && totals.quantity !== null && totals.quantity > 0 && (
        <Stock statistics={statistics} available={totals.available} set={set} />
      )}
    </div>
  );
}

function Moves({ statistics }: { statistics: Schema<"CouponSetStatistics"> }) {
  const { series, period } = statistics;
  const [at, setAt] = useState<number | null>(null);
  const data = useMemo(() => [seconds(series, "from"), ...MOVES.map(({ id }) => series.map((point) => point[id]))], [series]);
  const point = at === null ? undefined : series[at];
  const values = MOVES.map(({ id }) => ({ id, value: number((point ?? period)[id]) }));
  return (
    <figure class={css.chart}>
      <Legend
        title={t("set.chart.moves")}
        when={point ? momentOf(point, period) : t("set.chart.wholePeriod")}
        lines={MOVES}
        values={values}
      />
      <Chart label={t("set.chart.moves.label")} lines={MOVES} data={data} timezone={period.timezone} onPoint={setAt} />
    </figure>
  );
}

function Stock({ statistics, available, set }: { statistics: Schema<"CouponSetStatistics">; available: number; set: CouponSet }) {
  const { series, period, forecast } = statistics;
  const [pointed, setAt] = useState<number | null>(null);
  const { data, range } = useMemo(() => stockData(series, forecast, available, set.createdAt), [series, forecast, available]);
  // After a change of the period the index of the pointer can exceed the number of points.
  const at = pointed !== null && pointed < data[0].length ? pointed : null;
  const values = stockValues(data, at, available, forecast);
  const lines = STOCK.filter(({ id }) => id === "available" || (forecast && id === "forecast"));
  const when = at === null ? t("set.chart.now") : dateTime(new Date((data[0][at] ?? 0) * 1000), period.timezone);
  return (
    <figure class={css.chart}>
      <Legend title={t("set.chart.stock")} when={when} lines={lines} values={values} band={Boolean(forecast)} />
      <Chart
        label={t("set.chart.stock.label", { name: set.name })}
        lines={STOCK}
        bands={BANDS}
        data={data}
        range={range}
        timezone={period.timezone}
        onPoint={setAt}
      />
    </figure>
  );
}

/** The band between the latest and the earliest day. */
const BANDS = [{ series: [1, 2] as [number, number], paint: "--accent-soft" }];

function Legend({
  title,
  when,
  lines,
  values,
  band = false,
}: {
  title: string;
  when: string;
  lines: Line[];
  values: { id: string; value: string }[];
  band?: boolean;
}) {
  return (
    <figcaption class={css.legend} data-part="legend">
      <h3>{title}</h3>
      <span class={css.when}>{when}</span>
      <ul>
        {lines.map((line) => (
          <li key={line.id}>
            <Sample line={line} />
            <span>{t(`set.series.${line.id}`)}</span>
            <strong class="number">{values.find(({ id }) => id === line.id)?.value}</strong>
          </li>
        ))}
        {band && (
          <li>
            <span class={css.bandSample} aria-hidden="true" />
            <span>{t("set.chart.band")}</span>
          </li>
        )}
      </ul>
    </figcaption>
  );
}

function Sample({ line }: { line: Line }) {
  return (
    <svg class={css.sample} viewBox="0 0 24 10" aria-hidden="true" focusable="false">
      <path d="M0 5h24" style={{ stroke: `var(${line.paint})`, strokeDasharray: line.dash?.join(" ") }} />
    </svg>
  );
}

/**
 * The data of the stock chart. A stock value is placed at the end of its interval, and that of the current interval at the present. The
 * forecast is a straight line to zero. The chart shows at most as much future as past, but at least a week.
 * @param createdAt time of creation; earlier points have no value
 */
function stockData(
  series: Point[],
  forecast: { runsOutOn: string; earliest: string; latest: string | null } | null,
  left: number,
  createdAt: string,
) {
  const now = Math.floor(Date.now() / 1000);
  const past = series.map(({ to }) => Math.min(Date.parse(to) / 1000, now));
  const last = past[past.length - 1];
  const stock = series.map(({ available, to }) => (Date.parse(to) > Date.parse(createdAt) ? available : null));
  // A past period has no forecast.
  if (!forecast || last < now - DAY) {
    const none = past.map(() => null);
    return { data: [past, none, none, stock, none], range: [past[0], last] as [number, number] };
  }
  const [likely, latest, earliest] = [forecast.runsOutOn, forecast.latest, forecast.earliest].map((day) =>
    Math.max(day ? noon(day) : last + FAR, last + DAY / 2),
  );
  const most = last + Math.max(last - past[0], 7 * DAY);
  const horizon = Math.min(Math.max(likely, latest), most);
  // Many points, so that the pointer can read a value anywhere on the line.
  const steps = Array.from({ length: 60 }, (_, i) => last + ((horizon - last) * (i + 1)) / 60);
  const future = [...new Set([...steps, ...[earliest, likely, latest].filter((end) => end <= horizon)])].sort((a, b) => a - b);
  const before = past.slice(1).map(() => null);
  const line: (end: number) => (number | null)[] = (end) => [...before, left, ...future.map((x) => leftAt(x, last, end, left))];
  // The likely day is a point of its own, where the line ends.
  const forecasted = [...before, left, ...future.map((x) => (x > likely ? null : leftAt(x, last, likely, left)))];
  const data = [[...past, ...future], line(latest), line(earliest), [...stock, ...future.map(() => null)], forecasted];
  return { data, range: [past[0], horizon] as [number, number] };
}

function leftAt(x: number, start: number, end: number, left: number) {
  return Math.max(left * (1 - (x - start) / (end - start)), 0);
}

function stockValues(data: (number | null)[][], at: number | null, available: number, forecast: Schema<"Forecast"> | null) {
  if (at === null) {
    return [
      { id: "available", value: number(available) },
      { id: "forecast", value: forecast ? date(forecast.runsOutOn) : "" },
    ];
  }
  return ["available", "forecast"].map((id, i) => {
    const value = data[i + 3][at];
    return { id, value: value === null || value === undefined ? "–" : number(Math.round(value)) };
  });
}

function seconds(series: Point[], end: "from" | "to"): number[] {
  return series.map((point) => Date.parse(point[end]) / 1000);
}

function noon(day: string) {
  return Date.parse(day) / 1000 + DAY / 2;
}

/** The label of a point: an hour with its date, a day, or the first day of a week. */
export function momentOf(point: Point, { interval, timezone }: { interval: string; timezone: string }) {
  if (interval === "hour") return dateTime(point.from, timezone);
  const day = date(point.from, timezone);
  return interval === "week" ? t("set.weekOf", { day }) : day;
}
