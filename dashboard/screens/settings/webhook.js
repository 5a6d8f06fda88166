import { html } from "htm/preact";
import { useMemo, useState } from "preact/hooks";

import { path } from "../../address.js";
import { useGet, useList, usePolling } from "../../hooks.js";
import { t } from "../../i18n.js";
import { go, replace } from "../../location.js";
import { Button } from "../../parts/button.js";
import { Code } from "../../parts/copy.js";
import { Empty } from "../../parts/empty.js";
import { Choice, Select } from "../../parts/field.js";
import { Icon } from "../../parts/icon.js";
import { Menu } from "../../parts/menu.js";
import { Page } from "../../parts/page.js";
import { ProblemBox } from "../../parts/problem.js";
import { Loading } from "../../parts/progress.js";
import { Table } from "../../parts/table.js";
import { Time } from "../../parts/time.js";
import { can } from "../../session.js";
import { columnsOf, DeliveryDetails, replayOne } from "./deliveries.js";
import { EVENTS, titleOf } from "./events.js";
import { ReplayPeriod } from "./replay.js";
import { itemsOf, WebhookDialog } from "./webhook-dialogs.js";
import { State } from "./webhooks.js";

/** @typedef {import("./webhooks.js").Webhook} Webhook */
/** @typedef {import("./webhook-dialogs.js").Opened} Opened */

const REFRESH_MS = 5_000;
const LONG_LIST = 300;
const STATES = ["", "waiting", "delivered", "failed"];
/** Lengths of the periods in seconds. */
const PERIODS = ["", "3600", "86400", "604800"];

/**
 * The page of a webhook, with its deliveries.
 * @param {{ id: string, query: Record<string, string> }} props `query` are the filters of the deliveries
 */
export function WebhookPage({ id, query }) {
  const { value: webhook, problem, refresh } = useGet(path`/v1/webhooks/${id}`);
  usePolling(refresh, REFRESH_MS);
  const [open, setOpen] = useState(/** @type {Opened | null} */ (null));
  const [replaying, setReplaying] = useState(false);
  const back = { href: "#/settings/webhooks", title: t("settings.tab.webhooks") };
  if (!webhook) {
    return html`
      <${Page} title=${t("webhooks.one")} back=${back}>
        ${problem ? html`<${ProblemBox} problem=${problem} onRetry=${refresh} />` : html`<${Loading} label=${t("common.loading")} />`}
      <//>
    `;
  }
  const items = itemsOf(webhook, setOpen);
  const [test, ...others] = items;
  const actions = items.length > 0 && html`
    <${Button} onClick=${test.onSelect}>${test.title}<//>
    <${Button} icon="undo" onClick=${() => setReplaying(true)}>${t("webhooks.replay.period")}<//>
    <${Menu} kind="plain" label=${t("settings.actionsOf", { name: webhook.description ?? webhook.url })} items=${others} />
  `;
  const note = webhook.description && html`<${Code} code=${webhook.url} />`;
  return html`
    <${Page} fill title=${webhook.description ?? webhook.url} note=${note} back=${back} actions=${actions}>
      <${ProblemBox} problem=${problem} onRetry=${refresh} />
      <${Facts} webhook=${webhook} />
      <${Trouble} webhook=${webhook} onEnable=${() => setOpen({ webhook, dialog: "enable" })} />
      <${Deliveries} ...${{ webhook, query, replaying }} onReplayed=${() => setReplaying(false)} />
      ${open && html`
        <${WebhookDialog} opened=${open} onClose=${() => setOpen(null)} onChanged=${refresh} onDeleted=${() => go("/settings/webhooks")} />
      `}
    <//>
  `;
}

/** @param {{ webhook: Webhook }} props */
function Facts({ webhook }) {
  const { eventTypes, createdAt, maxBatch, previousSecretUntil } = webhook;
  return html`
    <dl class="facts">
      <div><dt>${t("webhooks.state")}</dt><dd><${State} webhook=${webhook} /></dd></div>
      <div><dt>${t("webhooks.events")}</dt><dd>${eventTypes.map(titleOf).join(", ")}</dd></div>
      ${maxBatch > 1 && html`<div><dt>${t("webhooks.maxBatch")}</dt><dd>${t("webhooks.upTo", { max: maxBatch })}</dd></div>`}
      <div><dt>${t("settings.created")}</dt><dd><${Time} at=${createdAt} as="date" /></dd></div>
      ${previousSecretUntil && html`
        <div><dt>${t("webhooks.previousSecret")}</dt><dd>${t("webhooks.until")} <${Time} at=${previousSecretUntil} /></dd></div>
      `}
    </dl>
  `;
}

