import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { path } from "../../address.js";
import { api } from "../../api.js";
import { t } from "../../i18n.js";
import { Button } from "../../parts/button.js";
import { Dialog } from "../../parts/dialog.js";
import { Choice, faultOf, TextField } from "../../parts/field.js";
import { ProblemBox } from "../../parts/problem.js";
import { SetName } from "../../parts/set-name.js";
import { SetPicker } from "../../parts/set-picker.js";
import { toast } from "../../parts/toast.js";
import { can } from "../../session.js";
import { useTask } from "./task.js";

/** @typedef {import("./workflows.js").Workflow} Workflow */

const STATES = ["active", "draft", "paused", "finished"];
const MOST_SETS = 100;

/**
 * Says what a workflow is and which sets it uses.
 * @param {{ workflow: Workflow | null, known: Workflow[], onClose: () => void, onSaved: () => void }} props `workflow` is null for a new one,
 *   which must not replace one of those that are `known`
 */
export function PutWorkflow({ workflow, known, onClose, onSaved }) {
  const [id, setId] = useState(workflow?.id ?? "");
  const [name, setName] = useState(workflow?.name ?? "");
  const [state, setState] = useState(/** @type {string} */ (workflow?.state ?? "active"));
  const [sets, setSets] = useState(workflow?.couponSetIds ?? []);
  const [tried, setTried] = useState(false);
  const { busy, problem, run } = useTask();
  const taken = !workflow && known.some((other) => other.id === id.trim());
  const missing = (/** @type {string} */ typed) => (tried && typed.trim() === "" ? t("common.required") : null);
  const save = () => {
    setTried(true);
    if (id.trim() === "" || name.trim() === "" || taken) return;
    void run(async () => {
      const saved = await api.send("PUT", path`/v1/workflows/${id.trim()}`, { name: name.trim(), state, couponSetIds: sets });
      toast(t("settings.workflows.saved", { name: saved.name }));
      onSaved();
      onClose();
    });
  };
  const actions = html`
    <${Button} onClick=${onClose}>${t("common.cancel")}<//>
    <${Button} kind="primary" type="submit" busy=${busy}>${t(workflow ? "common.save" : "settings.workflows.create.action")}<//>
  `;
  const states = STATES.map((value) => ({ value, title: t(`settings.workflow.${value}`), hint: t(`settings.workflow.${value}.hint`) }));
  return html`
    <${Dialog} title=${t(workflow ? "settings.workflows.edit" : "settings.workflows.create")} onClose=${onClose} onSubmit=${save} actions=${actions}>
      <${ProblemBox} problem=${problem} />
      <${TextField} label=${t("settings.workflows.name")} maxlength="200" value=${name} onChange=${setName}
        fault=${missing(name) ?? faultOf(problem, "/name")} />
      ${workflow
        ? html`<p class="soft">${t("settings.workflows.id")}: <code>${id}</code></p>`
        : html`
          <${TextField} label=${t("settings.workflows.id")} hint=${t("settings.workflows.id.hint")} maxlength="255" spellcheck=${false}
            value=${id} onChange=${setId} fault=${taken ? t("settings.workflows.taken") : missing(id)} />
        `}
      <${Choice} label=${t("settings.workflows.state")} value=${state} onChange=${setState} options=${states} fault=${faultOf(problem, "/state")} />
      <${Sets} ids=${sets} onChange=${setSets} problem=${problem} />
      <p class="hint">${t("settings.workflows.engine")}</p>
    <//>
  `;
}

/** @param {{ ids: string[], onChange: (ids: string[]) => void, problem: import("../../api.js").Problem | null }} props */
function Sets({ ids, onChange, problem }) {
  const fault = problem?.errors.find(({ pointer }) => pointer.startsWith("/couponSetIds"))?.detail;
  const add = (/** @type {import("../../parts/set-picker.js").PickedSet | null} */ set) => {
    if (set && !ids.includes(set.id)) onChange([...ids, set.id]);
  };
  return html`
    <div class="form-sets">
      ${can("coupon-sets:read") && ids.length < MOST_SETS
        ? html`<${SetPicker} label=${t("settings.workflows.addSet")} value=${null} onChange=${add} hint=${t("settings.workflows.sets.hint")} fault=${fault} />`
        : html`<p><strong>${t("settings.workflows.sets")}</strong></p>`}
      ${ids.length > 0 && html`
        <ul class="chosen" aria-label=${t("settings.workflows.sets")}>
          ${ids.map((id) => html`
            <li key=${id}>
              <${SetName} id=${id} />
              <${Button} kind="quiet" icon="close" label=${t("settings.workflows.removeSet")} onClick=${() => onChange(ids.filter((other) => other !== id))} />
            </li>
          `)}
        </ul>
      `}
    </div>
  `;
}
