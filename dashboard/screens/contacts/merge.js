import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { path } from "../../address.js";
import { api } from "../../api.js";
import { t } from "../../i18n.js";
import { go } from "../../location.js";
import { Confirm } from "../../parts/dialog.js";
import { Checkbox, TextField } from "../../parts/field.js";
import { toast } from "../../parts/toast.js";

/**
 * Merges a contact into another one. It can't be undone, so the user must confirm that.
 * @param {{ id: string, onClose: () => void }} props
 */
export function Merge({ id, onClose }) {
  const [typed, setTyped] = useState("");
  const [sure, setSure] = useState(false);
  const into = typed.trim();
  const same = into === id;
  const confirm = async () => {
    const merged = await api.send("POST", path`/v1/contacts/${id}/merge`, { into });
    toast(t("contacts.merge.done", { from: id, into: merged.mergedInto }));
    go(path`/contacts/${merged.mergedInto}`);
  };
  return html`
    <${Confirm} danger title=${t("contacts.merge.title")} action=${t("contacts.merge.action")} disabled=${!into || same || !sure}
      onConfirm=${confirm} onClose=${onClose}>
      <p class="breakable">${t("contacts.merge.text", { id })}</p>
      <ul class="effects">
        <li>${t("contacts.merge.history")}</li>
        <li>${t("contacts.merge.limits")}</li>
        <li>${t("contacts.merge.later")}</li>
      </ul>
      <${TextField} label=${t("contacts.merge.into")} hint=${t("contacts.merge.into.hint")} fault=${same ? t("contacts.merge.same") : null}
        value=${typed} onChange=${setTyped} maxlength="255" spellcheck=${false} autocapitalize="off" />
      <${Checkbox} label=${t("contacts.merge.sure")} checked=${sure} onChange=${setSure} />
    <//>
  `;
}
