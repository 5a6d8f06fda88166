import { number } from "../../format";
import { t } from "../../i18n";
import { Table, type Column } from "../../parts/table";
import type { Schema } from "../../schemas";
import { momentOf } from "./charts";
import tableCss from "../../parts/table.module.css";

type Point = Schema<"StatisticsPoint">;
type Figure = "assigned" | "sent" | "used" | "released" | "void" | "reserved" | "available";

const MOVED = ["assigned", "sent", "used", "released", "void"] as const;

/** The data of the charts as a table, newest first. */
export function SeriesTable({ statistics }: { statistics: Schema<"CouponSetStatistics"> }) {
  const { series, period, totals } = statistics;
  const count = (id: Figure): Column<Point> => ({
    id,
    title: t(`set.figure.${id}`),
    align: "end",
    cell: (point) => (point[id] === null ? "–" : number(point[id])),
  });
  const columns: Column<Point>[] = [
    { id: "from", title: t(`set.interval.${period.interval}`), main: true, cell: (point) => momentOf(point, period) },
    ...MOVED.map(count),
    count("reserved"),
    ...(totals.available === null ? [] : [count("available")]),
  ];
  return (
    <Table
      class={tableCss.historyTable}
      label={t("set.view.table")}
      columns={columns}
      rows={[...series].reverse()}
      keyOf={(point) => point.from}
    />
  );
}
