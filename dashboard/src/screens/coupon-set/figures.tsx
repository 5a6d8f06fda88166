import { date, number, percent } from "../../format";
import { t } from "../../i18n";
import type { CouponSet, Schema } from "../../schemas";
import css from "../coupon-set.module.css";

/** Totals that the set itself has too, which are shown while the statistics are loading. */
type Totals = Pick<CouponSet, "quantity" | "available" | "assigned" | "sent" | "used"> & Partial<Schema<"StatisticsTotals">>;

const LARGE = ["available", "assigned", "sent", "used"] as const;
/** Totals that are hidden while they are zero. */
const SMALL = ["reserved", "expired", "released", "void", "withdrawn", "servedForOthers"] as const;

/**
 * The all-time totals of a set.
 * @param props `forecast` is undefined while it is loading
 */
export function Figures({ totals, set, forecast }: { totals: Totals; set: CouponSet; forecast: Schema<"Forecast"> | null | undefined }) {
  const small = SMALL.map((name) => ({ name, value: totals[name] ?? 0 })).filter(({ value }) => value > 0);
  return (
    <section aria-label={t("set.totals")}>
      <dl class={css.figures} data-part="figures">
        {LARGE.map((name) => (
          <div key={name}>
            <dt>{t(`set.figure.${name}`)}</dt>
            <dd class={css.figure} data-part="figure">
              {figure(totals[name])}
            </dd>
            <dd class="soft">{remark(name, totals, set)}</dd>
          </div>
        ))}
        <Forecast forecast={forecast} totals={totals} />
      </dl>
      {small.length > 0 && (
        <dl class={css.smallFigures}>
          {small.map(({ name, value }) => (
            <div key={name}>
              <dt>{t(`set.figure.${name}`)}</dt>
              <dd>{number(value)}</dd>
            </div>
          ))}
        </dl>
      )}
    </section>
  );
}

function figure(value: number | null) {
  return value === null ? t("common.stock.unlimited") : number(value);
}

function remark(name: (typeof LARGE)[number], totals: Totals, set: CouponSet) {
  if (name === "available")
    return totals.quantity === null ? "" : t(set.type === "multiple" ? "set.ofCodes" : "set.ofUses", { n: totals.quantity });
  if (name === "assigned") return totals.quantity ? t("set.share.assigned", { share: percent(totals.assigned / totals.quantity) }) : "";
  return totals.assigned > 0 ? t("set.share.ofAssigned", { share: percent(totals[name] / totals.assigned) }) : "";
}

function Forecast({
  forecast,
  totals,
}: {
  forecast: { runsOutOn: string; earliest: string; latest: string | null } | null | undefined;
  totals: Totals;
}) {
  if (totals.available === null) return null;
  return (
    <div>
      <dt>{t("set.figure.forecast")}</dt>
      <dd class={css.figure} data-part="figure">
        {forecast ? <time datetime={forecast.runsOutOn}>{date(forecast.runsOutOn)}</time> : "–"}
      </dd>
      <dd class="soft">{forecast !== undefined && forecastRemark(forecast)}</dd>
    </div>
  );
}

function forecastRemark(forecast: { earliest: string; latest: string | null } | null) {
  if (!forecast) return t("set.forecast.none");
  const { earliest, latest } = forecast;
  if (latest === null) return t("set.forecast.after", { earliest: date(earliest) });
  if (latest === earliest) return t("set.forecast.on", { day: date(earliest) });
  return t("set.forecast.between", { earliest: date(earliest), latest: date(latest) });
}
