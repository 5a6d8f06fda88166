/** The actions on an import, each with a confirmation. */
import { useEffect, useState } from "preact/hooks";

import { path } from "../../address";
import { api, problemOf, type Problem } from "../../api";
import { number } from "../../format";
import { t } from "../../i18n";
import { Confirm } from "../../parts/dialog";
import { TextField } from "../../parts/field";
import { ProblemBox } from "../../parts/problem";
import { Loading } from "../../parts/progress";
import { toast } from "../../parts/toast";
import type { Import, Schema } from "../../schemas";
import css from "../imports.module.css";

export type Props = { one: Import; onClose: () => void; onDone: () => void };

export function CancelImport({ one, onClose, onDone }: Props) {
  const confirm = async () => {
    await api.send("POST", path`/v1/imports/${one.id}/cancel`);
    toast(t("imports.cancel.done"));
    onDone();
  };
  return (
    <Confirm danger title={t("imports.cancel.title")} action={t("imports.cancel")} onConfirm={confirm} onClose={onClose}>
      <p>{t("imports.cancel.text")}</p>
    </Confirm>
  );
}

/** Undoes an import. A dry run first shows how many codes would be withdrawn and how many are already assigned. */
export function UndoImport({ one, onClose, onDone }: Props) {
  const [dry, setDry] = useState<Schema<"Undo"> | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [reason, setReason] = useState("");
  const address = path`/v1/imports/${one.id}/undo`;
  const ask = async () => {
    setProblem(null);
    try {
      setDry(await api.send<Schema<"Undo">>("POST", address, undefined, { query: { dryRun: true } }));
    } catch (failure) {
      setProblem(problemOf(failure));
    }
  };
  useEffect(() => void ask(), []);
  const confirm = async () => {
    const { withdrawn } = await api.send<Schema<"Undo">>("POST", address, reason.trim() ? { reason: reason.trim() } : undefined);
    toast(t("imports.undo.done", { n: withdrawn }));
    onDone();
  };
  const action = dry && dry.withdrawn > 0 ? t("imports.undo.action", { n: dry.withdrawn }) : t("imports.undo.nothing");
  return (
    <Confirm danger title={t("imports.undo.title")} action={action} disabled={!dry} onConfirm={confirm} onClose={onClose}>
      <ProblemBox problem={problem} onRetry={ask} />
      {!dry && !problem && <Loading label={t("imports.undo.asking")} />}
      {dry && (
        <>
          <p>{t("imports.undo.text")}</p>
          <dl class={css.totals} data-part="totals">
            <div class={css.bad}>
              <dt>{t("imports.undo.withdrawn")}</dt>
              <dd>{number(dry.withdrawn)}</dd>
            </div>
            <div>
              <dt>{t("imports.undo.kept")}</dt>
              <dd>{number(dry.kept)}</dd>
            </div>
            {dry.withdrawnBefore > 0 && (
              <div>
                <dt>{t("imports.undo.before")}</dt>
                <dd>{number(dry.withdrawnBefore)}</dd>
              </div>
            )}
          </dl>
          <TextField
            label={t("imports.undo.reason")}
            hint={t("imports.undo.reason.hint")}
            value={reason}
            onChange={setReason}
            maxlength="500"
          />
        </>
      )}
    </Confirm>
  );
}

export function DeleteImport({ one, onClose, onDone }: Props) {
  const confirm = async () => {
    await api.send("DELETE", path`/v1/imports/${one.id}`);
    toast(t("imports.delete.done"));
    onDone();
  };
  return (
    <Confirm danger title={t("imports.delete.title")} action={t("imports.delete")} onConfirm={confirm} onClose={onClose}>
      <p>{t("imports.delete.text")}</p>
    </Confirm>
  );
}
