import { path } from "../../address";
import { date, enumeration, number, shortDate } from "../../format";
import { t } from "../../i18n";
import { place } from "../../location";
import { Badge } from "../../parts/badge";
import { Button } from "../../parts/button";
import { Code } from "../../parts/copy";
import { Menu, type Item } from "../../parts/menu";
import { StockBar } from "../../parts/stock-bar";
import type { Column } from "../../parts/table";
import type { CouponSet } from "../../schemas";
import { can } from "../../session";
import tableCss from "../../parts/table.module.css";

export function columnsOf(open: (opened: { set: CouponSet; dialog: "edit" | "delete" }) => void): Column<CouponSet>[] {
  const count = (id: "assigned" | "sent" | "used"): Column<CouponSet> => ({
    id,
    title: t(`sets.column.${id}`),
    align: "end",
    sort: id,
    cell: (set) => number(set[id]),
  });
  return [
    { id: "name", title: t("sets.column.name"), main: true, sort: "name", cell: (set) => <Name set={set} /> },
    { id: "codes", title: t("sets.column.codes"), cell: (set) => <Codes set={set} /> },
    { id: "stock", title: t("sets.column.stock"), cell: (set) => <StockBar set={set} /> },
    count("assigned"),
    count("sent"),
    count("used"),
    {
      id: "available",
      title: t("sets.column.available"),
      align: "end",
      sort: "available",
      cell: (set) => (set.available === null ? "∞" : number(set.available)),
    },
    { id: "forecast", title: t("sets.column.forecast"), cell: (set) => <Forecast forecast={set.forecast ?? null} /> },
    { id: "workflows", title: t("sets.column.workflows"), cell: (set) => <Workflows workflows={set.usedInWorkflows} /> },
    { id: "menu", title: t("sets.column.actions"), bare: true, cell: (set) => <Actions set={set} open={open} /> },
  ];
}

function Name({ set }: { set: CouponSet }) {
  const isNew = place.value.query.new === set.id;
  return (
    <span class={tableCss.lines}>
      <a class={tableCss.rowLink} href={path`#/coupon-sets/${set.id}`} title={set.name}>
        {set.name}
      </a>
      <span class="soft">
        {t(`common.type.${set.type}`)}
        {isNew && (
          <>
            {" "}
            <Badge kind="info">{t("sets.new")}</Badge>
          </>
        )}
      </span>
    </span>
  );
}

function Codes({ set }: { set: CouponSet }) {
  if (set.code === null) return t("sets.codes", { n: set.quantity ?? 0 });
  const uses = set.quantity === null ? t("common.stock.unlimited") : t("sets.uses", { n: set.quantity });
  return (
    <span class={tableCss.lines}>
      <Code code={set.code} />
      <span class="soft">{uses}</span>
    </span>
  );
}

function Forecast({ forecast }: { forecast: { runsOutOn: string; earliest: string; latest: string | null } | null }) {
  if (!forecast) return "–";
  return (
    <time datetime={forecast.runsOutOn} title={rangeOf(forecast)}>
      {shortDate(forecast.runsOutOn)}
    </time>
  );
}

function rangeOf({ earliest, latest }: { earliest: string; latest: string | null }) {
  if (latest === null) return t("sets.forecast.after", { earliest: date(earliest) });
  if (latest === earliest) return t("sets.forecast.on", { day: date(earliest) });
  return t("sets.forecast.between", { earliest: date(earliest), latest: date(latest) });
}

function Workflows({ workflows }: { workflows: { id: string; name: string; state: string }[] }) {
  if (workflows.length === 0) return "–";
  const all = enumeration(workflows.map(({ name, state }) => `${name} (${t(`sets.workflow.${state}`)})`));
  const text = workflows.length === 1 ? workflows[0].name : t("sets.workflows", { n: workflows.length });
  return <span title={all}>{text}</span>;
}

function Actions({ set, open }: { set: CouponSet; open: (opened: { set: CouponSet; dialog: "edit" | "delete" }) => void }) {
  const here = path`#/coupon-sets/${set.id}`;
  const write = can("coupon-sets:write");
  const items: (Item | false)[] = [
    { title: t("sets.action.statistics"), icon: "chart", href: here },
    set.type === "multiple" && { title: t("sets.action.codes"), icon: "code", href: `${here}/codes` },
    set.type === "multiple" && can("imports:write") && { title: t("sets.action.import"), icon: "import", href: `#/import?set=${set.id}` },
    write && { title: t("sets.action.edit"), icon: "edit", onSelect: () => open({ set, dialog: "edit" }) },
    write && { title: t("sets.action.delete"), icon: "delete", danger: true, onSelect: () => open({ set, dialog: "delete" }) },
  ];
  return (
    <span class={tableCss.rowActions}>
      <Button kind="quiet" icon="chart" label={t("sets.statisticsOf", { name: set.name })} href={here} />
      <Menu label={t("sets.actionsOf", { name: set.name })} items={items} />
    </span>
  );
}
