import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";

import { path } from "../../address.js";
import { api, problemOf } from "../../api.js";
import { bytes } from "../../format.js";
import { t } from "../../i18n.js";
import { go, replace } from "../../location.js";
import { Button } from "../../parts/button.js";
import { Choice, faultOf, TextArea, TextField } from "../../parts/field.js";
import { Icon } from "../../parts/icon.js";
import { ProblemBox } from "../../parts/problem.js";
import { SetPicker } from "../../parts/set-picker.js";
import { Tabs } from "../../parts/tabs.js";
import { can } from "../../session.js";
import { DropZone, useFile } from "./drop-zone.js";
import { choose, chosen, source, target } from "./store.js";

/** Length of a text in characters from which a text area takes seconds to show it. */
const MAX_TEXT = 50_000;

/**
 * Converts a long pasted text to a file, so that the page does not freeze.
 * @param {ClipboardEvent} event
 */
function pasteLong(event) {
  const area = /** @type {HTMLTextAreaElement} */ (event.currentTarget);
  const pasted = event.clipboardData?.getData("text/plain") ?? "";
  if (pasted.length < MAX_TEXT || area.selectionEnd - area.selectionStart < area.value.length) return;
  event.preventDefault();
  choose({ kind: "file", file: new File([pasted], `${t("import.pasted")}.txt`), text: "" });
}

/**
 * The step that chooses the set and the codes. The set can be created here.
 * @param {{ set: any }} props
 */
export function FileStep({ set }) {
  const { kind: targetKind, name, id: known } = target.value ?? { kind: can("coupon-sets:write") ? "new" : "known", name: "", id: null };
  const [faults, setFaults] = useState(/** @type {{ set?: string, codes?: string }} */ ({}));
  const [problem, setProblem] = useState(/** @type {import("../../api.js").Problem | null} */ (null));
  const [busy, setBusy] = useState(false);
  const isNew = targetKind === "new";

  useEffect(() => {
    if (!faults.set && !faults.codes) return;
    /** @type {HTMLElement | null} */ (document.querySelector("main [aria-invalid=true], .drop.faulty button"))?.focus();
  }, [faults]);
  const next = async () => {
    const missing = set || (isNew ? name.trim() : known) ? undefined : t(isNew ? "common.missing.name" : "import.set.missing");
    const found = { set: missing, codes: source.peek() ? undefined : t(`import.missing.${chosen.peek().kind}`) };
    setFaults(found);
    setProblem(null);
    if (found.set || found.codes || busy) return;
    setBusy(true);
    try {
      const id = set?.id ?? (isNew ? (await api.send("POST", "/v1/coupon-sets", { name: name.trim(), type: "multiple" })).id : known);
      // Replaces the address, so that after the Back button the set is chosen and not created again.
      if (!set) replace("/import", { set: id });
      target.value = null;
      go("/import", { set: id, step: "columns" });
    } catch (failure) {
      setProblem(problemOf(failure));
      setBusy(false);
    }
  };
  const nameFault = faultOf(problem, "/name") ?? (problem?.code === "name-taken" ? t("common.problem.name-taken") : undefined);
  const { kind, text } = chosen.value;
  const { over, refusal, take } = useFile(() => setFaults({ ...faults, codes: undefined }));
  const tabs = ["file", "text"].map((id) => ({ id, title: t(`import.kind.${id}`) }));
  return html`
    <section class="card form" aria-labelledby="import-set">
      <h2 id="import-set" class="step-head" tabindex="-1">${t("import.set")}</h2>
      ${set
        ? html`
            <div class="chosen">
              <${Icon} name="sets" />
              <div><a href=${path`#/coupon-sets/${set.id}`}><strong>${set.name}</strong></a>${set.quantity !== undefined && html`<br /><span class="soft">${t("import.set.holds", { n: set.quantity })}</span>`}</div>
              <${Button} kind="quiet" onClick=${() => replace("/import")}>${t("import.otherSet")}<//>
            </div>
          `
        : html`<${Target} kind=${targetKind} name=${name} id=${known} fault=${faults.set ?? nameFault} />`}
    </section>
    <section class="card form" aria-labelledby="import-codes">
      <h2 id="import-codes">${t("import.codes")}</h2>
      <${Tabs} label=${t("import.codes")} tabs=${tabs} selected=${kind} onSelect=${(/** @type {"file" | "text"} */ wanted) => choose({ kind: wanted })}>
        ${kind === "file"
          ? html`<${DropZone} over=${over} fault=${refusal || (faults.codes ?? "")} onFiles=${take} />`
          : html`
              <${TextArea} label=${t("import.paste")} hint=${t("import.paste.hint")} fault=${faults.codes} value=${text} rows="10" wrap="off" spellcheck=${false}
                class="pasted" onPaste=${pasteLong} onChange=${(/** @type {string} */ typed) => choose({ text: typed })} />
              ${text && html`<p class="soft number">${bytes(new Blob([text]).size)}</p>`}
            `}
      <//>
    </section>
    ${!nameFault && html`<${ProblemBox} problem=${problem} />`}
    <div class="actions"><${Button} kind="primary" busy=${busy} onClick=${next}>${t("import.next")}<//></div>
  `;
}

/** @param {{ kind: string, name: string, id: string | null, fault?: string }} props */
function Target({ kind, name, id, fault }) {
  const change = (/** @type {Partial<NonNullable<typeof target.value>>} */ to) => (target.value = { kind, name, id, ...to });
  const picker = html`
    <${SetPicker} label=${t("import.set.known")} type="multiple" value=${id} fault=${fault}
      onChange=${(/** @type {{ id: string } | null} */ picked) => change({ id: picked?.id ?? null })} />
  `;
  if (!can("coupon-sets:write")) return picker;
  const field = html`
    <${TextField} label=${t("import.set.name")} hint=${t("import.set.name.hint")} fault=${fault} value=${name} maxlength="255"
      onChange=${(/** @type {string} */ typed) => change({ name: typed })} />
  `;
  const options = [
    { value: "new", title: t("import.set.new"), more: field },
    { value: "known", title: t("import.set.other"), more: picker },
  ];
  return html`<${Choice} label=${t("import.set")} hideLabel value=${kind} options=${options}
    onChange=${(/** @type {string} */ wanted) => change({ kind: wanted })} />`;
}
