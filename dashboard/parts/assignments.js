/** Columns, badges and actions of assignments, which the screens of a set, a code and a contact share. */
import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { path } from "../address.js";
import { api } from "../api.js";
import { t } from "../i18n.js";
import { can } from "../session.js";
import { Badge } from "./badge.js";
import { Code } from "./copy.js";
import { Confirm } from "./dialog.js";
import { TextField } from "./field.js";
import { Menu } from "./menu.js";
import { Time } from "./time.js";
import { toast } from "./toast.js";
import { Until } from "./until.js";

/** @typedef {"release" | "void"} Ending */
/** @typedef {{ assignment: any, ending: Ending }} Ended */

/** @type {Record<string, "good" | "bad" | "info">} */
const KINDS = { available: "good", reserved: "info", assigned: "info", sent: "info", used: "good", void: "bad" };

/** The status of a code or an assignment as a badge. @param {{ status: string }} props */
export function Status({ status }) {
  return html`<${Badge} kind=${KINDS[status]}>${t(`common.status.${status}`)}<//>`;
}

/** @param {{ id: string | null }} props */
export function Contact({ id }) {
  if (id === null) return "–";
  if (!can("contacts:read")) return html`<span title=${id}>${id}</span>`;
  return html`<a href=${path`#/contacts/${id}`} title=${id}>${id}</a>`;
}

/** A code that links to its history. @param {{ code: string }} props */
export function CodeLink({ code }) {
  return html`<${Code} code=${code} href=${can("coupon-sets:read") ? path`#/codes/${code}` : undefined} />`;
}

/**
 * The workflow that requested an assignment; its tooltip has the node and the execution.
 * @param {{ assignment: any, names: Map<string, string> }} props
 */
function Requester({ assignment, names }) {
  const { workflowId, nodeId, executionId } = assignment;
  const details = [workflowId, nodeId, executionId].filter(Boolean).join(" · ");
  if (!details) return "–";
  return html`<span title=${details}>${names.get(workflowId) ?? workflowId ?? nodeId ?? executionId}</span>`;
}

/**
 * The columns of a list of assignments, with the menu that ends one.
 * @param {{ names: Map<string, string>, onEnd: (ended: Ended) => void }} options `names` are those of workflows
 * @returns {Record<"code" | "contact" | "state" | "assignedAt" | "workflow" | "expiresAt" | "menu", import("./table.js").Column>}
 */
export function assignmentColumns({ names, onEnd }) {
  /** @type {(id: string, cell: (row: any) => any) => import("./table.js").Column} */
  const column = (id, cell) => ({ id, title: t(`assignments.column.${id}`), cell });
  return {
    code: { ...column("code", (one) => html`<${CodeLink} code=${one.couponCode} />`), main: true },
    contact: column("contact", (one) => html`<${Contact} id=${one.contactId} />`),
    state: column("state", (one) => html`<${Status} status=${one.state} />`),
    assignedAt: column("assignedAt", (one) => html`<${Time} at=${one.assignedAt} />`),
    workflow: column("workflow", (one) => html`<${Requester} assignment=${one} names=${names} />`),
    expiresAt: column("expiresAt", (one) => html`<${Until} at=${one.expiresAt} timeZone=${one.timezone} />`),
    menu: { ...column("menu", (one) => html`<${Endings} assignment=${one} onEnd=${onEnd} />`), bare: true },
  };
}

/** @param {{ assignment: any, onEnd: (ended: Ended) => void }} props */
export function Endings({ assignment, onEnd }) {
  const { state, couponCode, contactId } = assignment;
  if (!can("assignments:write")) return null;
  /** @type {(import("./menu.js").Item | false)[]} */
  const items = [
    ["reserved", "assigned"].includes(state) && {
      title: t("assignments.release"),
      icon: "undo",
      onSelect: () => onEnd({ assignment, ending: "release" }),
    },
    ["reserved", "assigned", "sent"].includes(state) && {
      title: t("assignments.void"),
      icon: "close",
      danger: true,
      onSelect: () => onEnd({ assignment, ending: "void" }),
    },
  ];
  const possible = items.filter((item) => item !== false);
  if (possible.length === 0) return null;
  return html`<${Menu} label=${t("assignments.actionsOf", { code: couponCode, contact: contactId })} items=${possible} />`;
}

/**
 * Asks for confirmation and an optional reason before an assignment is released or voided.
 * @param {{ ended: Ended, onClose: () => void, onDone: () => void }} props
 */
export function EndAssignment({ ended, onClose, onDone }) {
  const { assignment, ending } = ended;
  const [reason, setReason] = useState("");
  const confirm = async () => {
    await api.send("POST", path`/v1/assignments/${assignment.id}/${ending}`, { reason: reason.trim() || null });
    toast(t(`assignments.${ending}.done`, { code: assignment.couponCode }));
    onDone();
  };
  const values = { code: assignment.couponCode, contact: assignment.contactId };
  return html`
    <${Confirm} danger=${ending === "void"} title=${t(`assignments.${ending}.title`, values)} action=${t(`assignments.${ending}`)}
      onConfirm=${confirm} onClose=${onClose}>
      <p class="breakable">${t(`assignments.${ending}.text`, values)}</p>
      <${TextField} label=${t("assignments.reason")} hint=${t("assignments.reason.hint")} value=${reason} onChange=${setReason} maxlength="500" />
    <//>
  `;
}
