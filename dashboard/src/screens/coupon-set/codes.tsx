import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { path } from "../../address";
import { addressOf } from "../../api";
import { number } from "../../format";
import { useList } from "../../hooks";
import { t } from "../../i18n";
import { place, replace } from "../../location";
import { CodeLink, Contact, Status } from "../../parts/assignments";
import { Button } from "../../parts/button";
import { Empty } from "../../parts/empty";
import { Select } from "../../parts/field";
import { ProblemBox } from "../../parts/problem";
import { QueryField } from "../../parts/query-field";
import { Table, type Column } from "../../parts/table";
import { Time } from "../../parts/time";
import { Until } from "../../parts/until";
import type { Coupon, CouponSet } from "../../schemas";
import { can } from "../../session";
import { Withdraw } from "./withdraw";
import layout from "../../parts/layout.module.css";
import tableCss from "../../parts/table.module.css";
import css from "../coupon-set.module.css";

const STATUSES = ["available", "reserved", "assigned", "sent", "used", "void", "expired", "withdrawn"];
/** States without a contact, in which a code can be withdrawn. */
const FREE = ["available", "expired"];

/** The list of all codes of a set. */
export function Codes({ set, query, onChanged }: { set: CouponSet; query: Record<string, string>; onChanged: () => void }) {
  const { prefix = "" } = query;
  const status = STATUSES.includes(query.status) ? query.status : "";
  const codes = path`/v1/coupon-sets/${set.id}/coupons`;
  const list = useList<Coupon>(codes, { prefix, status });
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const [withdrawing, setWithdrawing] = useState(false);
  const write = can("coupon-sets:write");
  const toggle: (code: string) => void = (code) => {
    const next = new Set(picked);
    if (!next.delete(code)) next.add(code);
    setPicked(next);
  };
  const withdrawn = () => {
    setPicked(new Set());
    void list.refresh();
    onChanged();
  };
  return (
    <>
      <div class={layout.filters}>
        <QueryField label={t("set.filter.prefix")} value={prefix} onChange={(value: string) => change({ prefix: value })} />
        <Select
          label={t("set.filter.status")}
          hideLabel
          value={status}
          onChange={(value: string) => change({ status: value })}
          options={["", ...STATUSES].map((value) => ({ value, title: t(value ? `common.status.${value}` : "set.filter.anyStatus") }))}
        />
        <span class={layout.filtersEnd}>
          {write && (
            <>
              <Button icon="close" kind={picked.size > 0 ? "primary" : "plain"} onClick={() => setWithdrawing(true)}>
                {picked.size > 0 ? t("set.withdraw.picked", { n: picked.size }) : t("set.withdraw.action")}
              </Button>
              {picked.size > 0 && (
                <Button kind="quiet" onClick={() => setPicked(new Set())}>
                  {t("set.withdraw.unpick")}
                </Button>
              )}
            </>
          )}
          <Button icon="download" download="" href={addressOf(codes, { prefix, status, format: "csv" })}>
            {t("set.export")}
          </Button>
        </span>
      </div>
      <p class="unseen" role="status">
        {picked.size > 0 && t("set.withdraw.count", { n: picked.size })}
      </p>
      <ProblemBox problem={list.problem} onRetry={list.refresh} />
      <Table
        class={`${tableCss.historyTable} ${css.table}`}
        fill
        label={t("set.tab.codes")}
        columns={columnsOf(set, write, picked, toggle)}
        rows={list.rows}
        keyOf={(row) => row.code}
        more={list.more}
        loading={list.loading}
        onMore={list.loadMore}
        empty={!list.problem && <Nothing set={set} filtered={prefix || status} />}
      />
      {withdrawing && <Withdraw set={set} codes={[...picked]} onClose={() => setWithdrawing(false)} onDone={withdrawn} />}
    </>
  );
}

function Nothing({ set, filtered }: { set: CouponSet; filtered: string }) {
  if (filtered) {
    const all = <Button onClick={() => replace(place.peek().path)}>{t("set.codes.all")}</Button>;
    return <Empty icon="search" title={t("set.codes.nothing")} text={t("set.codes.nothing.text")} action={all} />;
  }
  const fill = can("imports:write") && (
    <Button kind="primary" icon="import" href={`#/import?set=${set.id}`}>
      {t("sets.action.import")}
    </Button>
  );
  return <Empty icon="code" title={t("set.codes.empty")} text={t("set.codes.empty.text")} action={fill} />;
}

function columnsOf(set: CouponSet, write: boolean, picked: ReadonlySet<string>, toggle: (code: string) => void): Column<Coupon>[] {
  const pick: (row: Coupon) => ComponentChildren = (row) => {
    if (!FREE.includes(row.status)) return null;
    return (
      <input
        type="checkbox"
        checked={picked.has(row.code)}
        aria-label={t("set.withdraw.pick", { code: row.code })}
        onChange={() => toggle(row.code)}
      />
    );
  };
  const columns: Column<Coupon>[] = [
    { id: "code", title: t("set.column.code"), main: true, cell: (row) => <CodeLink code={row.code} /> },
    { id: "status", title: t("set.column.status"), cell: (row) => <Status status={row.status} /> },
    { id: "holder", title: t("set.column.holder"), cell: (row) => <Contact id={row.contactId} /> },
    { id: "expiresAt", title: t("set.column.expiresAt"), cell: (row) => <Until at={row.expiresAt} timeZone={set.timezone} /> },
    { id: "importedAt", title: t("set.column.importedAt"), cell: (row) => <Time at={row.importedAt} as="date" /> },
    { id: "attributes", title: t("set.column.attributes"), cell: (row) => <Attributes attributes={row.attributes} /> },
  ];
  return write ? [{ id: "pick", title: t("set.column.pick"), bare: true, cell: pick }, ...columns] : columns;
}

function Attributes({ attributes }: { attributes: Record<string, string> | null }) {
  const entries = Object.entries(attributes ?? {});
  if (entries.length === 0) return "–";
  const all = entries.map(([name, value]) => `${name}: ${value}`).join("\n");
  return (
    <span title={all}>
      {entries[0][0]}: {entries[0][1]}
      {entries.length > 1 && ` +${number(entries.length - 1)}`}
    </span>
  );
}

function change(changed: Record<string, string>) {
  const { path: here, query } = place.peek();
  replace(here, { ...query, ...changed });
}
