/** The import history, with the report of each import and the actions cancel, undo and delete. */
import { useState } from "preact/hooks";

import { href } from "../address";
import { useList, usePolling } from "../hooks";
import { t } from "../i18n";
import { replace } from "../location";
import { Button } from "../parts/button";
import { Empty } from "../parts/empty";
import { Select } from "../parts/field";
import { Page } from "../parts/page";
import { ProblemBox } from "../parts/problem";
import { SetPicker } from "../parts/set-picker";
import { Table } from "../parts/table";
import type { Import } from "../schemas";
import { can } from "../session";
import { CancelImport, DeleteImport, UndoImport } from "./imports/actions";
import { columnsOf } from "./imports/columns";
import { ImportDetails } from "./imports/details";
import { isRunning } from "./imports/state";
import { Waiting } from "./imports/waiting";
import layout from "../parts/layout.module.css";
import css from "./imports.module.css";

const STATUSES = ["", "queued", "inProgress", "finished", "error", "cancelled"];
const DIALOGS = { cancel: CancelImport, undo: UndoImport, delete: DeleteImport };
const RUNNING_REFRESH_MS = 1_500;
const IDLE_REFRESH_MS = 10_000;

/**
 * @param props `set` and `status` filter the list, `import` is the id of the import whose details
 * are open
 */
export default function Imports({ query }: { query: Record<string, string> }) {
  const { import: open, ...filter } = query;
  const list = useList<Import>("/v1/imports", { couponSetId: query.set, status: query.status });
  usePolling(list.refresh, list.rows.some(isRunning) ? RUNNING_REFRESH_MS : IDLE_REFRESH_MS);
  const [asking, setAsking] = useState<{ act: keyof typeof DIALOGS; one: Import } | null>(null);
  const [changed, setChanged] = useState(0);
  const done = () => {
    setChanged(changed + 1);
    void list.refresh();
    if (asking?.act === "delete" && open) replace("/imports", filter);
  };
  const ask = (act: keyof typeof DIALOGS, one: Import) => setAsking({ act, one });
  const ActionDialog = asking && DIALOGS[asking.act];
  const create = can("imports:write") && (
    <Button kind="primary" icon="import" href={href("/import", { set: query.set })}>
      {t("imports.create")}
    </Button>
  );
  const nothing =
    query.set || query.status ? (
      <Empty
        icon="import"
        title={t(query.status ? "imports.nothing.title" : "imports.emptySet.title")}
        action={<Button onClick={() => replace("/imports")}>{t("imports.emptySet.action")}</Button>}
      />
    ) : (
      <Empty icon="import" title={t("imports.empty.title")} text={t("imports.empty.text")} action={create} />
    );
  return (
    <Page fill title={t("imports.title")} actions={create}>
      <Waiting />
      <div class={`${layout.toolbar} ${css.importsFilter}`}>
        {can("coupon-sets:read") && (
          <SetPicker
            label={t("imports.filter")}
            hideLabel
            placeholder={t("imports.filter.all")}
            type="multiple"
            value={query.set ?? null}
            onChange={(set: { id: string } | null) => replace("/imports", { ...filter, set: set?.id })}
          />
        )}
        <Select
          label={t("imports.state")}
          hideLabel
          value={query.status ?? ""}
          options={STATUSES.map((value) => ({ value, title: t(value ? `imports.state.${value}` : "imports.state.all") }))}
          onChange={(status: string) => replace("/imports", { ...filter, status })}
        />
      </div>
      <ProblemBox problem={list.problem} onRetry={list.refresh} />
      <Table
        class={css.table}
        fill
        label={t("imports.title")}
        columns={columnsOf(ask)}
        rows={list.rows}
        more={list.more}
        loading={list.loading}
        onMore={list.loadMore}
        empty={!list.problem && nothing}
      />
      {open && <ImportDetails key={open} id={open} changed={changed} onAct={ask} onClose={() => replace("/imports", filter)} />}
      {asking && ActionDialog && <ActionDialog one={asking.one} onClose={() => setAsking(null)} onDone={done} />}
    </Page>
  );
}
