/** Deliveries of a webhook: the columns of their list, and all attempts of one. */
import { html } from "htm/preact";

import { path } from "../../address.js";
import { api, problemOf } from "../../api.js";
import { number } from "../../format.js";
import { t } from "../../i18n.js";
import { Badge } from "../../parts/badge.js";
import { Button } from "../../parts/button.js";
import { Code } from "../../parts/copy.js";
import { Dialog } from "../../parts/dialog.js";
import { Icon } from "../../parts/icon.js";
import { Menu } from "../../parts/menu.js";
import { ProblemBox } from "../../parts/problem.js";
import { SetName } from "../../parts/set-name.js";
import { Time } from "../../parts/time.js";
import { toast } from "../../parts/toast.js";
import { can } from "../../session.js";
import { titleOf } from "./events.js";
import { useTask } from "./task.js";

/**
 * @typedef {{ startedAt: string, millis: number, status: number | null, error: string | null }} Attempt
 *
 * @typedef {object} Delivery
 * @property {string} id
 * @property {string} eventType
 * @property {string} occurredAt
 * @property {string | null} couponSetId
 * @property {number | null} ledgerNumber
 * @property {"waiting" | "delivered" | "failed"} state
 * @property {number} attemptCount
 * @property {Attempt[]} attempts
 * @property {string | null} nextAttemptAt
 * @property {string | null} endedAt
 */

const KINDS = /** @type {const} */ ({ waiting: "info", delivered: "good", failed: "bad" });

/**
 * The response of an endpoint, with its duration.
 * @param {Attempt} attempt
 */
export function answerOf({ status, error, millis }) {
  const took = millis < 1000 ? t("webhooks.millis", { n: millis }) : t("webhooks.seconds", { n: Math.round(millis / 100) / 10 });
  if (status !== null) return t("webhooks.answered", { status: String(status), took });
  return html`${t("webhooks.noAnswer", { took })} <span lang="en">${error}</span>`;
}

/**
 * @param {import("./webhooks.js").Webhook} webhook
 * @param {Delivery} delivery
 */
export async function replayOne(webhook, delivery) {
  try {
    await api.send("POST", path`/v1/webhooks/${webhook.id}/deliveries/${delivery.id}/replay`);
    toast(t("webhooks.replayed.one"));
  } catch (failure) {
    const { title, detail } = problemOf(failure);
    toast(detail || title || t("common.offline"), "bad");
  }
}

/**
 * @param {(delivery: Delivery) => void} open
 * @param {(delivery: Delivery) => void} replay
 * @returns {import("../../parts/table.js").Column[]}
 */
export function columnsOf(open, replay) {
  return [
    { id: "event", title: t("webhooks.event"), main: true, cell: (row) => html`<${Event} delivery=${row} open=${open} />` },
    { id: "state", title: t("webhooks.state"), cell: (row) => html`<${State} state=${row.state} />` },
    { id: "set", title: t("webhooks.set"), cell: (row) => (row.couponSetId ? html`<${SetName} id=${row.couponSetId} />` : "–") },
    { id: "happened", title: t("webhooks.happened"), cell: (row) => html`<${Time} at=${row.occurredAt} />` },
    { id: "attempts", title: t("webhooks.attempts"), align: "end", cell: (row) => number(row.attemptCount) },
    { id: "answer", title: t("webhooks.lastAnswer"), cell: (row) => (row.attempts.length > 0 ? answerOf(row.attempts.at(-1)) : "–") },
    { id: "menu", title: t("settings.actions"), bare: true, cell: (row) => html`<${Actions} ...${{ delivery: row, open, replay }} />` },
  ];
}

/** @param {{ delivery: Delivery, open: (delivery: Delivery) => void }} props */
function Event({ delivery, open }) {
  return html`<button type="button" class="row-link" onClick=${() => open(delivery)}>${titleOf(delivery.eventType)}</button>`;
}

