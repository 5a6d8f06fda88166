import { html } from "htm/preact";

import { path } from "../../address.js";
import { api } from "../../api.js";
import { t } from "../../i18n.js";
import { Button } from "../../parts/button.js";
import { Code } from "../../parts/copy.js";
import { Confirm, Dialog } from "../../parts/dialog.js";
import { Time } from "../../parts/time.js";
import { toast } from "../../parts/toast.js";
import { can, session } from "../../session.js";
import { ScopeTable } from "./scopes.js";

/** @typedef {import("./keys.js").Key} Key */

/**
 * The details of a key. The key itself is not stored and can't be shown.
 * @param {{ apiKey: Key, onClose: () => void, onRevoke: () => void }} props
 */
export function KeyDetails({ apiKey, onClose, onRevoke }) {
  const { id, name, scopes, createdAt, lastUsedAt, revokedAt } = apiKey;
  const revocable = can("api-keys:write") && !revokedAt;
  const actions = html`
    <${Button} onClick=${onClose}>${t("common.close")}<//>
    ${revocable && html`<${Button} kind="danger" onClick=${onRevoke}>${t("settings.keys.revoke")}<//>`}
  `;
  return html`
    <${Dialog} wide title=${name} onClose=${onClose} actions=${actions}>
      <dl class="facts">
        <div><dt>${t("settings.keys.id")}</dt><dd><${Code} code=${id} /></dd></div>
        <div><dt>${t("settings.created")}</dt><dd><${Time} at=${createdAt} /></dd></div>
        <div><dt>${t("settings.keys.lastUsed")}</dt><dd>${lastUsedAt ? html`<${Time} at=${lastUsedAt} />` : t("settings.keys.neverUsed")}</dd></div>
        ${revokedAt && html`<div><dt>${t("settings.keys.revoked")}</dt><dd><${Time} at=${revokedAt} /></dd></div>`}
      </dl>
      <h3>${t("settings.scopes")}</h3>
      ${scopes.includes("*")
        ? html`<p><strong>${t("settings.scopes.all")}.</strong> <span class="soft">${t("settings.scopes.all.hint")}</span></p>`
        : html`<${ScopeTable} offered=${scopes} scopes=${scopes} />`}
    <//>
  `;
}

/**
 * Asks for confirmation before a key is revoked. If it is the key of this session, the next request finds the session ended.
 * @param {{ apiKey: Key, onClose: () => void, onRevoked: () => void }} props
 */
export function RevokeKey({ apiKey, onClose, onRevoked }) {
  const own = apiKey.id === session.value?.keyId;
  const confirm = async () => {
    await api.send("DELETE", path`/v1/api-keys/${apiKey.id}`);
    toast(t("settings.keys.isRevoked", { name: apiKey.name }));
    onRevoked();
  };
  return html`
    <${Confirm} danger title=${t("settings.keys.revoke.title", { name: apiKey.name })} onConfirm=${confirm} onClose=${onClose}
      action=${t(own ? "settings.keys.revoke.own" : "settings.keys.revoke")}>
      ${own && html`<p><strong>${t("settings.keys.revoke.ownText")}</strong></p>`}
      <p>${t("settings.keys.revoke.text")}</p>
      <p class="soft">
        ${apiKey.lastUsedAt ? html`${t("settings.keys.lastUsed")}: <${Time} at=${apiKey.lastUsedAt} as="ago" />` : t("settings.keys.revoke.unused")}
      </p>
    <//>
  `;
}
