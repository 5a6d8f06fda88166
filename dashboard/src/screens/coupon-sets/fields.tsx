import { useEffect, useId, useRef, useState } from "preact/hooks";

import type { Problem } from "../../api";
import { t } from "../../i18n";
import { Checkbox, Choice, faultOf, TextField } from "../../parts/field";
import { ProblemBox } from "../../parts/problem";
import { SetPicker } from "../../parts/set-picker";
import type { Draft } from "./draft";
import layout from "../../parts/layout.module.css";

/** The fields of problems without a pointer, by problem code. */
const PLACES: Record<string, string> = {
  "name-taken": "/name",
  "quantity-below-assigned": "/quantity",
  "child-set-cycle": "/childCouponSetId",
  "child-set-chain-too-long": "/childCouponSetId",
};
const MAIN = ["/name", "/code", "/quantity"];
const FOLDED = [
  "/expiresAt",
  "/timezone",
  "/validForDays",
  "/lowStockThreshold",
  "/childCouponSetId",
  "/onRepeat",
  "/sameCodeUntil",
  "/assignmentsPerContact",
  "/uniqueInTenant",
  "/ignoreCase",
];

/**
 * The fields of a set, for creating and editing one. Settings that few sets need are folded.
 * @param props `faults` are errors found before sending, `problem` is the error of the service; `id` is that of an existing set
 */
export function SetFields({
  draft,
  onChange,
  faults,
  problem,
  id,
}: {
  draft: Draft;
  onChange: (draft: Draft) => void;
  faults: Record<string, string>;
  problem: Problem | null;
  id?: string;
}) {
  const fields = useRef<HTMLDivElement | null>(null);
  const fault = (pointer: string) =>
    faults[pointer] ?? faultOf(problem, pointer) ?? (problem && PLACES[problem.code] === pointer ? messageOf(problem) : null);
  const [open, setOpen] = useState(false);
  const faulty = FOLDED.some(fault);
  useEffect(() => {
    if (faulty) setOpen(true);
  }, [faulty]);
  // The first invalid field takes the focus, once its fold is open.
  useEffect(() => {
    (fields.current?.querySelector("[aria-invalid=true]") as HTMLElement | null | undefined)?.focus();
  }, [faults, problem, faulty && open]);
  const put: <Name extends keyof Draft>(name: Name) => (value: Draft[Name]) => void = (name) => (value) =>
    onChange({ ...draft, [name]: value });
  const placed =
    problem &&
    (PLACES[problem.code] || (problem.errors.length > 0 && problem.errors.every(({ pointer }) => [...MAIN, ...FOLDED].includes(pointer))));
  return (
    <div class={layout.form} ref={fields}>
      <TextField
        label={t("sets.name")}
        hint={t("sets.name.hint")}
        fault={fault("/name")}
        value={draft.name}
        onChange={put("name")}
        required
        maxlength="200"
      />
      {draft.type === "single" && <SingleFields {...{ draft, put, fault, id }} />}
      <details class={layout.fold} open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>
          {t("sets.more")} <span class="soft">{t("sets.more.what")}</span>
        </summary>
        <div class={layout.form}>
          <ExpiryFields {...{ draft, put, fault }} />
          <TextField
            label={t("sets.lowStockThreshold")}
            hint={t("sets.lowStockThreshold.hint")}
            fault={fault("/lowStockThreshold")}
            value={draft.lowStockThreshold}
            onChange={put("lowStockThreshold")}
            inputmode="numeric"
          />
          <SetPicker
            label={t("sets.child")}
            hint={t("sets.child.hint")}
            fault={fault("/childCouponSetId")}
            without={id}
            value={draft.childCouponSetId}
            onChange={(set) => put("childCouponSetId")(set?.id ?? null)}
          />
          <RepeatFields {...{ draft, put, fault }} />
          {draft.type === "multiple" && (
            <>
              <Checkbox
                label={t("sets.uniqueInTenant")}
                hint={t("sets.uniqueInTenant.hint")}
                fault={fault("/uniqueInTenant")}
                checked={draft.uniqueInTenant}
                onChange={put("uniqueInTenant")}
              />
              <Checkbox
                label={t("sets.ignoreCase")}
                hint={t("sets.ignoreCase.hint")}
                fault={fault("/ignoreCase")}
                checked={draft.ignoreCase}
                onChange={put("ignoreCase")}
              />
            </>
          )}
        </div>
      </details>
      <ProblemBox problem={placed ? null : problem} />
    </div>
  );
}

