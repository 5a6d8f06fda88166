import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { api } from "../../api.js";
import { t } from "../../i18n.js";
import { Button } from "../../parts/button.js";
import { Dialog } from "../../parts/dialog.js";
import { Choice, faultOf, TextField } from "../../parts/field.js";
import { Icon } from "../../parts/icon.js";
import { ProblemBox } from "../../parts/problem.js";
import { can } from "../../session.js";
import { ownScopes, ScopeTable } from "./scopes.js";
import { SecretDialog } from "./secret.js";
import { useTask } from "./task.js";

/**
 * Creates a key, and then shows it.
 * @param {{ onClose: () => void, onCreated: () => void }} props
 */
export function CreateKey({ onClose, onCreated }) {
  const [name, setName] = useState("");
  const [extent, setExtent] = useState("some");
  const [scopes, setScopes] = useState(/** @type {string[]} */ ([]));
  const [tried, setTried] = useState(false);
  const [issued, setIssued] = useState(/** @type {{ key: string, name: string } | null} */ (null));
  const { busy, problem, run } = useTask();
  const wanted = extent === "all" ? ["*"] : scopes;
  const nameless = tried && name.trim() === "" ? t("common.required") : null;
  const powerless = tried && wanted.length === 0 ? t("settings.keys.noScope") : null;

  const create = () => {
    setTried(true);
    if (name.trim() === "" || wanted.length === 0) return;
    void run(async () => {
      setIssued(await api.send("POST", "/v1/api-keys", { name: name.trim(), scopes: wanted }));
      onCreated();
    });
  };
  if (issued) {
    return html`
      <${SecretDialog} title=${t("settings.keys.issued", { name: issued.name })} name=${t("settings.keys.key")} secret=${issued.key} onClose=${onClose}>
        <p>${t("settings.keys.use")}</p>
        <code class="sample">Authorization: Bearer cpk_…</code>
      <//>
    `;
  }
  const actions = html`
    <${Button} onClick=${onClose}>${t("common.cancel")}<//>
    <${Button} kind="primary" type="submit" busy=${busy}>${t("settings.keys.create")}<//>
  `;
  const table = html`<${ScopeTable} offered=${ownScopes()} scopes=${scopes} onChange=${setScopes} />`;
  const extents = [
    { value: "some", title: t("settings.scopes.some"), more: table },
    { value: "all", title: t("settings.scopes.all"), hint: t("settings.scopes.all.hint") },
  ];
  return html`
    <${Dialog} wide title=${t("settings.keys.create")} onClose=${onClose} onSubmit=${create} actions=${actions}>
      <${ProblemBox} problem=${problem} />
      <${TextField} label=${t("settings.keys.name")} hint=${t("settings.keys.name.hint")} maxlength="200" value=${name} onChange=${setName}
        fault=${nameless ?? faultOf(problem, "/name")} />
      ${can("*")
        ? html`<${Choice} label=${t("settings.scopes.choose")} value=${extent} onChange=${setExtent} options=${extents} />`
        : html`<fieldset class="choices"><legend>${t("settings.scopes.choose")}</legend><p class="hint">${t("settings.scopes.own")}</p>${table}</fieldset>`}
      ${(powerless ?? faultOf(problem, "/scopes")) && html`
        <p class="fault" role="alert"><${Icon} name="warning" /><span>${powerless ?? faultOf(problem, "/scopes")}</span></p>
      `}
    <//>
  `;
}
