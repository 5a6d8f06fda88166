import { useState } from "preact/hooks";

import { api, problemOf, type Problem } from "../../api";
import { t } from "../../i18n";
import { go } from "../../location";
import { Button } from "../../parts/button";
import { Choice } from "../../parts/field";
import { Page } from "../../parts/page";
import { toast } from "../../parts/toast";
import type { CouponSet } from "../../schemas";
import { can } from "../../session";
import { emptyDraft, faultsOf, newSetOf } from "./draft";
import { SetFields } from "./fields";
import layout from "../../parts/layout.module.css";

/** The form that creates a set. After a set with unique codes, the import that fills it follows. */
export default function CreateSet() {
  const [draft, setDraft] = useState(emptyDraft);
  const [faults, setFaults] = useState<Record<string, string>>({});
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const fill = draft.type === "multiple" && can("imports:write");

  /** @param filling true to continue with the import */
  const create = async (filling: boolean) => {
    const found = faultsOf(draft);
    setFaults(found);
    setProblem(null);
    if (Object.keys(found).length > 0 || busy) return;
    setBusy(true);
    try {
      const set = await api.send<CouponSet>("POST", "/v1/coupon-sets", newSetOf(draft));
      toast(t("sets.created", { name: set.name }));
      if (filling) go("/import", { set: set.id });
      else go("/coupon-sets", { new: set.id });
    } catch (failure) {
      setProblem(problemOf(failure));
      setBusy(false);
    }
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    void create(fill);
  };
  const types = (["multiple", "single"] as const).map((value) => ({
    value,
    title: t(`sets.type.${value}`),
    hint: t(`sets.type.${value}.hint`),
  }));
  return (
    <Page title={t("sets.create")} back={{ href: "#/coupon-sets", title: t("sets.title") }}>
      <form class={`${layout.form} ${layout.narrow}`} novalidate onSubmit={submit}>
        <Choice
          label={t("sets.type")}
          look="cards"
          value={draft.type}
          options={types}
          onChange={(type: "single" | "multiple") => setDraft({ ...draft, type })}
        />
        <SetFields draft={draft} onChange={setDraft} faults={faults} problem={problem} />
        <div class={layout.actions}>
          <Button kind="primary" type="submit" busy={busy}>
            {t(fill ? "sets.create.import" : "sets.create.action")}
          </Button>
          {fill && <Button onClick={() => create(false)}>{t("sets.create.empty")}</Button>}
          <Button kind="quiet" href="#/coupon-sets">
            {t("common.cancel")}
          </Button>
        </div>
      </form>
    </Page>
  );
}
