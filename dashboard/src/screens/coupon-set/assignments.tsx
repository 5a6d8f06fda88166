import { useState } from "preact/hooks";

import { useList, usePolling } from "../../hooks";
import { t } from "../../i18n";
import { place, replace } from "../../location";
import { assignmentColumns, EndAssignment, type Ended } from "../../parts/assignments";
import { Badge } from "../../parts/badge";
import { Button } from "../../parts/button";
import { Days, instantsOf } from "../../parts/days";
import { Empty } from "../../parts/empty";
import { useWorkflowNames } from "../../parts/names";
import { ProblemBox } from "../../parts/problem";
import { QueryField } from "../../parts/query-field";
import { Table } from "../../parts/table";
import type { Assignment, CouponSet } from "../../schemas";
import layout from "../../parts/layout.module.css";
import tableCss from "../../parts/table.module.css";

const REFRESH_MS = 5_000;
const MAX_POLLED_ROWS = 300;

/** The assignments of a set, newest first. */
export function Assignments({ set, query, onChanged }: { set: CouponSet; query: Record<string, string>; onChanged: () => void }) {
  const { contact = "", code = "", workflow = "", from = "", to = "" } = query;
  const list = useList<Assignment>("/v1/assignments", {
    couponSetId: set.id,
    contactId: contact,
    code,
    workflowId: workflow,
    ...instantsOf(query),
  });
  // A user who has scrolled far down is reading, so the list must not move.
  usePolling(list.refresh, list.rows.length > MAX_POLLED_ROWS ? null : REFRESH_MS);
  const names = useWorkflowNames();
  const [ended, setEnded] = useState<Ended | null>(null);
  const filtered = Boolean(contact || code || workflow || from || to);
  const columns = assignmentColumns({ names, onEnd: setEnded });
  const state = {
    ...columns.state,
    cell: (one: Assignment) => (
      <>
        {columns.state.cell(one)}
        {one.requestedCouponSetId !== set.id && (
          <>
            {" "}
            <Fallback />
          </>
        )}
      </>
    ),
  };
  const put: (name: string) => (value: string) => void = (name) => (value) => change({ [name]: value });
  const done = () => {
    void list.refresh();
    onChanged();
  };
  const all = <Button onClick={() => replace(place.peek().path)}>{t("set.assignments.all")}</Button>;
  return (
    <>
      <div class={layout.filters}>
        <QueryField label={t("set.filter.contact")} value={contact} onChange={put("contact")} />
        {set.type === "multiple" && <QueryField label={t("set.filter.code")} value={code} onChange={put("code")} />}
        <QueryField label={t("set.filter.workflow")} value={workflow} onChange={put("workflow")} />
        <Days from={from} to={to} onChange={change} />
      </div>
      <ProblemBox problem={list.problem} onRetry={list.refresh} />
      <Table
        class={tableCss.historyTable}
        fill
        label={t("set.tab.assignments")}
        rows={list.rows}
        more={list.more}
        loading={list.loading}
        onMore={list.loadMore}
        columns={[columns.code, columns.contact, state, columns.assignedAt, columns.workflow, columns.expiresAt, columns.menu]}
        empty={
          !list.problem &&
          (filtered ? (
            <Empty icon="search" title={t("set.assignments.nothing")} text={t("set.assignments.nothing.text")} action={all} />
          ) : (
            <Empty icon="contact" title={t("set.assignments.empty")} text={t("set.assignments.empty.text")} />
          ))
        }
      />
      {ended && <EndAssignment ended={ended} onClose={() => setEnded(null)} onDone={done} />}
    </>
  );
}

function Fallback() {
  return (
    <span title={t("set.servedForOther.hint")}>
      <Badge>{t("set.servedForOther")}</Badge>
    </span>
  );
}

/** Writes filters to the address. */
function change(changed: Record<string, string | undefined>) {
  const { path: here, query } = place.peek();
  replace(here, { ...query, ...changed });
}
