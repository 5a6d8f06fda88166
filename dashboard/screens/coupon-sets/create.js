import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { api, problemOf } from "../../api.js";
import { t } from "../../i18n.js";
import { go } from "../../location.js";
import { Button } from "../../parts/button.js";
import { Choice } from "../../parts/field.js";
import { Page } from "../../parts/page.js";
import { toast } from "../../parts/toast.js";
import { can } from "../../session.js";
import { emptyDraft, faultsOf, newSetOf } from "./draft.js";
import { SetFields } from "./fields.js";

/** The form that creates a set. After a set with unique codes, the import that fills it follows. */
export default function CreateSet() {
  const [draft, setDraft] = useState(emptyDraft);
  const [faults, setFaults] = useState(/** @type {Record<string, string>} */ ({}));
  const [problem, setProblem] = useState(/** @type {import("../../api.js").Problem | null} */ (null));
  const [busy, setBusy] = useState(false);
  const fill = draft.type === "multiple" && can("imports:write");

  /** @param {boolean} filling true to continue with the import */
  const create = async (filling) => {
    const found = faultsOf(draft);
    setFaults(found);
    setProblem(null);
    if (Object.keys(found).length > 0 || busy) return;
    setBusy(true);
    try {
      const set = await api.send("POST", "/v1/coupon-sets", newSetOf(draft));
      toast(t("sets.created", { name: set.name }));
      if (filling) go("/import", { set: set.id });
      else go("/coupon-sets", { new: set.id });
    } catch (failure) {
      setProblem(problemOf(failure));
      setBusy(false);
    }
  };
  /** @param {SubmitEvent} event */
  const submit = (event) => {
    event.preventDefault();
    void create(fill);
  };
  const types = /** @type {const} */ (["multiple", "single"]).map((value) => ({
    value,
    title: t(`sets.type.${value}`),
    hint: t(`sets.type.${value}.hint`),
  }));
  return html`
    <${Page} title=${t("sets.create")} back=${{ href: "#/coupon-sets", title: t("sets.title") }}>
      <form class="form narrow" novalidate onSubmit=${submit}>
        <${Choice} label=${t("sets.type")} look="cards" value=${draft.type} options=${types}
          onChange=${(/** @type {"single" | "multiple"} */ type) => setDraft({ ...draft, type })} />
        <${SetFields} draft=${draft} onChange=${setDraft} faults=${faults} problem=${problem} />
        <div class="actions">
          <${Button} kind="primary" type="submit" busy=${busy}>${t(fill ? "sets.create.import" : "sets.create.action")}<//>
          ${fill && html`<${Button} onClick=${() => create(false)}>${t("sets.create.empty")}<//>`}
          <${Button} kind="quiet" href="#/coupon-sets">${t("common.cancel")}<//>
        </div>
      </form>
    <//>
  `;
}
