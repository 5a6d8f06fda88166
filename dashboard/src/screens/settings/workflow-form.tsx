import { useState } from "preact/hooks";

import { path } from "../../address";
import { api } from "../../api";
import { t } from "../../i18n";
import { Button } from "../../parts/button";
import { Dialog } from "../../parts/dialog";
import { Select, TextField } from "../../parts/field";
import { Icon } from "../../parts/icon";
import { ProblemBox } from "../../parts/problem";
import { SetName } from "../../parts/set-name";
import { SetPicker, type PickedSet } from "../../parts/set-picker";
import { toast } from "../../parts/toast";
import { can } from "../../session";
import { useForm } from "./form";
import type { Workflow } from "./workflows";
import layout from "../../parts/layout.module.css";
import css from "../settings.module.css";

const STATES = ["active", "draft", "paused", "finished"];
const MOST_SETS = 100;

/**
 * The dialog that adds or edits a workflow and its sets.
 * @param props `workflow` is null for a new one,
 * whose id must not be one of the `known` ones
 */
export function PutWorkflow({
  workflow,
  known,
  onClose,
  onSaved,
}: {
  workflow: Workflow | null;
  known: Workflow[];
  onClose: () => void;
  onSaved: () => void;
}) {
  const [id, setId] = useState(workflow?.id ?? "");
  const [name, setName] = useState(workflow?.name ?? "");
  const [state, setState] = useState<string>(workflow?.state ?? "active");
  const [sets, setSets] = useState(workflow?.couponSetIds ?? []);
  // The version that the user has seen. Saving replaces the whole workflow, so a change by someone else must be shown first.
  const [seen, setSeen] = useState(workflow);
  const overtaken = workflow && seen && contentOf(seen) !== contentOf(workflow);
  const { busy, body, tried, submit, fault, problem } = useForm(["/name", "/state", "/couponSetIds"]);
  const taken = !workflow && known.some((other) => other.id === id.trim());
  const nameless = tried && name.trim() === "" ? t("common.missing.name") : null;
  const unidentified = tried && id.trim() === "" ? t("common.missing.id") : null;
  const save = () =>
    submit(id.trim() !== "" && name.trim() !== "" && !taken, async () => {
      const wanted = { name: name.trim(), state, couponSetIds: sets };
      if (seen) {
        const now = await api.get<Workflow>(path`/v1/workflows/${seen.id}`);
        setSeen(now);
        // The wanted content may already be stored, if the answer to an earlier attempt was lost.
        if (![seen, wanted].map(contentOf).includes(contentOf(now))) return onSaved();
      }
      const saved = await api.send<Workflow>("PUT", path`/v1/workflows/${id.trim()}`, wanted);
      toast(t("settings.workflows.saved", { name: saved.name }));
      onSaved();
      onClose();
    });
  const actions = (
    <>
      <Button onClick={onClose}>{t("common.cancel")}</Button>
      <Button kind="primary" type="submit" busy={busy}>
        {t(workflow ? "common.save" : "settings.workflows.create.action")}
      </Button>
    </>
  );
  const states = STATES.map((value) => ({ value, title: t(`settings.workflow.${value}`) }));
  return (
    <Dialog
      title={t(workflow ? "settings.workflows.edit" : "settings.workflows.create")}
      onClose={onClose}
      onSubmit={save}
      actions={actions}
    >
      <div class={layout.form} ref={body}>
        <ProblemBox problem={problem} />
        {overtaken && (
          <p class={`${css.notice} ${css.warn}`} role="alert">
            <Icon name="warning" />
            <span>{t("settings.workflows.overtaken")}</span>
          </p>
        )}
        <TextField
          label={t("settings.workflows.name")}
          maxlength="200"
          value={name}
          onChange={setName}
          fault={nameless ?? fault("/name")}
        />
        {workflow ? (
          <p class="soft">
            {t("settings.workflows.id")}: <code>{id}</code>
          </p>
        ) : (
          <TextField
            label={t("settings.workflows.id")}
            hint={t("settings.workflows.id.hint")}
            maxlength="255"
            spellcheck={false}
            value={id}
            onChange={setId}
            fault={taken ? t("settings.workflows.taken") : unidentified}
          />
        )}
        <Select
          label={t("settings.workflows.state")}
          hint={t(`settings.workflow.${state}.hint`)}
          value={state}
          onChange={setState}
          options={states}
          fault={fault("/state")}
        />
        <Sets ids={sets} onChange={setSets} fault={fault("/couponSetIds")} />
        <p class="hint">{t("settings.workflows.engine")}</p>
      </div>
    </Dialog>
  );
}

function contentOf({ name, state, couponSetIds }: { name: string; state: string; couponSetIds: string[] }) {
  return JSON.stringify([name, state, couponSetIds]);
}

function Sets({ ids, onChange, fault }: { ids: string[]; onChange: (ids: string[]) => void; fault?: string }) {
  const add = (set: PickedSet | null) => {
    if (set && !ids.includes(set.id)) onChange([...ids, set.id]);
  };
  return (
    <div class={css.formSets}>
      {can("coupon-sets:read") && ids.length < MOST_SETS ? (
        <SetPicker
          label={t("settings.workflows.addSet")}
          value={null}
          onChange={add}
          fault={fault}
          placeholder={t("settings.workflows.sets.hint")}
        />
      ) : (
        <p>
          <strong>{t("settings.workflows.sets")}</strong>
        </p>
      )}
      {ids.length > 0 && (
        <ul class={css.chosen} aria-label={t("settings.workflows.sets")}>
          {ids.map((id) => (
            <li key={id}>
              <SetName id={id} />
              <Button
                kind="quiet"
                icon="close"
                label={t("settings.workflows.removeSet")}
                onClick={() => onChange(ids.filter((other) => other !== id))}
              />
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
