/** A filter by a first and a last day, in the time zone of the browser. */
import { html } from "htm/preact";

import { t } from "../i18n.js";
import { TextField } from "./field.js";

/**
 * @param {{ from: string, to: string, onChange: (changed: { from?: string, to?: string }) => void, fault?: string | null }} props `fault` is
 *   the error of the first day
 */
export function Days({ from, to, onChange, fault }) {
  const wrong = from && to && to < from ? t("assignments.days.order") : null;
  return html`
    <div class="days">
      <${TextField} label=${t("assignments.days.from")} type="date" value=${from} max=${to || undefined} fault=${fault}
        onChange=${(/** @type {string} */ day) => onChange({ from: day })} />
      <${TextField} label=${t("assignments.days.to")} type="date" value=${to} min=${from || undefined} fault=${wrong}
        onChange=${(/** @type {string} */ day) => onChange({ to: day })} />
    </div>
  `;
}

/**
 * The instants at which a range of days starts and ends. Invalid days are left out.
 * @param {Record<string, string>} query
 */
export function instantsOf({ from, to }) {
  return { from: midnight(from, 0), to: midnight(to, 1) };
}

/**
 * @param {string | undefined} day
 * @param {number} later in days
 */
function midnight(day, later) {
  const at = new Date(`${day}T00:00:00`);
  if (Number.isNaN(at.getTime())) return undefined;
  at.setDate(at.getDate() + later);
  return at.toISOString();
}