/** The notice about an endpoint that fails, or a webhook that is disabled. @param {{ webhook: Webhook, onEnable: () => void }} props */
function Trouble({ webhook, onEnable }) {
  const { state, failingSince } = webhook;
  if (state === "enabled" && !failingSince) return null;
  const kind = state === "failed" ? "bad" : state === "disabled" ? "info" : "warn";
  return html`
    <div class="notice ${kind}">
      <${Icon} name=${kind === "info" ? "info" : "warning"} />
      <span>
        ${state !== "disabled" && failingSince && html`<strong>${t("webhooks.trouble.since")} <${Time} at=${failingSince} />.</strong> `}
        ${t(`webhooks.trouble.${state}`)}
      </span>
      ${state !== "enabled" && can("webhooks:write") && html`<${Button} onClick=${onEnable}>${t("webhooks.enable")}<//>`}
    </div>
  `;
}

/**
 * @param {{ webhook: Webhook, query: Record<string, string>, replaying: boolean, onReplayed: () => void }} props `replaying` is true while
 *   the dialog that resends a period is open
 */
function Deliveries({ webhook, query, replaying, onReplayed }) {
  const { state, event } = query;
  const since = PERIODS.includes(query.since) ? query.since : "";
  const from = useMemo(() => (since ? new Date(Date.now() - 1000 * Number(since)).toISOString() : undefined), [since]);
  const list = useList(path`/v1/webhooks/${webhook.id}/deliveries`, { state, eventType: event, from });
  usePolling(list.refresh, list.rows.length > LONG_LIST ? 4 * REFRESH_MS : REFRESH_MS);
  const [open, setOpen] = useState(/** @type {string | null} */ (null));
  const change = (/** @type {Record<string, string>} */ changed) => replace(path`/settings/webhooks/${webhook.id}`, { ...query, ...changed });
  const opened = list.rows.find((row) => row.id === open);
  const filtered = Boolean(state || event || from);
  const events = ["", ...EVENTS].map((value) => ({ value, title: value ? titleOf(value) : t("webhooks.anyEvent") }));
  const none = filtered
    ? html`<${Empty} icon="search" title=${t("webhooks.noDeliveryFits")}
        action=${html`<${Button} onClick=${() => replace(path`/settings/webhooks/${webhook.id}`)}>${t("webhooks.allDeliveries")}<//>`} />`
    : html`<${Empty} icon="clock" title=${t("webhooks.noDelivery")} text=${t("webhooks.noDelivery.text")} />`;
  return html`
    <div class="toolbar deliveries">
      <h2>${t("webhooks.deliveries")}</h2>
      <${Choice} label=${t("webhooks.state")} hideLabel look="segments" value=${state ?? ""}
        options=${STATES.map((value) => ({ value, title: t(value ? `webhooks.delivery.${value}` : "webhooks.anyState") }))}
        onChange=${(/** @type {string} */ wanted) => change({ state: wanted })} />
      <${Select} label=${t("webhooks.event")} hideLabel value=${event ?? ""} options=${events}
        onChange=${(/** @type {string} */ wanted) => change({ event: wanted })} />
      <${Select} label=${t("webhooks.period")} hideLabel value=${since}
        options=${PERIODS.map((value) => ({ value, title: t(`webhooks.period.${value || "all"}`) }))}
        onChange=${(/** @type {string} */ wanted) => change({ since: wanted })} />
    </div>
    <${ProblemBox} problem=${list.problem} onRetry=${list.refresh} />
    <${Table} fill label=${t("webhooks.deliveries")} rows=${list.rows} more=${list.more} loading=${list.loading} onMore=${list.loadMore}
      columns=${columnsOf((row) => setOpen(row.id), (row) => replayOne(webhook, row).then(list.refresh))} empty=${!list.problem && none} />
    ${opened && html`
      <${DeliveryDetails} webhook=${webhook} delivery=${opened} onClose=${() => setOpen(null)} onReplayed=${list.refresh} />
    `}
    ${replaying && html`<${ReplayPeriod} webhook=${webhook} filters=${{ ...query, since }} onClose=${onReplayed} onReplayed=${list.refresh} />`}
  `;
}
