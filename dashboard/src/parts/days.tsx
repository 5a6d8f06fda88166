/** A filter by a first and a last day, in the time zone of the browser. */

import { t } from "../i18n";
import { TextField } from "./field";
import css from "./days.module.css";

/**
 * @param props `fault` is the error of the first day
 */
export function Days({
  from,
  to,
  onChange,
  fault,
}: {
  from: string;
  to: string;
  onChange: (changed: { from?: string; to?: string }) => void;
  fault?: string | null;
}) {
  const wrong = from && to && to < from ? t("assignments.days.order") : null;
  return (
    <div class={css.days}>
      <TextField
        label={t("assignments.days.from")}
        type="date"
        value={from}
        max={to || undefined}
        fault={fault}
        onChange={(day: string) => onChange({ from: day })}
      />
      <TextField
        label={t("assignments.days.to")}
        type="date"
        value={to}
        min={from || undefined}
        fault={wrong}
        onChange={(day: string) => onChange({ to: day })}
      />
    </div>
  );
}

/** The instants at which a range of days starts and ends. Invalid days are left out. */
export function instantsOf({ from, to }: Record<string, string>) {
  return { from: midnight(from, 0), to: midnight(to, 1) };
}

/** @param later in days */
function midnight(day: string | undefined, later: number) {
  const at = new Date(`${day}T00:00:00`);
  if (Number.isNaN(at.getTime())) return undefined;
  at.setDate(at.getDate() + later);
  return at.toISOString();
}
