/** The page of a coupon set: its properties, statistics, assignments and codes. */
import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { path } from "../address.js";
import { addressOf } from "../api.js";
import { useGet, usePolling } from "../hooks.js";
import { t } from "../i18n.js";
import { go, replace } from "../location.js";
import { Badge } from "../parts/badge.js";
import { Button } from "../parts/button.js";
import { Code } from "../parts/copy.js";
import { Empty } from "../parts/empty.js";
import { Menu } from "../parts/menu.js";
import { Page } from "../parts/page.js";
import { ProblemBox } from "../parts/problem.js";
import { Loading } from "../parts/progress.js";
import { StockBar } from "../parts/stock-bar.js";
import { Tabs } from "../parts/tabs.js";
import { Until } from "../parts/until.js";
import { can } from "../session.js";
import { Assignments } from "./coupon-set/assignments.js";
import { Codes } from "./coupon-set/codes.js";
import { Statistics } from "./coupon-set/statistics.js";
import { DeleteSet } from "./coupon-sets/delete.js";
import { EditSet } from "./coupon-sets/edit.js";

const REFRESH_MS = 5_000;
const TABS = { statistics: Statistics, assignments: Assignments, codes: Codes };

/** @typedef {keyof typeof TABS} Tab */

/** @param {{ params: { id: string, tab?: string }, query: Record<string, string> }} props */
export default function CouponSet({ params, query }) {
  const { value: set, problem, refresh } = useGet(path`/v1/coupon-sets/${params.id}`);
  usePolling(refresh, REFRESH_MS);
  const [dialog, setDialog] = useState(/** @type {"edit" | "delete" | null} */ (null));
  const close = () => setDialog(null);
  const tabs = set ? tabsOf(set) : [];
  const tab = tabs.find((one) => one === params.tab) ?? tabs[0];
  const Panel = tab && TABS[tab];
  return html`
    <${Page} fill=${tab === "assignments" || tab === "codes"} title=${set?.name ?? t("set.title")} back=${{ href: "#/coupon-sets", title: t("sets.title") }}
      note=${set && html`<${Facts} set=${set} />`} actions=${set && html`<${Actions} set=${set} open=${setDialog} />`}>
      <${ProblemBox} problem=${problem} onRetry=${problem?.status === 404 ? undefined : refresh} />
      ${!set && !problem && html`<${Loading} label=${t("common.loading")} />`}
      ${set && !Panel && html`<${Empty} icon="key" title=${t("common.notAllowed.text", { scope: "statistics:read" })} />`}
      ${Panel && html`
        <${Tabs} label=${t("set.tabs")} tabs=${tabs.map((id) => ({ id, title: t(`set.tab.${id}`) }))} selected=${tab}
          onSelect=${(/** @type {Tab} */ wanted) => replace(addressOfTab(set.id, wanted))}>
          <${Panel} key=${tab} set=${set} query=${query} onChanged=${refresh} />
        <//>
      `}
      ${dialog === "edit" && html`<${EditSet} set=${set} onClose=${close} onSaved=${refresh} />`}
      ${dialog === "delete" && html`<${DeleteSet} set=${set} onClose=${close} onDeleted=${() => go("/coupon-sets")} />`}
    <//>
  `;
}

/**
 * @param {any} set
 * @returns {Tab[]}
 */
function tabsOf(set) {
  /** @type {(Tab | false)[]} */
  const all = [can("statistics:read") && "statistics", can("assignments:read") && "assignments", set.type === "multiple" && "codes"];
  return all.filter((tab) => tab !== false);
}

/**
 * @param {string} id
 * @param {Tab} tab
 */
function addressOfTab(id, tab) {
  return tab === "statistics" ? path`/coupon-sets/${id}` : path`/coupon-sets/${id}/${tab}`;
}

/** @param {{ set: any }} props */
function Facts({ set }) {
  return html`
    <ul class="facts">
      <li>${t(`common.type.${set.type}`)}</li>
      ${set.state === "active" && html`<li><${Badge} kind="good">${t("common.state.active")}<//></li>`}
      <li><${StockBar} set=${set} /></li>
      ${set.code !== null && html`<li><${Code} code=${set.code} href=${path`#/codes/${set.code}`} /></li>`}
      ${set.expiresAt && html`<li>${t("set.validUntil")} <${Until} at=${set.expiresAt} timeZone=${set.timezone} /></li>`}
      ${set.childCouponSetId && html`<li><a href=${path`#/coupon-sets/${set.childCouponSetId}`}>${t("set.fallback")}</a></li>`}
    </ul>
  `;
}

/** @param {{ set: any, open: (dialog: "edit" | "delete") => void }} props */
function Actions({ set, open }) {
  const write = can("coupon-sets:write");
  const here = path`/v1/coupon-sets/${set.id}`;
  /** @type {(import("../parts/menu.js").Item | false)[]} */
  const items = [
    can("statistics:read") && {
      title: t("set.exportAssignments"),
      icon: "download",
      href: addressOf(`${here}/statistics`, { format: "csv" }),
      download: true,
    },
    set.type === "multiple" && {
      title: t("set.exportCodes"),
      icon: "download",
      href: addressOf(`${here}/coupons`, { format: "csv" }),
      download: true,
    },
    write && { title: t("sets.action.delete"), icon: "delete", danger: true, onSelect: () => open("delete") },
  ];
  const more = items.filter((item) => item !== false);
  return html`
    ${write && html`<${Button} icon="edit" onClick=${() => open("edit")}>${t("sets.action.edit")}<//>`}
    ${set.type === "multiple" && can("imports:write") && html`
      <${Button} kind="primary" icon="import" href=${`#/import?set=${set.id}`}>${t("sets.action.import")}<//>
    `}
    ${more.length > 0 && html`<${Menu} kind="plain" label=${t("sets.actionsOf", { name: set.name })} items=${more} />`}
  `;
}
