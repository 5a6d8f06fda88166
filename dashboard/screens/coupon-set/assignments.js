import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { useList, usePolling } from "../../hooks.js";
import { t } from "../../i18n.js";
import { place, replace } from "../../location.js";
import { assignmentColumns, EndAssignment } from "../../parts/assignments.js";
import { Badge } from "../../parts/badge.js";
import { Button } from "../../parts/button.js";
import { Days, instantsOf } from "../../parts/days.js";
import { Empty } from "../../parts/empty.js";
import { useWorkflowNames } from "../../parts/names.js";
import { ProblemBox } from "../../parts/problem.js";
import { QueryField } from "../../parts/query-field.js";
import { Table } from "../../parts/table.js";

const REFRESH_MS = 5_000;
const MAX_POLLED_ROWS = 300;

/**
 * The assignments of a set, newest first.
 * @param {{ set: any, query: Record<string, string>, onChanged: () => void }} props
 */
export function Assignments({ set, query, onChanged }) {
  const { contact = "", code = "", workflow = "", from = "", to = "" } = query;
  const list = useList("/v1/assignments", { couponSetId: set.id, contactId: contact, code, workflowId: workflow, ...instantsOf(query) });
  // A user who has scrolled far down is reading, so the list must not move.
  usePolling(list.refresh, list.rows.length > MAX_POLLED_ROWS ? null : REFRESH_MS);
  const names = useWorkflowNames();
  const [ended, setEnded] = useState(/** @type {import("../../parts/assignments.js").Ended | null} */ (null));
  const filtered = Boolean(contact || code || workflow || from || to);
  const columns = assignmentColumns({ names, onEnd: setEnded });
  const state = { ...columns.state, cell: (/** @type {any} */ one) => html`${columns.state.cell(one)}${one.requestedCouponSetId !== set.id && html` <${Fallback} />`}` };
  /** @type {(name: string) => (value: string) => void} */
  const put = (name) => (value) => change({ [name]: value });
  const done = () => {
    void list.refresh();
    onChanged();
  };
  const all = html`<${Button} onClick=${() => replace(place.peek().path)}>${t("set.assignments.all")}<//>`;
  return html`
    <div class="filters">
      <${QueryField} label=${t("set.filter.contact")} value=${contact} onChange=${put("contact")} />
      ${set.type === "multiple" && html`<${QueryField} label=${t("set.filter.code")} value=${code} onChange=${put("code")} />`}
      <${QueryField} label=${t("set.filter.workflow")} value=${workflow} onChange=${put("workflow")} />
      <${Days} from=${from} to=${to} onChange=${change} />
    </div>
    <${ProblemBox} problem=${list.problem} onRetry=${list.refresh} />
    <${Table} fill label=${t("set.tab.assignments")} rows=${list.rows} more=${list.more} loading=${list.loading} onMore=${list.loadMore}
      columns=${[columns.code, columns.contact, state, columns.assignedAt, columns.workflow, columns.expiresAt, columns.menu]}
      empty=${!list.problem && (filtered
        ? html`<${Empty} icon="search" title=${t("set.assignments.nothing")} text=${t("set.assignments.nothing.text")} action=${all} />`
        : html`<${Empty} icon="contact" title=${t("set.assignments.empty")} text=${t("set.assignments.empty.text")} />`)} />
    ${ended && html`<${EndAssignment} ended=${ended} onClose=${() => setEnded(null)} onDone=${done} />`}
  `;
}

function Fallback() {
  return html`<span title=${t("set.servedForOther.hint")}><${Badge}>${t("set.servedForOther")}<//></span>`;
}

/** Writes filters to the address. @param {Record<string, string | undefined>} changed */
function change(changed) {
  const { path: here, query } = place.peek();
  replace(here, { ...query, ...changed });
}
