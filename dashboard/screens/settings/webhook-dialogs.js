/** The actions on a webhook, for the list and for its page. */
import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";

import { path } from "../../address.js";
import { api } from "../../api.js";
import { t } from "../../i18n.js";
import { Button } from "../../parts/button.js";
import { Confirm, Dialog } from "../../parts/dialog.js";
import { Icon } from "../../parts/icon.js";
import { ProblemBox } from "../../parts/problem.js";
import { Loading } from "../../parts/progress.js";
import { Time } from "../../parts/time.js";
import { toast } from "../../parts/toast.js";
import { can } from "../../session.js";
import { answerOf } from "./deliveries.js";
import { SecretDialog } from "./secret.js";
import { useTask } from "./task.js";
import { EditWebhook } from "./webhook-form.js";

/** @typedef {import("./webhooks.js").Webhook} Webhook */
/** @typedef {{ webhook: Webhook, dialog: "test" | "edit" | "rotate" | "enable" | "disable" | "delete" }} Opened */
/** @typedef {{ webhook: Webhook, onClose: () => void, onChanged: () => void }} Props */

/**
 * The actions that the key of the session allows.
 * @param {Webhook} webhook
 * @param {(opened: Opened) => void} open
 * @returns {import("../../parts/menu.js").Item[]}
 */
export function itemsOf(webhook, open) {
  if (!can("webhooks:write")) return [];
  const on = webhook.state === "enabled";
  return [
    { title: t("webhooks.test"), icon: "next", onSelect: () => open({ webhook, dialog: "test" }) },
    { title: t("webhooks.edit.action"), icon: "edit", onSelect: () => open({ webhook, dialog: "edit" }) },
    { title: t("webhooks.rotate"), icon: "key", onSelect: () => open({ webhook, dialog: "rotate" }) },
    on
      ? { title: t("webhooks.disable"), icon: "hide", onSelect: () => open({ webhook, dialog: "disable" }) }
      : { title: t("webhooks.enable"), icon: "check", onSelect: () => open({ webhook, dialog: "enable" }) },
    { title: t("webhooks.delete"), icon: "delete", danger: true, onSelect: () => open({ webhook, dialog: "delete" }) },
  ];
}

/** @param {{ opened: Opened, onClose: () => void, onChanged: () => void, onDeleted: () => void }} props */
export function WebhookDialog({ opened, onClose, onChanged, onDeleted }) {
  const { webhook, dialog } = opened;
  const props = { webhook, onClose, onChanged };
  if (dialog === "test") return html`<${Test} ...${props} />`;
  if (dialog === "edit") return html`<${EditWebhook} webhook=${webhook} onClose=${onClose} onSaved=${onChanged} />`;
  if (dialog === "rotate") return html`<${Rotate} ...${props} />`;
  if (dialog === "enable") return html`<${Enable} ...${props} />`;
  if (dialog === "disable") return html`<${Disable} ...${props} />`;
  return html`<${Delete} ...${props} onChanged=${onDeleted} />`;
}

/** Sends a test message at once and shows its outcome. @param {Props} props */
function Test({ webhook, onClose }) {
  const [result, setResult] = useState(/** @type {any} */ (null));
  const { busy, problem, run } = useTask();
  const send = () => run(async () => {
    setResult(null);
    setResult(await api.send("POST", path`/v1/webhooks/${webhook.id}/test`));
  });
  useEffect(() => void send(), []);
  const actions = html`
    <${Button} busy=${busy} onClick=${send}>${t("webhooks.test.again")}<//>
    <${Button} kind="primary" onClick=${onClose}>${t("common.close")}<//>
  `;
  return html`
    <${Dialog} title=${t("webhooks.test.title")} onClose=${onClose} actions=${actions}>
      <p class="breaking soft">${webhook.url}</p>
      ${busy && html`<${Loading} label=${t("webhooks.test.running")} />`}
      <div class="outcome" role="status">
        ${result && html`
          <p class="notice ${result.delivered ? "good" : "bad"}">
            <${Icon} name=${result.delivered ? "check" : "warning"} />
            <span><strong>${t(result.delivered ? "webhooks.test.delivered" : "webhooks.test.failed")}</strong><br />${answerOf(result)}</span>
          </p>
          ${!result.delivered && html`<p>${t("webhooks.test.todo")}</p>`}
        `}
      </div>
      <${ProblemBox} problem=${problem} />
      <p class="hint">${t("webhooks.test.hint")}</p>
    <//>
  `;
}

