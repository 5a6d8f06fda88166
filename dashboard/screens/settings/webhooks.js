import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { path } from "../../address.js";
import { t } from "../../i18n.js";
import { Badge } from "../../parts/badge.js";
import { Button } from "../../parts/button.js";
import { Empty } from "../../parts/empty.js";
import { Menu } from "../../parts/menu.js";
import { ProblemBox } from "../../parts/problem.js";
import { Table } from "../../parts/table.js";
import { Time } from "../../parts/time.js";
import { can } from "../../session.js";
import { useAll } from "./all.js";
import { titleOf } from "./events.js";
import { Lead } from "./lead.js";
import { itemsOf, WebhookDialog } from "./webhook-dialogs.js";
import { CreateWebhook } from "./webhook-form.js";

/**
 * @typedef {object} Webhook
 * @property {string} id
 * @property {string} url
 * @property {string[]} eventTypes
 * @property {string | null} description
 * @property {number} maxBatch
 * @property {"enabled" | "disabled" | "failed"} state
 * @property {string | null} failingSince
 * @property {string | null} previousSecretUntil
 * @property {string} createdAt
 */

export function Webhooks() {
  const list = useAll("/v1/webhooks");
  const [creating, setCreating] = useState(false);
  const [open, setOpen] = useState(/** @type {import("./webhook-dialogs.js").Opened | null} */ (null));
  const write = can("webhooks:write");
  const create = (/** @type {string} */ text) => write && html`
    <${Button} kind="primary" icon="plus" onClick=${() => setCreating(true)}>${text}<//>
  `;
  const none = html`
    <${Empty} icon="webhook" title=${t("webhooks.none")} text=${t("webhooks.none.text")} action=${create(t("webhooks.createFirst"))} />
  `;
  return html`
    <${Lead} text=${t("webhooks.lead")} action=${list.rows.length > 0 && create(t("webhooks.create"))} />
    <${ProblemBox} problem=${list.problem} onRetry=${list.refresh} />
    <${Table} label=${t("settings.tab.webhooks")} columns=${columnsOf(setOpen)} rows=${list.rows} loading=${list.loading} empty=${!list.problem && none} />
    ${creating && html`<${CreateWebhook} onClose=${() => setCreating(false)} onCreated=${list.refresh} />`}
    ${open && html`<${WebhookDialog} opened=${open} onClose=${() => setOpen(null)} onChanged=${list.refresh} onDeleted=${list.refresh} />`}
  `;
}

/**
 * @param {(opened: import("./webhook-dialogs.js").Opened) => void} open
 * @returns {import("../../parts/table.js").Column[]}
 */
function columnsOf(open) {
  return [
    { id: "endpoint", title: t("webhooks.endpoint"), main: true, cell: (webhook) => html`<${Endpoint} webhook=${webhook} />` },
    { id: "events", title: t("webhooks.events"), cell: (webhook) => html`<${Events} types=${webhook.eventTypes} />` },
    { id: "state", title: t("webhooks.state"), cell: (webhook) => html`<${State} webhook=${webhook} />` },
    { id: "failing", title: t("webhooks.failingSince"), cell: (webhook) => html`<${Time} at=${webhook.failingSince} />` },
    { id: "menu", title: t("settings.actions"), bare: true, cell: (webhook) => html`<${Actions} ...${{ webhook, open }} />` },
  ];
}

/** @param {{ webhook: Webhook }} props */
function Endpoint({ webhook }) {
  const { id, url, description } = webhook;
  return html`
    <span class="lines">
      <a class="row-link" href=${path`#/settings/webhooks/${id}`} title=${url}>${description ?? url}</a>
      ${description && html`<span class="soft" title=${url}>${url}</span>`}
    </span>
  `;
}

/** @param {{ types: string[] }} props */
function Events({ types }) {
  const all = types.map(titleOf).join(", ");
  return html`<span title=${all}>${types.length === 1 ? all : t("webhooks.eventCount", { n: types.length })}</span>`;
}

/** @param {{ webhook: Webhook }} props */
export function State({ webhook }) {
  const { state, failingSince } = webhook;
  if (state === "failed") return html`<${Badge} kind="bad">${t("webhooks.state.failed")}<//>`;
  if (state === "disabled") return html`<${Badge}>${t("webhooks.state.disabled")}<//>`;
  if (failingSince) return html`<${Badge} kind="warn">${t("webhooks.state.failing")}<//>`;
  return html`<${Badge} kind="good">${t("webhooks.state.enabled")}<//>`;
}

/** @param {{ webhook: Webhook, open: (opened: import("./webhook-dialogs.js").Opened) => void }} props */
function Actions({ webhook, open }) {
  const look = { title: t("webhooks.deliveries"), icon: "clock", href: path`#/settings/webhooks/${webhook.id}` };
  const items = [look, ...itemsOf(webhook, open)];
  return html`<span class="row-actions"><${Menu} label=${t("settings.actionsOf", { name: webhook.description ?? webhook.url })} items=${items} /></span>`;
}
