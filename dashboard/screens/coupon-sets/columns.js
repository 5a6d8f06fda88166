import { html } from "htm/preact";

import { path } from "../../address.js";
import { date, enumeration, number, shortDate } from "../../format.js";
import { t } from "../../i18n.js";
import { place } from "../../location.js";
import { Badge } from "../../parts/badge.js";
import { Button } from "../../parts/button.js";
import { Code } from "../../parts/copy.js";
import { Menu } from "../../parts/menu.js";
import { StockBar } from "../../parts/stock-bar.js";
import { can } from "../../session.js";

/**
 * @param {(opened: { set: any, dialog: "edit" | "delete" }) => void} open
 * @returns {import("../../parts/table.js").Column[]}
 */
export function columnsOf(open) {
  /** @type {(id: string) => import("../../parts/table.js").Column} */
  const count = (id) => ({ id, title: t(`sets.column.${id}`), align: "end", sort: id, cell: (set) => number(set[id]) });
  return [
    { id: "name", title: t("sets.column.name"), main: true, sort: "name", cell: (set) => html`<${Name} set=${set} />` },
    { id: "codes", title: t("sets.column.codes"), cell: (set) => html`<${Codes} set=${set} />` },
    { id: "stock", title: t("sets.column.stock"), cell: (set) => html`<${StockBar} set=${set} />` },
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
    { id: "forecast", title: t("sets.column.forecast"), cell: (set) => html`<${Forecast} forecast=${set.forecast} />` },
    { id: "workflows", title: t("sets.column.workflows"), cell: (set) => html`<${Workflows} workflows=${set.usedInWorkflows} />` },
    { id: "menu", title: t("sets.column.actions"), bare: true, cell: (set) => html`<${Actions} set=${set} open=${open} />` },
  ];
}

/** @param {{ set: any }} props */
function Name({ set }) {
  const isNew = place.value.query.new === set.id;
  return html`
    <span class="lines">
      <a class="row-link" href=${path`#/coupon-sets/${set.id}`} title=${set.name}>${set.name}</a>
      <span class="soft">${t(`common.type.${set.type}`)}${isNew && html` <${Badge} kind="info">${t("sets.new")}<//>`}</span>
    </span>
  `;
}

/** @param {{ set: any }} props */
function Codes({ set }) {
  if (set.type === "multiple") return t("sets.codes", { n: set.quantity });
  const uses = set.quantity === null ? t("common.stock.unlimited") : t("sets.uses", { n: set.quantity });
  return html`<span class="lines"><${Code} code=${set.code} /><span class="soft">${uses}</span></span>`;
}

/** @param {{ forecast: { runsOutOn: string, earliest: string, latest: string | null } | null }} props */
function Forecast({ forecast }) {
  if (!forecast) return "–";
  return html`<time datetime=${forecast.runsOutOn} title=${rangeOf(forecast)}>${shortDate(forecast.runsOutOn)}</time>`;
}

/** @param {{ earliest: string, latest: string | null }} forecast */
function rangeOf({ earliest, latest }) {
  if (latest === null) return t("sets.forecast.after", { earliest: date(earliest) });
  if (latest === earliest) return t("sets.forecast.on", { day: date(earliest) });
  return t("sets.forecast.between", { earliest: date(earliest), latest: date(latest) });
}

/** @param {{ workflows: { id: string, name: string, state: string }[] }} props */
function Workflows({ workflows }) {
  if (workflows.length === 0) return "–";
  const all = enumeration(workflows.map(({ name, state }) => `${name} (${t(`sets.workflow.${state}`)})`));
  const text = workflows.length === 1 ? workflows[0].name : t("sets.workflows", { n: workflows.length });
  return html`<span title=${all}>${text}</span>`;
}

/** @param {{ set: any, open: (opened: { set: any, dialog: "edit" | "delete" }) => void }} props */
function Actions({ set, open }) {
  const here = path`#/coupon-sets/${set.id}`;
  const write = can("coupon-sets:write");
  /** @type {(import("../../parts/menu.js").Item | false)[]} */
  const items = [
    { title: t("sets.action.statistics"), icon: "chart", href: here },
    set.type === "multiple" && { title: t("sets.action.codes"), icon: "code", href: `${here}/codes` },
    set.type === "multiple" && can("imports:write") && { title: t("sets.action.import"), icon: "import", href: `#/import?set=${set.id}` },
    write && { title: t("sets.action.edit"), icon: "edit", onSelect: () => open({ set, dialog: "edit" }) },
    write && { title: t("sets.action.delete"), icon: "delete", danger: true, onSelect: () => open({ set, dialog: "delete" }) },
  ];
  return html`
    <span class="row-actions">
      <${Button} kind="quiet" icon="chart" label=${t("sets.statisticsOf", { name: set.name })} href=${here} />
      <${Menu} label=${t("sets.actionsOf", { name: set.name })} items=${items.filter(Boolean)} />
    </span>
  `;
}
