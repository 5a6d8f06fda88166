/** The import history, with the report of each import and the actions cancel, undo and delete. */
import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { href } from "../address.js";
import { useList, usePolling } from "../hooks.js";
import { t } from "../i18n.js";
import { replace } from "../location.js";
import { Button } from "../parts/button.js";
import { Empty } from "../parts/empty.js";
import { Select } from "../parts/field.js";
import { Page } from "../parts/page.js";
import { ProblemBox } from "../parts/problem.js";
import { SetPicker } from "../parts/set-picker.js";
import { Table } from "../parts/table.js";
import { can } from "../session.js";
import { CancelImport, DeleteImport, UndoImport } from "./imports/actions.js";
import { columnsOf } from "./imports/columns.js";
import { ImportDetails } from "./imports/details.js";
import { isRunning } from "./imports/state.js";
import { Waiting } from "./imports/waiting.js";

const STATUSES = ["", "queued", "inProgress", "finished", "error", "cancelled"];
const DIALOGS = { cancel: CancelImport, undo: UndoImport, delete: DeleteImport };
const RUNNING_REFRESH_MS = 1_500;
const IDLE_REFRESH_MS = 10_000;

/**
 * @param {{ query: Record<string, string> }} props `set` and `status` filter the list, `import` is the id of the import whose details
 *   are open
 */
export default function Imports({ query }) {
  const { import: open, ...filter } = query;
  const list = useList("/v1/imports", { couponSetId: query.set, status: query.status });
  usePolling(list.refresh, list.rows.some(isRunning) ? RUNNING_REFRESH_MS : IDLE_REFRESH_MS);
  const [asking, setAsking] = useState(/** @type {{ act: keyof typeof DIALOGS, one: any } | null} */ (null));
  const [changed, setChanged] = useState(0);
  const done = () => {
    setChanged(changed + 1);
    void list.refresh();
    if (asking?.act === "delete" && open) replace("/imports", filter);
  };
  const ask = (/** @type {keyof typeof DIALOGS} */ act, /** @type {any} */ one) => setAsking({ act, one });
  const ActionDialog = asking && DIALOGS[asking.act];
  const create = can("imports:write") && html`<${Button} kind="primary" icon="import" href=${href("/import", { set: query.set })}>${t("imports.create")}<//>`;
  const nothing = query.set || query.status
    ? html`<${Empty} icon="import" title=${t(query.status ? "imports.nothing.title" : "imports.emptySet.title")} action=${html`<${Button} onClick=${() => replace("/imports")}>${t("imports.emptySet.action")}<//>`} />`
    : html`<${Empty} icon="import" title=${t("imports.empty.title")} text=${t("imports.empty.text")} action=${create} />`;
  return html`
    <${Page} fill title=${t("imports.title")} actions=${create}>
      <${Waiting} />
      <div class="toolbar imports-filter">
        ${can("coupon-sets:read") && html`
          <${SetPicker} label=${t("imports.filter")} hideLabel placeholder=${t("imports.filter.all")} type="multiple" value=${query.set ?? null}
            onChange=${(/** @type {{ id: string } | null} */ set) => replace("/imports", { ...filter, set: set?.id })} />
        `}
        <${Select} label=${t("imports.state")} hideLabel value=${query.status ?? ""}
          options=${STATUSES.map((value) => ({ value, title: t(value ? `imports.state.${value}` : "imports.state.all") }))}
          onChange=${(/** @type {string} */ status) => replace("/imports", { ...filter, status })} />
      </div>
      <${ProblemBox} problem=${list.problem} onRetry=${list.refresh} />
      <${Table} fill label=${t("imports.title")} columns=${columnsOf(ask)} rows=${list.rows} more=${list.more} loading=${list.loading}
        onMore=${list.loadMore} empty=${!list.problem && nothing} />
      ${open && html`
        <${ImportDetails} key=${open} id=${open} changed=${changed} onAct=${ask} onClose=${() => replace("/imports", filter)} />
      `}
      ${asking && ActionDialog && html`<${ActionDialog} one=${asking.one} onClose=${() => setAsking(null)} onDone=${done} />`}
    <//>
  `;
}
