import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import type { Query } from "../../address";
import { useList, usePolling } from "../../hooks";
import { t } from "../../i18n";
import { assignmentColumns, EndAssignment, type Ended } from "../../parts/assignments";
import { useWorkflowNames } from "../../parts/names";
import { ProblemBox } from "../../parts/problem";
import { SetName } from "../../parts/set-name";
import { Table } from "../../parts/table";
import type { Schema } from "../../schemas";
import tableCss from "../../parts/table.module.css";

const REFRESH_MS = 5_000;
const MAX_POLLED_ROWS = 300;

/**
 * The assignments of a contact, loaded page by page.
 * @param props with `activity` each row has the type of the activity
 */
export function AssignmentList({
  label,
  address,
  query = {},
  activity = false,
  empty,
}: {
  label: string;
  address: string;
  query?: Query;
  activity?: boolean;
  empty: ComponentChildren;
}) {
  const list = useList<Schema<"Activity">>(address, query);
  usePolling(list.refresh, list.rows.length > MAX_POLLED_ROWS ? null : REFRESH_MS);
  const names = useWorkflowNames();
  const [ended, setEnded] = useState<Ended | null>(null);
  const columns = assignmentColumns({ names, onEnd: setEnded });
  const set = { id: "set", title: t("contacts.column.set"), cell: (one: Schema<"Activity">) => <SetName id={one.couponSetId} /> };
  const type = { id: "what", title: t("contacts.column.what"), cell: (one: Schema<"Activity">) => t(`contacts.type.${one.type}`) };
  const shown = [columns.code, set, columns.state, columns.assignedAt, columns.workflow, columns.expiresAt, columns.menu];
  return (
    <>
      <ProblemBox problem={list.problem} onRetry={list.refresh} />
      <Table
        class={tableCss.historyTable}
        fill
        label={label}
        columns={activity ? [shown[0], type, ...shown.slice(1)] : shown}
        rows={list.rows}
        more={list.more}
        loading={list.loading}
        onMore={list.loadMore}
        empty={!list.problem && empty}
      />
      {ended && <EndAssignment ended={ended} onClose={() => setEnded(null)} onDone={list.refresh} />}
    </>
  );
}
