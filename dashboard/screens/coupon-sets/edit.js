import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { path } from "../../address.js";
import { api, problemOf } from "../../api.js";
import { t } from "../../i18n.js";
import { Button } from "../../parts/button.js";
import { Dialog } from "../../parts/dialog.js";
import { toast } from "../../parts/toast.js";
import { draftOf, faultsOf, patchOf } from "./draft.js";
import { SetFields } from "./fields.js";

/**
 * The dialog that edits a set. Only changed fields are sent, so that two users who edit different fields do not overwrite each other.
 * @param {{ set: any, onClose: () => void, onSaved: (set: any) => void }} props
 */
export function EditSet({ set, onClose, onSaved }) {
  // The page keeps refreshing the set. Changes by others must not count as changes of this user.
  const [original] = useState(set);
  const [draft, setDraft] = useState(() => draftOf(original));
  const [faults, setFaults] = useState(/** @type {Record<string, string>} */ ({}));
  const [problem, setProblem] = useState(/** @type {import("../../api.js").Problem | null} */ (null));
  const [busy, setBusy] = useState(false);
  const save = async () => {
    const found = faultsOf(draft);
    setFaults(found);
    setProblem(null);
    if (Object.keys(found).length > 0 || busy) return;
    const patch = patchOf(original, draft);
    if (Object.keys(patch).length === 0) return onClose();
    setBusy(true);
    try {
      const saved = await api.send("PATCH", path`/v1/coupon-sets/${set.id}`, patch);
      toast(t("sets.saved", { name: saved.name }));
      onSaved(saved);
      onClose();
    } catch (failure) {
      setProblem(problemOf(failure));
      setBusy(false);
    }
  };
  const actions = html`
    <${Button} onClick=${onClose}>${t("common.cancel")}<//>
    <${Button} kind="primary" type="submit" busy=${busy}>${t("common.save")}<//>
  `;
  return html`
    <${Dialog} wide title=${t("sets.edit.title", { name: set.name })} onClose=${onClose} onSubmit=${save} actions=${actions}>
      <div class="form"><${SetFields} draft=${draft} onChange=${setDraft} faults=${faults} problem=${problem} id=${set.id} /></div>
    <//>
  `;
}
