import { useState } from "preact/hooks";

import { path } from "../../address";
import { api } from "../../api";
import { t } from "../../i18n";
import { go } from "../../location";
import { Confirm } from "../../parts/dialog";
import { Checkbox, TextField } from "../../parts/field";
import { toast } from "../../parts/toast";
import type { Schema } from "../../schemas";
import layout from "../../parts/layout.module.css";

/** Merges a contact into another one. It can't be undone, so the user must confirm that. */
export function Merge({ id, onClose }: { id: string; onClose: () => void }) {
  const [typed, setTyped] = useState("");
  const [sure, setSure] = useState(false);
  const into = typed.trim();
  const same = into === id;
  const confirm = async () => {
    const merged = await api.send<Schema<"Merge">>("POST", path`/v1/contacts/${id}/merge`, { into });
    toast(t("contacts.merge.done", { from: id, into: merged.mergedInto }));
    go(path`/contacts/${merged.mergedInto}`);
  };
  return (
    <Confirm
      danger
      title={t("contacts.merge.title")}
      action={t("contacts.merge.action")}
      disabled={!into || same || !sure}
      onConfirm={confirm}
      onClose={onClose}
    >
      <p class={layout.breakable}>{t("contacts.merge.text", { id })}</p>
      <ul class={layout.effects}>
        <li>{t("contacts.merge.history")}</li>
        <li>{t("contacts.merge.limits")}</li>
        <li>{t("contacts.merge.later")}</li>
      </ul>
      <TextField
        label={t("contacts.merge.into")}
        hint={t("contacts.merge.into.hint")}
        fault={same ? t("contacts.merge.same") : null}
        value={typed}
        onChange={setTyped}
        maxlength="255"
        spellcheck={false}
        autocapitalize="off"
      />
      <Checkbox label={t("contacts.merge.sure")} checked={sure} onChange={setSure} />
    </Confirm>
  );
}
