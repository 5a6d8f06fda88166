import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { path } from "../../address.js";
import { api } from "../../api.js";
import { t } from "../../i18n.js";
import { Badge } from "../../parts/badge.js";
import { Button } from "../../parts/button.js";
import { Confirm } from "../../parts/dialog.js";
import { Empty } from "../../parts/empty.js";
import { SearchField } from "../../parts/field.js";
import { Menu } from "../../parts/menu.js";
import { ProblemBox } from "../../parts/problem.js";
import { SetName } from "../../parts/set-name.js";
import { Table } from "../../parts/table.js";
import { Time } from "../../parts/time.js";
import { toast } from "../../parts/toast.js";
import { can } from "../../session.js";
import { useAll } from "./all.js";
import { Lead } from "./lead.js";
import { PutWorkflow } from "./workflow-form.js";

/** @typedef {"draft" | "active" | "paused" | "finished"} WorkflowState */
/** @typedef {{ id: string, name: string, state: WorkflowState, couponSetIds: string[], createdAt: string, updatedAt: string }} Workflow */
/** @typedef {{ workflow: Workflow | null, dialog: "put" | "delete" }} Opened */

const KINDS = /** @type {const} */ ({ draft: "neutral", active: "good", paused: "warn", finished: "neutral" });
/** Number of workflows up to which there is no search field. */
const FEW = 8;
/** Number of sets that fit in a row. */
const SHOWN_SETS = 2;

export function Workflows() {
  const list = useAll("/v1/workflows");
  const [typed, setTyped] = useState("");
  const [open, setOpen] = useState(/** @type {Opened | null} */ (null));
  const close = () => setOpen(null);
  const sought = typed.trim().toLowerCase();
  const rows = list.rows.filter(({ id, name }) => id.toLowerCase().includes(sought) || name.toLowerCase().includes(sought));
  rows.sort((a, b) => a.name.localeCompare(b.name));
  const create = (/** @type {string} */ text) => can("workflows:write") && html`
    <${Button} kind="primary" icon="plus" onClick=${() => setOpen({ workflow: null, dialog: "put" })}>${text}<//>
  `;
  const none = list.rows.length > 0
    ? html`<${Empty} icon="search" title=${t("settings.workflows.nothing")} action=${html`<${Button} onClick=${() => setTyped("")}>${t("common.clear")}<//>`} />`
    : html`
      <${Empty} icon="workflow" title=${t("settings.workflows.none")} text=${t("settings.workflows.none.text")}
        action=${create(t("settings.workflows.createFirst"))} />
    `;
  return html`
    <${Lead} text=${t("settings.workflows.lead")} action=${list.rows.length > 0 && create(t("settings.workflows.create"))} />
    ${list.rows.length > FEW && html`<${SearchField} label=${t("settings.workflows.search")} value=${typed} onChange=${setTyped} />`}
    <${ProblemBox} problem=${list.problem} onRetry=${list.refresh} />
    <${Table} label=${t("settings.tab.workflows")} columns=${columnsOf(setOpen)} rows=${rows} loading=${list.loading} empty=${!list.problem && none} />
    ${open?.dialog === "put" && html`<${PutWorkflow} workflow=${open.workflow} known=${list.rows} onClose=${close} onSaved=${list.refresh} />`}
    ${open?.dialog === "delete" && open.workflow && html`
      <${DeleteWorkflow} workflow=${open.workflow} onClose=${close} onDeleted=${list.refresh} />
    `}
  `;
}

/**
 * @param {(opened: Opened) => void} open
 * @returns {import("../../parts/table.js").Column[]}
 */
function columnsOf(open) {
  return [
    { id: "name", title: t("settings.workflows.name"), main: true, cell: (workflow) => html`<${Name} ...${{ workflow, open }} />` },
    { id: "state", title: t("settings.workflows.state"), cell: ({ state }) => html`<${State} state=${state} />` },
    { id: "updated", title: t("settings.updated"), cell: ({ updatedAt }) => html`<${Time} at=${updatedAt} as="ago" />` },
    { id: "sets", title: t("settings.workflows.sets"), cell: ({ couponSetIds }) => html`<${Sets} ids=${couponSetIds} />` },
    { id: "menu", title: t("settings.actions"), bare: true, cell: (workflow) => html`<${Actions} ...${{ workflow, open }} />` },
  ];
}

/** @param {{ workflow: Workflow, open: (opened: Opened) => void }} props */
function Name({ workflow, open }) {
  const { id, name } = workflow;
  return html`
    <span class="lines">
      ${can("workflows:write")
        ? html`<button type="button" class="row-link" title=${name} onClick=${() => open({ workflow, dialog: "put" })}>${name}</button>`
        : html`<strong title=${name}>${name}</strong>`}
      <code class="soft" title=${id}>${id}</code>
    </span>
  `;
}

/** @param {{ state: WorkflowState }} props */
function State({ state }) {
  return html`<${Badge} kind=${KINDS[state]}>${t(`settings.workflow.${state}`)}<//>`;
}

/** @param {{ ids: string[] }} props */
function Sets({ ids }) {
  if (ids.length === 0) return "–";
  const rest = ids.length - SHOWN_SETS;
  return html`
    <span class="set-names">
      ${ids.slice(0, SHOWN_SETS).map((id) => html`<${SetName} key=${id} id=${id} />`)}
      ${rest > 0 && html`<span class="more-sets soft">${t("settings.workflows.moreSets", { n: rest })}</span>`}
    </span>
  `;
}

/** @param {{ workflow: Workflow, open: (opened: Opened) => void }} props */
function Actions({ workflow, open }) {
  if (!can("workflows:write")) return null;
  /** @type {import("../../parts/menu.js").Item[]} */
  const items = [
    { title: t("settings.edit"), icon: "edit", onSelect: () => open({ workflow, dialog: "put" }) },
    { title: t("settings.delete"), icon: "delete", danger: true, onSelect: () => open({ workflow, dialog: "delete" }) },
  ];
  return html`<span class="row-actions"><${Menu} label=${t("settings.actionsOf", { name: workflow.name })} items=${items} /></span>`;
}

/** @param {{ workflow: Workflow, onClose: () => void, onDeleted: () => void }} props */
function DeleteWorkflow({ workflow, onClose, onDeleted }) {
  const confirm = async () => {
    await api.send("DELETE", path`/v1/workflows/${workflow.id}`);
    toast(t("settings.workflows.deleted", { name: workflow.name }));
    onDeleted();
  };
  return html`
    <${Confirm} danger title=${t("settings.workflows.delete.title", { name: workflow.name })} action=${t("settings.delete")} onConfirm=${confirm}
      onClose=${onClose}>
      <p>${t("settings.workflows.delete.text")}</p>
    <//>
  `;
}
