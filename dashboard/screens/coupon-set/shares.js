import { html } from "htm/preact";
import { useMemo } from "preact/hooks";

import { dateTime, number } from "../../format.js";
import { useGet } from "../../hooks.js";
import { t } from "../../i18n.js";
import { Choice } from "../../parts/field.js";
import { useWorkflowNames } from "../../parts/names.js";
import { Table } from "../../parts/table.js";
import { can } from "../../session.js";

const LISTS = { workflow: "byWorkflow", node: "byNode", import: "byImport" };
const MOVED = ["assigned", "sent", "used", "released", "void"];
const MOST = 1_000;

/** @typedef {keyof typeof LISTS} By */

/**
 * The breakdown of a period by workflow, node or import.
 * @param {{ statistics: any, set: any, by: string, onBy: (by: By) => void }} props
 */
export function Shares({ statistics, set, by, onBy }) {
  const kinds = /** @type {By[]} */ (Object.keys(LISTS)).filter((kind) => kind !== "import" || set.type === "multiple");
  const chosen = kinds.find((kind) => kind === by) ?? "workflow";
  const workflows = useWorkflowNames();
  const imports = useImportTimes(chosen === "import" ? set.id : null);
  const rows = statistics[LISTS[chosen]];
  /** @type {Record<By, import("../../parts/table.js").Column[]>} */
  const names = {
    workflow: [named("workflow", (row) => nameOf(row, row.workflowId && (workflows.get(row.workflowId) ?? row.workflowId)))],
    node: [
      named("node", (row) => nameOf(row, row.nodeId)),
      { id: "workflow", title: t("set.by.workflow"), cell: (row) => (row.workflowId && (workflows.get(row.workflowId) ?? row.workflowId)) || "–" },
    ],
    import: [named("import", (row) => html`<${ImportName} row=${row} set=${set} at=${imports.get(row.importId)} />`)],
  };
  /** @type {import("../../parts/table.js").Column[]} */
  const numbers = MOVED.map((id) => ({ id, title: t(`set.figure.${id}`), align: "end", cell: (row) => number(row[id]) }));
  return html`
    <section class="block" aria-labelledby="shares">
      <div class="block-head">
        <h2 id="shares">${t("set.shares")}</h2>
        <${Choice} label=${t("set.by")} hideLabel look="segments" value=${chosen} onChange=${onBy}
          options=${kinds.map((value) => ({ value, title: t(`set.by.${value}`) }))} />
      </div>
      <${Table} key=${chosen} label=${t(`set.by.${chosen}`)} columns=${[...names[chosen], ...numbers]} rows=${rows}
        keyOf=${(/** @type {any} */ row) => [row.workflowId, row.nodeId, row.importId, row.others].join()}
        empty=${html`<p class="soft">${t("set.shares.none")}</p>`} />
    </section>
  `;
}

/**
 * @param {By} by
 * @param {(row: any) => any} cell
 * @returns {import("../../parts/table.js").Column}
 */
function named(by, cell) {
  return { id: "name", title: t(`set.by.${by}`), main: true, cell };
}

/**
 * @param {any} row
 * @param {string | null} name
 */
function nameOf(row, name) {
  if (row.others) return t("set.shares.others");
  return name ? html`<span title=${name}>${name}</span>` : html`<span class="soft">${t("set.shares.nobody")}</span>`;
}

/** @param {{ row: any, set: any, at: string | undefined }} props */
function ImportName({ row, set, at }) {
  if (!row.importId) return nameOf(row, null);
  const name = at ? t("set.importOf", { when: dateTime(at) }) : row.importId;
  return can("imports:read") ? html`<a href=${`#/imports?set=${set.id}`} title=${row.importId}>${name}</a>` : name;
}

/**
 * The times of the imports of a set, by id: a time is a better name than an id.
 * @param {string | null} couponSetId
 * @returns {Map<string, string>}
 */
function useImportTimes(couponSetId) {
  const { value } = useGet(couponSetId && can("imports:read") ? "/v1/imports" : null, { couponSetId, limit: MOST });
  return useMemo(() => new Map((value?.results ?? []).map((/** @type {any} */ one) => [one.id, one.createdAt])), [value]);
}