/** @param {Props} props */
function Rotate({ webhook, onClose, onChanged }) {
  const [issued, setIssued] = useState(/** @type {any} */ (null));
  const { busy, problem, run } = useTask();
  if (issued) {
    return html`
      <${SecretDialog} title=${t("webhooks.rotated")} name=${t("webhooks.secret")} secret=${issued.secret} onClose=${onClose}>
        <p>${t("webhooks.secret.use")}</p>
        <p>${t("webhooks.rotated.until")} <strong><${Time} at=${issued.previousSecretUntil} /></strong></p>
      <//>
    `;
  }
  const rotate = () => run(async () => {
    setIssued(await api.send("POST", path`/v1/webhooks/${webhook.id}/rotate-secret`));
    onChanged();
  });
  const actions = html`
    <${Button} disabled=${busy} onClick=${onClose}>${t("common.cancel")}<//>
    <${Button} kind="primary" busy=${busy} onClick=${rotate}>${t("webhooks.rotate.action")}<//>
  `;
  return html`
    <${Dialog} busy=${busy} title=${t("webhooks.rotate.title")} onClose=${onClose} actions=${actions}>
      <p class="breaking soft">${webhook.url}</p>
      <ol class="steps">
        <li>${t("webhooks.rotate.first")}</li>
        <li>${t("webhooks.rotate.second")}</li>
        <li>${t("webhooks.rotate.third")}</li>
      </ol>
      ${webhook.previousSecretUntil && html`
        <p class="notice warn">
          <${Icon} name="warning" />
          <span>${t("webhooks.rotate.running")} <${Time} at=${webhook.previousSecretUntil} />. ${t("webhooks.rotate.drops")}</span>
        </p>
      `}
      <${ProblemBox} problem=${problem} />
    <//>
  `;
}

/** @param {Props} props */
function Enable({ webhook, onClose, onChanged }) {
  const enable = () => put(webhook, "enabled", "webhooks.isEnabled", onChanged);
  return html`
    <${Confirm} title=${t("webhooks.enable.title")} action=${t("webhooks.enable")} onConfirm=${enable} onClose=${onClose}>
      <p class="breaking soft">${webhook.url}</p>
      <p>${t("webhooks.enable.text")}</p>
    <//>
  `;
}

/** @param {Props} props */
function Disable({ webhook, onClose, onChanged }) {
  const disable = () => put(webhook, "disabled", "webhooks.isDisabled", onChanged);
  return html`
    <${Confirm} title=${t("webhooks.disable.title")} action=${t("webhooks.disable")} onConfirm=${disable} onClose=${onClose}>
      <p class="breaking soft">${webhook.url}</p>
      <p>${t("webhooks.disable.text")}</p>
    <//>
  `;
}

/** @param {Props} props */
function Delete({ webhook, onClose, onChanged }) {
  const confirm = async () => {
    await api.send("DELETE", path`/v1/webhooks/${webhook.id}`);
    toast(t("webhooks.deleted"));
    onChanged();
  };
  return html`
    <${Confirm} danger title=${t("webhooks.delete.title")} action=${t("webhooks.delete")} onConfirm=${confirm} onClose=${onClose}>
      <p class="breaking soft">${webhook.url}</p>
      <p>${t("webhooks.delete.text")}</p>
    <//>
  `;
}

/**
 * @param {Webhook} webhook
 * @param {"enabled" | "disabled"} state
 * @param {string} message key of a text
 * @param {() => void} onChanged
 */
async function put(webhook, state, message, onChanged) {
  await api.send("PATCH", path`/v1/webhooks/${webhook.id}`, { state });
  toast(t(message));
  onChanged();
}
