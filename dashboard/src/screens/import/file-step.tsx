import { useEffect, useState } from "preact/hooks";

import { path } from "../../address";
import { api, problemOf, type Problem } from "../../api";
import { bytes } from "../../format";
import { t } from "../../i18n";
import { go, replace } from "../../location";
import { Button } from "../../parts/button";
import { Choice, faultOf, TextArea, TextField } from "../../parts/field";
import { Icon } from "../../parts/icon";
import { ProblemBox } from "../../parts/problem";
import { SetPicker } from "../../parts/set-picker";
import { Tabs } from "../../parts/tabs";
import type { CouponSet } from "../../schemas";
import { can } from "../../session";
import { DropZone, useFile } from "./drop-zone";
import { choose, chosen, source, target, type TargetSet } from "./store";
import layout from "../../parts/layout.module.css";
import css from "../import.module.css";

/** Length of a text in characters from which a text area takes seconds to show it. */
const MAX_TEXT = 50_000;

/** Converts a long pasted text to a file, so that the page does not freeze. */
function pasteLong(event: ClipboardEvent) {
  const area = event.currentTarget as HTMLTextAreaElement;
  const pasted = event.clipboardData?.getData("text/plain") ?? "";
  if (pasted.length < MAX_TEXT || area.selectionEnd - area.selectionStart < area.value.length) return;
  event.preventDefault();
  choose({ kind: "file", file: new File([pasted], `${t("import.pasted")}.txt`), text: "" });
}

/** The step that chooses the set and the codes. The set can be created here. */
export function FileStep({ set }: { set: TargetSet | null }) {
  const { kind: targetKind, name, id: known } = target.value ?? { kind: can("coupon-sets:write") ? "new" : "known", name: "", id: null };
  const [faults, setFaults] = useState<{ set?: string; codes?: string }>({});
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const isNew = targetKind === "new";

  useEffect(() => {
    if (!faults.set && !faults.codes) return;
    (document.querySelector("main [aria-invalid=true], [data-part=drop] button") as HTMLElement | null)?.focus();
  }, [faults]);
  const next = async () => {
    const missing = set || (isNew ? name.trim() : known) ? undefined : t(isNew ? "common.missing.name" : "import.set.missing");
    const found = { set: missing, codes: source.peek() ? undefined : t(`import.missing.${chosen.peek().kind}`) };
    setFaults(found);
    setProblem(null);
    if (found.set || found.codes || busy) return;
    setBusy(true);
    try {
      const id =
        set?.id ?? (isNew ? (await api.send<CouponSet>("POST", "/v1/coupon-sets", { name: name.trim(), type: "multiple" })).id : known);
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
  const tabs = (["file", "text"] as const).map((id) => ({ id, title: t(`import.kind.${id}`) }));
  return (
    <>
      <section class={`${layout.card} ${layout.form}`} aria-labelledby="import-set">
        <h2 id="import-set" class={css.stepHead} data-part="step-head" tabindex={-1}>
          {t("import.set")}
        </h2>
        {set ? (
          <div class={css.chosen}>
            <Icon name="sets" />
            <div>
              <a href={path`#/coupon-sets/${set.id}`}>
                <strong>{set.name}</strong>
              </a>
              {typeof set.quantity === "number" && (
                <>
                  <br />
                  <span class="soft">{t("import.set.holds", { n: set.quantity })}</span>
                </>
              )}
            </div>
            <Button kind="quiet" onClick={() => replace("/import")}>
              {t("import.otherSet")}
            </Button>
          </div>
        ) : (
          <Target kind={targetKind} name={name} id={known} fault={faults.set ?? nameFault} />
        )}
      </section>
      <section class={`${layout.card} ${layout.form}`} aria-labelledby="import-codes">
        <h2 id="import-codes">{t("import.codes")}</h2>
        <Tabs label={t("import.codes")} tabs={tabs} selected={kind} onSelect={(wanted: "file" | "text") => choose({ kind: wanted })}>
          {kind === "file" ? (
            <DropZone over={over} fault={refusal || (faults.codes ?? "")} onFiles={take} />
          ) : (
            <>
              <TextArea
                label={t("import.paste")}
                hint={t("import.paste.hint")}
                fault={faults.codes}
                value={text}
                rows="10"
                wrap="off"
                spellcheck={false}
                class={css.pasted}
                onPaste={pasteLong}
                onChange={(typed: string) => choose({ text: typed })}
              />
              {text && <p class="soft number">{bytes(new Blob([text]).size)}</p>}
            </>
          )}
        </Tabs>
      </section>
      {!nameFault && <ProblemBox problem={problem} />}
      <div class={layout.actions}>
        <Button kind="primary" busy={busy} onClick={next}>
          {t("import.next")}
        </Button>
      </div>
    </>
  );
}

function Target({ kind, name, id, fault }: { kind: string; name: string; id: string | null; fault?: string }) {
  const change = (to: Partial<NonNullable<typeof target.value>>) => (target.value = { kind, name, id, ...to });
  const picker = (
    <SetPicker
      label={t("import.set.known")}
      type="multiple"
      value={id}
      fault={fault}
      onChange={(picked: { id: string } | null) => change({ id: picked?.id ?? null })}
    />
  );
  if (!can("coupon-sets:write")) return picker;
  const field = (
    <TextField
      label={t("import.set.name")}
      hint={t("import.set.name.hint")}
      fault={fault}
      value={name}
      maxlength="255"
      onChange={(typed: string) => change({ name: typed })}
    />
  );
  const options = [
    { value: "new", title: t("import.set.new"), more: field },
    { value: "known", title: t("import.set.other"), more: picker },
  ];
  return (
    <Choice label={t("import.set")} hideLabel value={kind} options={options} onChange={(wanted: string) => change({ kind: wanted })} />
  );
}
