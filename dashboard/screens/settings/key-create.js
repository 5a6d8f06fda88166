import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { api } from "../../api.js";
import { t } from "../../i18n.js";
import { Button } from "../../parts/button.js";
import { Dialog } from "../../parts/dialog.js";
import { Choice, TextField } from "../../parts/field.js";
import { Icon } from "../../parts/icon.js";
import { ProblemBox } from "../../parts/problem.js";
import { can } from "../../session.js";
import { useForm } from "./form.js";
import { ownScopes, ScopeTable } from "./scopes.js";
import { SecretDialog } from "./secret.js";

/**
 * The dialog that creates a key and then shows it once.
 * @param {{ onClose: () => void, onCreated: () => void }} props
 */
export function CreateKey({ onClose, onCreated }) {
  const [name, setName] = useState("");
  const [extent, setExtent] = useState("some");
  const [scopes, setScopes] = useState(/** @type {string[]} */ ([]));
  const [issued, setIssued] = useState(/** @type {{ key: string, name: string } | null} */ (null));
  const { busy, body, tried, submit, fault, problem } = useForm(["/name", "/scopes"]);
  const wanted = extent === "all" ? ["*"] : scopes;
  const nameless = tried && name.trim() === "" ? t("common.missing.name") : null;
  const powerless = tried && wanted.length === 0 ? t("settings.keys.noScope") : fault("/scopes");

  const create = () => submit(name.trim() !== "" && wanted.length > 0, async () => {
    setIssued(await api.send("POST", "/v1/api-keys", { name: name.trim(), scopes: wanted }));
    onCreated();
  });
  if (issued) {
    return html`
      <${SecretDialog} title=${t("settings.keys.issued", { name: issued.name })} name=${t("settings.keys.key")} secret=${issued.key} onClose=${onClose}>
        <p>${t("settings.keys.use")}</p>
        <code class="sample">Authorization: Bearer cpk_…</code>
      <//>
    `;
  }
  const actions = html`
    <${Button} disabled=${busy} onClick=${onClose}>${t("common.cancel")}<//>
    <${Button} kind="primary" type="submit" busy=${busy}>${t("settings.keys.create")}<//>
  `;
  const extents = ["some", "all"].map((value) => ({ value, title: t(`settings.scopes.${value}`) }));
  return html`
    <${Dialog} wide busy=${busy} title=${t("settings.keys.create")} onClose=${onClose} onSubmit=${create} actions=${actions}>
      <div class="form" ref=${body}>
        <${ProblemBox} problem=${problem} />
        <${TextField} label=${t("settings.keys.name")} hint=${t("settings.keys.name.hint")} maxlength="200" value=${name} onChange=${setName}
          fault=${nameless ?? fault("/name")} />
        <div class="scope-choice">
          ${can("*")
            ? html`<${Choice} look="segments" label=${t("settings.scopes.choose")} value=${extent} onChange=${setExtent} options=${extents} />`
            : html`<h3>${t("settings.scopes.choose")}</h3><p class="hint">${t("settings.scopes.own")}</p>`}
          ${powerless && html`<p class="fault" role="alert"><${Icon} name="warning" /><span>${powerless}</span></p>`}
          ${extent === "all"
            ? html`<p class="hint">${t("settings.scopes.all.hint")}</p>`
            : html`<${ScopeTable} offered=${ownScopes()} scopes=${scopes} onChange=${setScopes} />`}
        </div>
      </div>
    <//>
  `;
}
