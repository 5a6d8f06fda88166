import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { t } from "../../i18n.js";
import { Badge } from "../../parts/badge.js";
import { Button } from "../../parts/button.js";
import { Empty } from "../../parts/empty.js";
import { Checkbox } from "../../parts/field.js";
import { Menu } from "../../parts/menu.js";
import { ProblemBox } from "../../parts/problem.js";
import { Table } from "../../parts/table.js";
import { Time } from "../../parts/time.js";
import { can, session } from "../../session.js";
import { useAll } from "./all.js";
import { CreateKey } from "./key-create.js";
import { KeyDetails, RevokeKey } from "./key-dialogs.js";
import { Lead } from "./lead.js";
import { summaryOf } from "./scopes.js";

/** @typedef {{ id: string, name: string, scopes: string[], createdAt: string, lastUsedAt: string | null, revokedAt: string | null }} Key */
/** @typedef {"details" | "revoke"} KeyDialog */

/** The keys of the account, newest first. */
export function Keys() {
  const list = useAll("/v1/api-keys");
  const [revoked, setRevoked] = useState(false);
  const [creating, setCreating] = useState(false);
  const [open, setOpen] = useState(/** @type {{ key: Key, dialog: KeyDialog } | null} */ (null));
  const gone = list.rows.filter((key) => key.revokedAt);
  const rows = list.rows.filter((key) => revoked || !key.revokedAt).reverse();
  const close = () => setOpen(null);
  const create = can("api-keys:write") && html`
    <${Button} kind="primary" icon="plus" onClick=${() => setCreating(true)}>${t("settings.keys.create")}<//>
  `;
  return html`
    <${Lead} text=${t("settings.keys.lead")} action=${create} />
    <${ProblemBox} problem=${list.problem} onRetry=${list.refresh} />
    <${Table} label=${t("settings.tab.keys")} columns=${columnsOf((key, dialog) => setOpen({ key, dialog }))} rows=${rows} loading=${list.loading}
      empty=${!list.problem && html`<${Empty} icon="key" title=${t("settings.keys.none")} />`} />
    ${gone.length > 0 && html`
      <${Checkbox} label=${t("settings.keys.showRevoked", { n: gone.length })} checked=${revoked} onChange=${setRevoked} />
    `}
    ${creating && html`<${CreateKey} onClose=${() => setCreating(false)} onCreated=${list.refresh} />`}
    ${open?.dialog === "details" && html`
      <${KeyDetails} key=${open.key.id} apiKey=${open.key} onClose=${close} onRevoke=${() => setOpen({ ...open, dialog: "revoke" })} />
    `}
    ${open?.dialog === "revoke" && html`<${RevokeKey} apiKey=${open.key} onClose=${close} onRevoked=${list.refresh} />`}
  `;
}

/**
 * @param {(key: Key, dialog: KeyDialog) => void} open
 * @returns {import("../../parts/table.js").Column[]}
 */
function columnsOf(open) {
  return [
    { id: "name", title: t("settings.keys.name"), main: true, cell: (key) => html`<${Name} apiKey=${key} open=${open} />` },
    { id: "scopes", title: t("settings.scopes"), cell: ({ scopes }) => html`<span class="cut" title=${summaryOf(scopes)}>${summaryOf(scopes)}</span>` },
    {
      id: "used",
      title: t("settings.keys.lastUsed"),
      cell: (key) => (key.lastUsedAt ? html`<${Time} at=${key.lastUsedAt} as="ago" />` : t("settings.keys.neverUsed")),
    },
    { id: "created", title: t("settings.created"), cell: (key) => html`<${Time} at=${key.createdAt} as="date" />` },
    { id: "menu", title: t("settings.actions"), bare: true, cell: (key) => html`<${Actions} apiKey=${key} open=${open} />` },
  ];
}

/** @param {{ apiKey: Key, open: (key: Key, dialog: KeyDialog) => void }} props */
function Name({ apiKey, open }) {
  return html`
    <span class="named">
      <button type="button" class="row-link" title=${apiKey.name} onClick=${() => open(apiKey, "details")}>${apiKey.name}</button>
      ${apiKey.id === session.value?.keyId && html`<${Badge} kind="info">${t("settings.keys.own")}<//>`}
      ${apiKey.revokedAt && html`<${Badge}>${t("settings.keys.revoked")}<//>`}
    </span>
  `;
}

/** @param {{ apiKey: Key, open: (key: Key, dialog: KeyDialog) => void }} props */
function Actions({ apiKey, open }) {
  /** @type {(import("../../parts/menu.js").Item | false)[]} */
  const items = [
    { title: t("settings.details"), icon: "info", onSelect: () => open(apiKey, "details") },
    can("api-keys:write") && !apiKey.revokedAt && { title: t("settings.keys.revoke"), icon: "delete", danger: true, onSelect: () => open(apiKey, "revoke") },
  ];
  return html`<span class="row-actions"><${Menu} label=${t("settings.actionsOf", { name: apiKey.name })} items=${items.filter(Boolean)} /></span>`;
}
