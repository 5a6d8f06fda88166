import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { useList, usePolling } from "../../hooks.js";
import { t } from "../../i18n.js";
import { assignmentColumns, EndAssignment } from "../../parts/assignments.js";
import { useWorkflowNames } from "../../parts/names.js";
import { ProblemBox } from "../../parts/problem.js";
import { SetName } from "../../parts/set-name.js";
import { Table } from "../../parts/table.js";

const REFRESH_MS = 5_000;
const MAX_POLLED_ROWS = 300;

/**
 * The assignments of a contact, loaded page by page.
 * @param {{ label: string, address: string, query?: import("../../address.js").Query, activity?: boolean, empty: any }} props
 *   with `activity` each row has the type of the activity
 */
export function AssignmentList({ label, address, query = {}, activity = false, empty }) {
  const list = useList(address, query);
  usePolling(list.refresh, list.rows.length > MAX_POLLED_ROWS ? null : REFRESH_MS);
  const names = useWorkflowNames();
  const [ended, setEnded] = useState(/** @type {import("../../parts/assignments.js").Ended | null} */ (null));
  const columns = assignmentColumns({ names, onEnd: setEnded });
  const set = { id: "set", title: t("contacts.column.set"), cell: (/** @type {any} */ one) => html`<${SetName} id=${one.couponSetId} />` };
  const type = { id: "what", title: t("contacts.column.what"), cell: (/** @type {any} */ one) => t(`contacts.type.${one.type}`) };
  const shown = [columns.code, set, columns.state, columns.assignedAt, columns.workflow, columns.expiresAt, columns.menu];
  return html`
    <${ProblemBox} problem=${list.problem} onRetry=${list.refresh} />
    <${Table} fill label=${label} columns=${activity ? [shown[0], type, ...shown.slice(1)] : shown} rows=${list.rows} more=${list.more}
      loading=${list.loading} onMore=${list.loadMore} empty=${!list.problem && empty} />
    ${ended && html`<${EndAssignment} ended=${ended} onClose=${() => setEnded(null)} onDone=${list.refresh} />`}
  `;
}
