/** The list of coupon sets, with search for sets and codes, filters and sort orders. */
import { html } from "htm/preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { useGet, useList, usePolling, useSettled } from "../hooks.js";
import { t } from "../i18n.js";
import { go, place, replace } from "../location.js";
import { Button } from "../parts/button.js";
import { Empty } from "../parts/empty.js";
import { Choice, SearchField, Select } from "../parts/field.js";
import { later } from "../parts/later.js";
import { Page } from "../parts/page.js";
import { ProblemBox } from "../parts/problem.js";
import { Table } from "../parts/table.js";
import { can, session } from "../session.js";
import { language } from "../settings.js";
import { columnsOf } from "./coupon-sets/columns.js";
import { FoundCodes, historyOf } from "./coupon-sets/found-codes.js";
import { ImportsUnderWay } from "./coupon-sets/under-way.js";

const EditSet = later(async () => (await import("./coupon-sets/edit.js")).EditSet);
const DeleteSet = later(async () => (await import("./coupon-sets/delete.js")).DeleteSet);

const NEWEST = "-createdAt";
const SORTS = ["createdAt", "name", "type", "available", "assigned", "sent", "used"].flatMap((key) => [`-${key}`, key]);
const TYPES = ["", "single", "multiple"];
/** Query parameters of each choice of the status filter. */
const STATES = {
  "": {},
  active: { state: "active" },
  low: { stock: "low" },
  exhausted: { state: "exhausted" },
  expired: { state: "expired" },
};
/** Debounce time: about the pause between two keystrokes. */
const TYPING_MS = 180;
const SHORT_LIST = 300;

/** @param {{ query: Record<string, string> }} props `new` is the id of a set that was just created, `find` focuses the search */
export default function CouponSets({ query }) {
  const sort = SORTS.includes(query.sort) ? query.sort : NEWEST;
  const state = query.state in STATES ? /** @type {keyof typeof STATES} */ (query.state) : "";
  const [typed, setTyped] = useTyped(query);
  const list = useList("/v1/coupon-sets", { q: query.q, type: query.type, ...STATES[state], sort, include: "forecast" });
  // A long list is refreshed less often, because the service computes its totals on each request.
  usePolling(list.refresh, list.rows.length > SHORT_LIST ? 20_000 : 5_000);
  const codes = useGet(query.q ? "/v1/coupons" : null, { code: query.q, limit: 5 }).value?.results ?? [];
  const [open, setOpen] = useState(/** @type {{ set: any, dialog: "edit" | "delete" } | null} */ (null));
  const columns = useMemo(() => columnsOf(setOpen), [language.value, session.value]);
  const filtered = Boolean(query.q || query.type || state);
  const close = () => setOpen(null);
  useEffect(() => {
    if (query.find) /** @type {HTMLElement | null} */ (document.querySelector("[data-find]"))?.focus();
  }, [query.find]);
  /** @param {KeyboardEvent} event */
  const enter = (event) => {
    if (event.key === "Enter" && codes.length > 0 && typed.trim() === query.q) go(historyOf(codes[0], typed));
  };
  return html`
    <${Page} fill title=${t("sets.title")} actions=${html`<${Actions} />`}>
      <${ImportsUnderWay} onEnd=${list.refresh} />
      <div class="toolbar">
        <${SearchField} label=${t("sets.search")} value=${typed} onChange=${setTyped} onKeyDown=${enter} data-find />
        <${Choice} label=${t("sets.filter.type")} hideLabel look="segments" value=${query.type ?? ""}
          options=${TYPES.map((value) => ({ value, title: t(value ? `common.type.${value}` : "sets.filter.all") }))}
          onChange=${(/** @type {string} */ type) => change({ type })} />
        <${Select} label=${t("sets.filter.state")} hideLabel value=${state}
          options=${Object.keys(STATES).map((value) => ({ value, title: titleOf(value) }))}
          onChange=${(/** @type {string} */ wanted) => change({ state: wanted })} />
        <${Select} label=${t("sets.sort")} hideLabel value=${sort}
          options=${SORTS.map((value) => ({ value, title: t(`sets.sort.${value}`) }))}
          onChange=${(/** @type {string} */ wanted) => change({ sort: wanted })} />
      </div>
      <${FoundCodes} found=${codes} code=${query.q} />
      <${ProblemBox} problem=${list.problem} onRetry=${list.refresh} />
      <p class="unseen" role="status">${filtered && !list.loading && t(list.more ? "sets.foundMore" : "sets.found", { n: list.rows.length })}</p>
      <${Table} fill label=${t("sets.title")} columns=${columns} rows=${list.rows} sort=${sort}
        onSort=${(/** @type {string} */ wanted) => change({ sort: wanted })} more=${list.more} loading=${list.loading} onMore=${list.loadMore}
        marked=${(/** @type {any} */ set) => set.id === query.new}
        empty=${!list.problem && (filtered ? html`<${NothingFits} code=${codes.length > 0} />` : html`<${NoSets} />`)} />
      ${open?.dialog === "edit" && html`<${EditSet} set=${open.set} onClose=${close} onSaved=${list.refresh} />`}
      ${open?.dialog === "delete" && html`<${DeleteSet} set=${open.set} onClose=${close} onDeleted=${list.refresh} />`}
    <//>
  `;
}

