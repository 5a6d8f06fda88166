/** The list of coupon sets, with search for sets and codes, filters and sort orders. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { type Page as ListPage, useGet, useList, usePolling, useSettled } from "../hooks";
import { t } from "../i18n";
import { go, place, replace } from "../location";
import { Button } from "../parts/button";
import { Empty } from "../parts/empty";
import { Choice, SearchField, Select } from "../parts/field";
import { Page } from "../parts/page";
import { ProblemBox } from "../parts/problem";
import { Table } from "../parts/table";
import type { CouponSet, FoundCode } from "../schemas";
import { can, session } from "../session";
import { language } from "../settings";
import { columnsOf } from "./coupon-sets/columns";
import { DeleteSet } from "./coupon-sets/delete";
import { EditSet } from "./coupon-sets/edit";
import { FoundCodes, historyOf } from "./coupon-sets/found-codes";
import { ImportsUnderWay } from "./coupon-sets/under-way";
import layout from "../parts/layout.module.css";
import css from "./coupon-sets.module.css";

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

/** @param props `new` is the id of a set that was just created, `find` focuses the search */
export default function CouponSets({ query }: { query: Record<string, string> }) {
  const sort = SORTS.includes(query.sort) ? query.sort : NEWEST;
  const state = query.state in STATES ? (query.state as keyof typeof STATES) : "";
  const [typed, setTyped] = useTyped(query);
  const list = useList<CouponSet>("/v1/coupon-sets", { q: query.q, type: query.type, ...STATES[state], sort, include: "forecast" });
  // A long list is refreshed less often, because the service computes its totals on each request.
  usePolling(list.refresh, list.rows.length > SHORT_LIST ? 20_000 : 5_000);
  const codes = useGet<ListPage<FoundCode>>(query.q ? "/v1/coupons" : null, { code: query.q, limit: 5 }).value?.results ?? [];
  const [open, setOpen] = useState<{ set: CouponSet; dialog: "edit" | "delete" } | null>(null);
  const columns = useMemo(() => columnsOf(setOpen), [language.value, session.value]);
  const filtered = Boolean(query.q || query.type || state);
  const close = () => setOpen(null);
  useEffect(() => {
    if (query.find) (document.querySelector("[data-find]") as HTMLElement | null)?.focus();
  }, [query.find]);
  const enter = (event: KeyboardEvent) => {
    if (event.key === "Enter" && codes.length > 0 && typed.trim() === query.q) go(historyOf(codes[0], typed));
  };
  return (
    <Page fill title={t("sets.title")} actions={<Actions />}>
      <ImportsUnderWay onEnd={list.refresh} />
      <div class={layout.toolbar}>
        <SearchField label={t("sets.search")} value={typed} onChange={setTyped} onKeyDown={enter} data-find />
        <Choice
          label={t("sets.filter.type")}
          hideLabel
          look="segments"
          value={query.type ?? ""}
          options={TYPES.map((value) => ({ value, title: t(value ? `common.type.${value}` : "sets.filter.all") }))}
          onChange={(type: string) => change({ type })}
        />
        <Select
          label={t("sets.filter.state")}
          hideLabel
          value={state}
          options={Object.keys(STATES).map((value) => ({ value, title: titleOf(value) }))}
          onChange={(wanted: string) => change({ state: wanted })}
        />
        <Select
          label={t("sets.sort")}
          hideLabel
          value={sort}
          options={SORTS.map((value) => ({ value, title: t(`sets.sort.${value}`) }))}
          onChange={(wanted: string) => change({ sort: wanted })}
        />
      </div>
      <FoundCodes found={codes} code={query.q} />
      <ProblemBox problem={list.problem} onRetry={list.refresh} />
      <p class="unseen" role="status">
        {filtered && !list.loading && t(list.more ? "sets.foundMore" : "sets.found", { n: list.rows.length })}
      </p>
      <Table
        class={css.table}
        fill
        label={t("sets.title")}
        columns={columns}
        rows={list.rows}
        sort={sort}
        onSort={(wanted: string) => change({ sort: wanted })}
        more={list.more}
        loading={list.loading}
        onMore={list.loadMore}
        marked={(set) => set.id === query.new}
        empty={!list.problem && (filtered ? <NothingFits code={codes.length > 0} /> : <NoSets />)}
      />
      {open?.dialog === "edit" && <EditSet set={open.set} onClose={close} onSaved={list.refresh} />}
      {open?.dialog === "delete" && <DeleteSet set={open.set} onClose={close} onDeleted={list.refresh} />}
    </Page>
  );
}

/** The text of the search field. It is written to the address after a debounce time. */
function useTyped(query: Record<string, string>): [string, (typed: string) => void] {
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

/** Writes filters to the address, so that they can be shared and survive the Back button. */
function change(changed: Record<string, string>) {
  // The user may have left this screen meanwhile, while the next one is still loading.
  if (place.peek().path !== "/coupon-sets") return;
  const { new: _new, find: _find, ...kept } = place.peek().query;
  const query = { ...kept, ...changed };
  replace("/coupon-sets", { ...query, sort: query.sort === NEWEST ? "" : query.sort });
}

function titleOf(state: string) {
  if (state === "") return t("sets.filter.any");
  return state === "low" ? t("sets.filter.low") : t(`common.state.${state}`);
}

function Actions() {
  return (
    <>
      {can("imports:read") && (
        <Button icon="clock" href="#/imports">
          {t("sets.imports")}
        </Button>
      )}
      {can("coupon-sets:write") && (
        <Button kind="primary" icon="plus" href="#/coupon-sets/new">
          {t("sets.create")}
        </Button>
      )}
    </>
  );
}

function NoSets() {
  const create = can("coupon-sets:write") && (
    <Button kind="primary" icon="plus" href="#/coupon-sets/new">
      {t("sets.empty.action")}
    </Button>
  );
  return <Empty icon="sets" title={t("sets.empty.title")} text={t("sets.empty.text")} action={create} />;
}

/** @param props `code` is true if the searched text is a code */
function NothingFits({ code }: { code: boolean }) {
  const all = <Button onClick={() => replace("/coupon-sets")}>{t("sets.nothing.action")}</Button>;
  return <Empty icon="search" title={t("sets.nothing.title")} text={code ? "" : t("sets.nothing.text")} action={all} />;
}