export type Part = {
  draft: Draft;
  put: <Name extends keyof Draft>(name: Name) => (value: Draft[Name]) => void;
  fault: (pointer: string) => string | null;
  id?: string;
};

function SingleFields({ draft, put, fault, id }: Part) {
  const number = (
    <TextField
      label={t("sets.quantity.number")}
      hideLabel
      fault={fault("/quantity")}
      value={draft.quantity}
      onChange={put("quantity")}
      inputmode="numeric"
      placeholder="200"
    />
  );
  const limits = [
    { value: "limited", title: t("sets.quantity.limited"), more: number },
    { value: "unlimited", title: t("sets.quantity.unlimited") },
  ];
  return (
    <>
      <TextField
        label={t("sets.code")}
        hint={t(id === undefined ? "sets.code.hint" : "sets.code.fixed")}
        fault={fault("/code")}
        value={draft.code}
        onChange={put("code")}
        required
        maxlength="255"
        spellcheck={false}
        autocapitalize="off"
        readonly={id !== undefined}
      />
      <Choice
        label={t("sets.quantity")}
        value={draft.limited ? "limited" : "unlimited"}
        options={limits}
        onChange={(value: string) => put("limited")(value === "limited")}
      />
    </>
  );
}

function ExpiryFields({ draft, put, fault }: Part) {
  const zones = useId();
  return (
    <>
      <div class={layout.pair}>
        <TextField label={t("sets.expiresAt.day")} type="date" fault={fault("/expiresAt")} value={draft.day} onChange={put("day")} />
        <TextField
          label={t("sets.expiresAt.time")}
          type="time"
          hint={t("sets.expiresAt.time.hint")}
          value={draft.time}
          onChange={put("time")}
        />
      </div>
      <div class={layout.pair}>
        <TextField label={t("sets.timezone")} fault={fault("/timezone")} value={draft.timezone} onChange={put("timezone")} list={zones} />
        <datalist id={zones}>
          {Intl.supportedValuesOf("timeZone").map((zone) => (
            <option value={zone} />
          ))}
        </datalist>
        <TextField
          label={t("sets.validForDays")}
          hint={t("sets.validForDays.hint")}
          fault={fault("/validForDays")}
          value={draft.validForDays}
          onChange={put("validForDays")}
          inputmode="numeric"
        />
      </div>
    </>
  );
}

function RepeatFields({ draft, put, fault }: Part) {
  const most = (
    <TextField
      label={t("sets.assignmentsPerContact")}
      hint={t("sets.assignmentsPerContact.hint")}
      fault={fault("/assignmentsPerContact")}
      value={draft.assignmentsPerContact}
      onChange={put("assignmentsPerContact")}
      inputmode="numeric"
    />
  );
  const until = (
    <Choice
      label={t("sets.sameCodeUntil")}
      value={draft.sameCodeUntil}
      onChange={put("sameCodeUntil")}
      options={(["always", "expired", "used"] as const).map((value) => ({ value, title: t(`sets.sameCodeUntil.${value}`) }))}
    />
  );
  const more = { newCode: most, sameCode: until, refuse: undefined };
  return (
    <Choice
      label={t("sets.onRepeat")}
      value={draft.onRepeat}
      onChange={put("onRepeat")}
      fault={fault("/onRepeat")}
      options={(["newCode", "sameCode", "refuse"] as const).map((value) => ({
        value,
        title: t(`sets.onRepeat.${value}`),
        hint: t(`sets.onRepeat.${value}.hint`),
        more: more[value],
      }))}
    />
  );
}

function messageOf(problem: Problem) {
  if (problem.code === "quantity-below-assigned") return t("sets.quantity.belowAssigned", { n: problem.more.assigned ?? 0 });
  return t(`common.problem.${problem.code}`);
}
