/** Columns, badges and actions of assignments, which the screens of a set, a code and a contact share. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { path } from "../address";
import { api } from "../api";
import { t } from "../i18n";
import type { Assignment } from "../schemas";
import { can } from "../session";
import { Badge } from "./badge";
import { Code } from "./copy";
import { Confirm } from "./dialog";
import { TextField } from "./field";
import { Menu, type Item } from "./menu";
import type { Column } from "./table";
import { Time } from "./time";
import { toast } from "./toast";
import { Until } from "./until";
import layout from "./layout.module.css";

export type Ending = "release" | "void";

export type Ended = { assignment: Assignment; ending: Ending };

const KINDS: Record<string, "good" | "bad" | "info"> = {
  available: "good",
  reserved: "info",
  assigned: "info",
  sent: "info",
  used: "good",
  void: "bad",
};

/** The status of a code or an assignment as a badge. */
export function Status({ status }: { status: string }) {
  return <Badge kind={KINDS[status]}>{t(`common.status.${status}`)}</Badge>;
}

export function Contact({ id }: { id: string | null }) {
  if (id === null) return "–";
  if (!can("contacts:read")) return <span title={id}>{id}</span>;
  return (
    <a href={path`#/contacts/${id}`} title={id}>
      {id}
    </a>
  );
}

/** A code that links to its history. */
export function CodeLink({ code }: { code: string }) {
  return <Code code={code} href={can("coupon-sets:read") ? path`#/codes/${code}` : undefined} />;
}

/** The workflow that requested an assignment; its tooltip has the node and the execution. */
function Requester({ assignment, names }: { assignment: Assignment; names: Map<string, string> }) {
  const { workflowId, nodeId, executionId } = assignment;
  const details = [workflowId, nodeId, executionId].filter(Boolean).join(" · ");
  if (!details) return "–";
  return <span title={details}>{(workflowId && names.get(workflowId)) ?? workflowId ?? nodeId ?? executionId}</span>;
}

/**
 * The columns of a list of assignments, with the menu that ends one.
 * @param options `names` are those of workflows
 */
export function assignmentColumns({
  names,
  onEnd,
}: {
  names: Map<string, string>;
  onEnd: (ended: Ended) => void;
}): Record<"code" | "contact" | "state" | "assignedAt" | "workflow" | "expiresAt" | "menu", Column<Assignment>> {
  const column: (id: string, cell: (row: Assignment) => ComponentChildren) => Column<Assignment> = (id, cell) => ({
    id,
    title: t(`assignments.column.${id}`),
    cell,
  });
  return {
    code: { ...column("code", (one) => <CodeLink code={one.couponCode} />), main: true },
    contact: column("contact", (one) => <Contact id={one.contactId} />),
    state: column("state", (one) => <Status status={one.state} />),
    assignedAt: column("assignedAt", (one) => <Time at={one.assignedAt} />),
    workflow: column("workflow", (one) => <Requester assignment={one} names={names} />),
    expiresAt: column("expiresAt", (one) => <Until at={one.expiresAt} timeZone={one.timezone} />),
    menu: { ...column("menu", (one) => <Endings assignment={one} onEnd={onEnd} />), bare: true },
  };
}

export function Endings({ assignment, onEnd }: { assignment: Assignment; onEnd: (ended: Ended) => void }) {
  const { state, couponCode, contactId } = assignment;
  if (!can("assignments:write")) return null;
  const items: (Item | false)[] = [
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
  return <Menu label={t("assignments.actionsOf", { code: couponCode, contact: contactId })} items={possible} />;
}

/** Asks for confirmation and an optional reason before an assignment is released or voided. */
export function EndAssignment({ ended, onClose, onDone }: { ended: Ended; onClose: () => void; onDone: () => void }) {
  const { assignment, ending } = ended;
  const [reason, setReason] = useState("");
  const confirm = async () => {
    await api.send("POST", path`/v1/assignments/${assignment.id}/${ending}`, { reason: reason.trim() || null });
    toast(t(`assignments.${ending}.done`, { code: assignment.couponCode }));
    onDone();
  };
  const values = { code: assignment.couponCode, contact: assignment.contactId };
  return (
    <Confirm
      danger={ending === "void"}
      title={t(`assignments.${ending}.title`, values)}
      action={t(`assignments.${ending}`)}
      onConfirm={confirm}
      onClose={onClose}
    >
      <p class={layout.breakable}>{t(`assignments.${ending}.text`, values)}</p>
      <TextField label={t("assignments.reason")} hint={t("assignments.reason.hint")} value={reason} onChange={setReason} maxlength="500" />
    </Confirm>
  );
}