/** @param {{ state: Delivery["state"] }} props */
function State({ state }) {
  return html`<${Badge} kind=${KINDS[state]}>${t(`webhooks.delivery.${state}`)}<//>`;
}

/** @param {{ delivery: Delivery, open: (delivery: Delivery) => void, replay: (delivery: Delivery) => void }} props */
function Actions({ delivery, open, replay }) {
  /** @type {(import("../../parts/menu.js").Item | false)[]} */
  const items = [
    { title: t("settings.details"), icon: "info", onSelect: () => open(delivery) },
    can("webhooks:write") && { title: t("webhooks.replay"), icon: "undo", onSelect: () => replay(delivery) },
  ];
  return html`<span class="row-actions"><${Menu} label=${t("settings.actionsOf", { name: titleOf(delivery.eventType) })} items=${items.filter(Boolean)} /></span>`;
}

/** @param {{ webhook: import("./webhooks.js").Webhook, delivery: Delivery, onClose: () => void, onReplayed: () => void }} props */
export function DeliveryDetails({ webhook, delivery, onClose, onReplayed }) {
  const { busy, problem, run } = useTask();
  const { id, eventType, occurredAt, couponSetId, ledgerNumber, state, attempts, attemptCount, nextAttemptAt, endedAt } = delivery;
  const replay = () => run(async () => {
    await api.send("POST", path`/v1/webhooks/${webhook.id}/deliveries/${id}/replay`);
    toast(t("webhooks.replayed.one"));
    onReplayed();
  });
  const actions = html`
    ${can("webhooks:write") && html`<${Button} icon="undo" busy=${busy} onClick=${replay}>${t("webhooks.replay")}<//>`}
    <${Button} kind="primary" onClick=${onClose}>${t("common.close")}<//>
  `;
  return html`
    <${Dialog} wide title=${titleOf(eventType)} onClose=${onClose} actions=${actions}>
      <dl class="facts">
        <div><dt>${t("webhooks.state")}</dt><dd><${State} state=${state} /></dd></div>
        <div><dt>${t("webhooks.happened")}</dt><dd><${Time} at=${occurredAt} /></dd></div>
        ${nextAttemptAt && html`<div><dt>${t("webhooks.nextAttempt")}</dt><dd><${Time} at=${nextAttemptAt} /></dd></div>`}
        ${endedAt && html`<div><dt>${t(`webhooks.ended.${state}`)}</dt><dd><${Time} at=${endedAt} /></dd></div>`}
        ${couponSetId && html`<div><dt>${t("webhooks.set")}</dt><dd><${SetName} id=${couponSetId} /></dd></div>`}
        ${ledgerNumber !== null && html`<div><dt><code>ledgerNumber</code></dt><dd>${number(ledgerNumber)}</dd></div>`}
        <div><dt><code>webhook-id</code></dt><dd><${Code} code=${id} /></dd></div>
        <div><dt><code>type</code></dt><dd><code>${eventType}</code></dd></div>
      </dl>
      <${ProblemBox} problem=${problem} />
      <h3>${t("webhooks.attempts")}</h3>
      ${attemptCount > attempts.length && html`<p class="hint">${t("webhooks.attempts.last", { n: attempts.length, all: attemptCount })}</p>`}
      ${attempts.length === 0
        ? html`<p class="soft">${t("webhooks.attempts.none")}</p>`
        : html`<ol class="tries">${attempts.map((attempt) => html`<${Tried} key=${attempt.startedAt} attempt=${attempt} />`)}</ol>`}
    <//>
  `;
}

/** @param {{ attempt: Attempt }} props */
function Tried({ attempt }) {
  const taken = attempt.status !== null && attempt.status >= 200 && attempt.status < 300;
  return html`
    <li class=${taken ? "taken" : "refused"}>
      <${Icon} name=${taken ? "check" : "warning"} />
      <span><${Time} at=${attempt.startedAt} /></span>
      <span>${answerOf(attempt)}</span>
    </li>
  `;
}
