import { html } from "htm/preact";

import { number } from "../../format.js";
import { t } from "../../i18n.js";
import { Table } from "../../parts/table.js";
import { momentOf } from "./charts.js";

const MOVED = ["assigned", "sent", "used", "released", "void"];

/** The data of the charts as a table, newest first. @param {{ statistics: any }} props */
export function SeriesTable({ statistics }) {
  const { series, period, totals } = statistics;
  /** @type {(id: string) => import("../../parts/table.js").Column} */
  const count = (id) => ({
    id,
    title: t(`set.figure.${id}`),
    align: "end",
    cell: (point) => (point[id] === null ? "–" : number(point[id])),
  });
  const columns = [
    { id: "from", title: t(`set.interval.${period.interval}`), main: true, cell: (/** @type {any} */ point) => momentOf(point, period) },
    ...MOVED.map(count),
    count("reserved"),
    ...(totals.available === null ? [] : [count("available")]),
  ];
  return html`<${Table} label=${t("set.view.table")} columns=${columns} rows=${[...series].reverse()} keyOf=${(/** @type {any} */ point) => point.from} />`;
}
