import { useState } from "preact/hooks";

import { path } from "../../address";
import { api, problemOf, type Problem } from "../../api";
import { t } from "../../i18n";
import { Button } from "../../parts/button";
import { Dialog } from "../../parts/dialog";
import { toast } from "../../parts/toast";
import type { CouponSet } from "../../schemas";
import { draftOf, faultsOf, patchOf } from "./draft";
import { SetFields } from "./fields";
import layout from "../../parts/layout.module.css";

/** The dialog that edits a set. Only changed fields are sent, so that two users who edit different fields do not overwrite each other. */
export function EditSet({ set, onClose, onSaved }: { set: CouponSet; onClose: () => void; onSaved: (set: CouponSet) => void }) {
  // The page keeps refreshing the set. Changes by others must not count as changes of this user.
  const [original] = useState(set);
  const [draft, setDraft] = useState(() => draftOf(original));
  const [faults, setFaults] = useState<Record<string, string>>({});
  const [problem, setProblem] = useState<Problem | null>(null);
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
      const saved = await api.send<CouponSet>("PATCH", path`/v1/coupon-sets/${set.id}`, patch);
      toast(t("sets.saved", { name: saved.name }));
      onSaved(saved);
      onClose();
    } catch (failure) {
      setProblem(problemOf(failure));
      setBusy(false);
    }
  };
  const actions = (
    <>
      <Button onClick={onClose}>{t("common.cancel")}</Button>
      <Button kind="primary" type="submit" busy={busy}>
        {t("common.save")}
      </Button>
    </>
  );
  return (
    <Dialog wide title={t("sets.edit.title", { name: set.name })} onClose={onClose} onSubmit={save} actions={actions}>
      <div class={layout.form}>
        <SetFields draft={draft} onChange={setDraft} faults={faults} problem={problem} id={set.id} />
      </div>
    </Dialog>
  );
}
