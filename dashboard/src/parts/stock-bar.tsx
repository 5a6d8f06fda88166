import { classes } from "../classes";
import { percent } from "../format";
import { t } from "../i18n";
import { Badge } from "./badge";
import css from "./stock-bar.module.css";

/** The remaining stock of a set, as a bar and in words. */
export function StockBar({
  set,
}: {
  set: {
    type: "single" | "multiple";
    quantity: number | null;
    available: number | null;
    state: "active" | "expired" | "exhausted";
    stock: "ok" | "low" | "exhausted";
  };
}) {
  const { type, quantity, available, state, stock } = set;
  if (state === "expired") return <Badge>{t("common.state.expired")}</Badge>;
  if (quantity === 0) return <Badge>{t("common.stock.none")}</Badge>;
  if (stock === "exhausted") return <Badge kind="bad">{t(`common.stock.exhausted.${type}`)}</Badge>;
  if (quantity === null || available === null) return <span class="soft">{t("common.stock.unlimited")}</span>;
  const share = available / quantity;
  // A stock that is almost full or almost empty is not rounded to 100 % or 0 %.
  const shown = available === quantity ? 1 : Math.min(Math.max(share, 0.01), 0.99);
  return (
    <span class={classes(css.stockBar, stock === "low" && css.low)}>
      <span class={css.track} aria-hidden="true">
        <span class={css.left} style={{ width: `${shown * 100}%` }} />
      </span>
      <span class={css.share}>
        {stock === "low" && (
          <>
            <strong>{t("common.stock.low")}</strong> ·{" "}
          </>
        )}
        {t("common.stock.left", { share: percent(shown) })}
      </span>
    </span>
  );
}
