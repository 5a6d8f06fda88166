import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { path } from "../../address.js";
import { addressOf } from "../../api.js";
import { useList } from "../../hooks.js";
import { number } from "../../format.js";
import { t } from "../../i18n.js";
import { place, replace } from "../../location.js";
import { CodeLink, Contact, Status } from "../../parts/assignments.js";
import { Button } from "../../parts/button.js";
import { Empty } from "../../parts/empty.js";
import { Select } from "../../parts/field.js";
import { ProblemBox } from "../../parts/problem.js";
import { QueryField } from "../../parts/query-field.js";
import { Table } from "../../parts/table.js";
import { Time } from "../../parts/time.js";
import { Until } from "../../parts/until.js";
import { can } from "../../session.js";
import { Withdraw } from "./withdraw.js";

const STATUSES = ["available", "reserved", "assigned", "sent", "used", "void", "expired", "withdrawn"];
/** States without a contact, in which a code can be withdrawn. */
const FREE = ["available", "expired"];

/**
 * The list of all codes of a set.
 * @param {{ set: any, query: Record<string, string>, onChanged: () => void }} props
 */
export function Codes({ set, query, onChanged }) {
  const { prefix = "" } = query;
  const status = STATUSES.includes(query.status) ? query.status : "";
  const codes = path`/v1/coupon-sets/${set.id}/coupons`;
  const list = useList(codes, { prefix, status });
  const [picked, setPicked] = useState(/** @type {ReadonlySet<string>} */ (new Set()));
  const [withdrawing, setWithdrawing] = useState(false);
  const write = can("coupon-sets:write");
  /** @type {(code: string) => void} */
  const toggle = (code) => {
    const next = new Set(picked);
    if (!next.delete(code)) next.add(code);
    setPicked(next);
  };
  const withdrawn = () => {
    setPicked(new Set());
    void list.refresh();
    onChanged();
  };
  return html`
    <div class="filters">
      <${QueryField} label=${t("set.filter.prefix")} value=${prefix} onChange=${(/** @type {string} */ value) => change({ prefix: value })} />
      <${Select} label=${t("set.filter.status")} hideLabel value=${status} onChange=${(/** @type {string} */ value) => change({ status: value })}
        options=${["", ...STATUSES].map((value) => ({ value, title: t(value ? `common.status.${value}` : "set.filter.anyStatus") }))} />
      <span class="filters-end">
        ${write && html`
          <${Button} icon="close" kind=${picked.size > 0 ? "primary" : "plain"} onClick=${() => setWithdrawing(true)}>
            ${picked.size > 0 ? t("set.withdraw.picked", { n: picked.size }) : t("set.withdraw.action")}
          <//>
          ${picked.size > 0 && html`<${Button} kind="quiet" onClick=${() => setPicked(new Set())}>${t("set.withdraw.unpick")}<//>`}
        `}
        <${Button} icon="download" download="" href=${addressOf(codes, { prefix, status, format: "csv" })}>${t("set.export")}<//>
      </span>
    </div>
    <p class="unseen" role="status">${picked.size > 0 && t("set.withdraw.count", { n: picked.size })}</p>
    <${ProblemBox} problem=${list.problem} onRetry=${list.refresh} />
    <${Table} fill label=${t("set.tab.codes")} columns=${columnsOf(set, write, picked, toggle)} rows=${list.rows}
      keyOf=${(/** @type {any} */ row) => row.code} more=${list.more} loading=${list.loading} onMore=${list.loadMore}
      empty=${!list.problem && html`<${Nothing} set=${set} filtered=${prefix || status} />`} />
    ${withdrawing && html`<${Withdraw} set=${set} codes=${[...picked]} onClose=${() => setWithdrawing(false)} onDone=${withdrawn} />`}
  `;
}

/** @param {{ set: any, filtered: string }} props */
function Nothing({ set, filtered }) {
  if (filtered) {
    const all = html`<${Button} onClick=${() => replace(place.peek().path)}>${t("set.codes.all")}<//>`;
    return html`<${Empty} icon="search" title=${t("set.codes.nothing")} text=${t("set.codes.nothing.text")} action=${all} />`;
  }
  const fill = can("imports:write") && html`<${Button} kind="primary" icon="import" href=${`#/import?set=${set.id}`}>${t("sets.action.import")}<//>`;
  return html`<${Empty} icon="code" title=${t("set.codes.empty")} text=${t("set.codes.empty.text")} action=${fill} />`;
}

/**
 * @param {any} set
 * @param {boolean} write
 * @param {ReadonlySet<string>} picked
 * @param {(code: string) => void} toggle
 * @returns {import("../../parts/table.js").Column[]}
 */
function columnsOf(set, write, picked, toggle) {
  /** @type {(row: any) => any} */
  const pick = (row) => {
    if (!FREE.includes(row.status)) return null;
    return html`<input type="checkbox" checked=${picked.has(row.code)} aria-label=${t("set.withdraw.pick", { code: row.code })} onChange=${() => toggle(row.code)} />`;
  };
  /** @type {import("../../parts/table.js").Column[]} */
  const columns = [
    { id: "code", title: t("set.column.code"), main: true, cell: (row) => html`<${CodeLink} code=${row.code} />` },
    { id: "status", title: t("set.column.status"), cell: (row) => html`<${Status} status=${row.status} />` },
    { id: "holder", title: t("set.column.holder"), cell: (row) => html`<${Contact} id=${row.contactId} />` },
    { id: "expiresAt", title: t("set.column.expiresAt"), cell: (row) => html`<${Until} at=${row.expiresAt} timeZone=${set.timezone} />` },
    { id: "importedAt", title: t("set.column.importedAt"), cell: (row) => html`<${Time} at=${row.importedAt} as="date" />` },
    { id: "attributes", title: t("set.column.attributes"), cell: (row) => html`<${Attributes} attributes=${row.attributes} />` },
  ];
  return write ? [{ id: "pick", title: t("set.column.pick"), bare: true, cell: pick }, ...columns] : columns;
}

/** @param {{ attributes: Record<string, string> | null }} props */
function Attributes({ attributes }) {
  const entries = Object.entries(attributes ?? {});
  if (entries.length === 0) return "–";
  const all = entries.map(([name, value]) => `${name}: ${value}`).join("\n");
  return html`<span title=${all}>${entries[0][0]}: ${entries[0][1]}${entries.length > 1 && ` +${number(entries.length - 1)}`}</span>`;
}

/** @param {Record<string, string>} changed */
function change(changed) {
  const { path: here, query } = place.peek();
  replace(here, { ...query, ...changed });
}
