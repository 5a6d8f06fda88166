/** The actions on an import, each with a confirmation. */
import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";

import { path } from "../../address.js";
import { api, problemOf } from "../../api.js";
import { number } from "../../format.js";
import { t } from "../../i18n.js";
import { Confirm } from "../../parts/dialog.js";
import { TextField } from "../../parts/field.js";
import { ProblemBox } from "../../parts/problem.js";
import { Loading } from "../../parts/progress.js";
import { toast } from "../../parts/toast.js";

/** @typedef {{ one: any, onClose: () => void, onDone: () => void }} Props */

/** @param {Props} props */
export function CancelImport({ one, onClose, onDone }) {
  const confirm = async () => {
    await api.send("POST", path`/v1/imports/${one.id}/cancel`);
    toast(t("imports.cancel.done"));
    onDone();
  };
  return html`
    <${Confirm} danger title=${t("imports.cancel.title")} action=${t("imports.cancel")} onConfirm=${confirm} onClose=${onClose}>
      <p>${t("imports.cancel.text")}</p>
    <//>
  `;
}

/** Undoes an import. A dry run first shows how many codes would be withdrawn and how many are already assigned. @param {Props} props */
export function UndoImport({ one, onClose, onDone }) {
  const [dry, setDry] = useState(/** @type {any} */ (null));
  const [problem, setProblem] = useState(/** @type {import("../../api.js").Problem | null} */ (null));
  const [reason, setReason] = useState("");
  const address = path`/v1/imports/${one.id}/undo`;
  const ask = async () => {
    setProblem(null);
    try {
      setDry(await api.send("POST", address, undefined, { query: { dryRun: true } }));
    } catch (failure) {
      setProblem(problemOf(failure));
    }
  };
  useEffect(() => void ask(), []);
  const confirm = async () => {
    const { withdrawn } = await api.send("POST", address, reason.trim() ? { reason: reason.trim() } : undefined);
    toast(t("imports.undo.done", { n: withdrawn }));
    onDone();
  };
  const action = dry?.withdrawn > 0 ? t("imports.undo.action", { n: dry.withdrawn }) : t("imports.undo.nothing");
  return html`
    <${Confirm} danger title=${t("imports.undo.title")} action=${action} disabled=${!dry} onConfirm=${confirm} onClose=${onClose}>
      <${ProblemBox} problem=${problem} onRetry=${ask} />
      ${!dry && !problem && html`<${Loading} label=${t("imports.undo.asking")} />`}
      ${dry && html`
        <p>${t("imports.undo.text")}</p>
        <dl class="totals">
          <div class="bad"><dt>${t("imports.undo.withdrawn")}</dt><dd>${number(dry.withdrawn)}</dd></div>
          <div><dt>${t("imports.undo.kept")}</dt><dd>${number(dry.kept)}</dd></div>
          ${dry.withdrawnBefore > 0 && html`<div><dt>${t("imports.undo.before")}</dt><dd>${number(dry.withdrawnBefore)}</dd></div>`}
        </dl>
        <${TextField} label=${t("imports.undo.reason")} hint=${t("imports.undo.reason.hint")} value=${reason} onChange=${setReason} maxlength="500" />
      `}
    <//>
  `;
}

/** @param {Props} props */
export function DeleteImport({ one, onClose, onDone }) {
  const confirm = async () => {
    await api.send("DELETE", path`/v1/imports/${one.id}`);
    toast(t("imports.delete.done"));
    onDone();
  };
  return html`
    <${Confirm} danger title=${t("imports.delete.title")} action=${t("imports.delete")} onConfirm=${confirm} onClose=${onClose}>
      <p>${t("imports.delete.text")}</p>
    <//>
  `;
}