/**
 * The text of the search field. It is written to the address after a debounce time.
 * @param {Record<string, string>} query
 * @returns {[string, (typed: string) => void]}
 */
function useTyped(query) {
  const [typed, setTyped] = useState(query.q ?? "");
  const settled = useSettled(typed.trim(), TYPING_MS);
  const asked = useRef(query.q ?? "");
  useEffect(() => {
    if (settled === asked.current) return;
    asked.current = settled;
    change({ q: settled });
  }, [settled]);
  useEffect(() => {
    // The address has changed by the Back button or a link to another search.
    const q = query.q ?? "";
    if (q === asked.current) return;
    asked.current = q;
    setTyped(q);
  }, [query.q]);
  return [typed, setTyped];
}

/**
 * Writes filters to the address, so that they can be shared and survive the Back button.
 * @param {Record<string, string>} changed
 */
function change(changed) {
  // The user may have left this screen meanwhile, while the next one is still loading.
  if (place.peek().path !== "/coupon-sets") return;
  const { new: _new, find: _find, ...kept } = place.peek().query;
  const query = { ...kept, ...changed };
  replace("/coupon-sets", { ...query, sort: query.sort === NEWEST ? "" : query.sort });
}

/** @param {string} state */
function titleOf(state) {
  if (state === "") return t("sets.filter.any");
  return state === "low" ? t("sets.filter.low") : t(`common.state.${state}`);
}

function Actions() {
  return html`
    ${can("imports:read") && html`<${Button} icon="clock" href="#/imports">${t("sets.imports")}<//>`}
    ${can("coupon-sets:write") && html`<${Button} kind="primary" icon="plus" href="#/coupon-sets/new">${t("sets.create")}<//>`}
  `;
}

function NoSets() {
  const create = can("coupon-sets:write") && html`<${Button} kind="primary" icon="plus" href="#/coupon-sets/new">${t("sets.empty.action")}<//>`;
  return html`<${Empty} icon="sets" title=${t("sets.empty.title")} text=${t("sets.empty.text")} action=${create} />`;
}

/** @param {{ code: boolean }} props `code` is true if the searched text is a code */
function NothingFits({ code }) {
  const all = html`<${Button} onClick=${() => replace("/coupon-sets")}>${t("sets.nothing.action")}<//>`;
  return html`<${Empty} icon="search" title=${t("sets.nothing.title")} text=${code ? "" : t("sets.nothing.text")} action=${all} />`;
}
