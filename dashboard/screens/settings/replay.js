import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { path } from "../../address.js";
import { api } from "../../api.js";
import { t } from "../../i18n.js";
import { Button } from "../../parts/button.js";
import { Dialog } from "../../parts/dialog.js";
import { Select, TextField } from "../../parts/field.js";
import { ProblemBox } from "../../parts/problem.js";
import { toast } from "../../parts/toast.js";
import { EVENTS, titleOf } from "./events.js";
import { useForm } from "./form.js";

const DAY_S = 86_400;

/**
 * The dialog that resends the messages of a period.
 * @param {{ webhook: import("./webhooks.js").Webhook, filters: Record<string, string>, onClose: () => void, onReplayed: () => void }} props
 *   `filters` are those of the list, used as initial values
 */
export function ReplayPeriod({ webhook, filters, onClose, onReplayed }) {
  const [from, setFrom] = useState(() => typedOf(Date.now() - 1000 * Number(filters.since || DAY_S)));
  const [to, setTo] = useState(() => typedOf(Date.now() + 60_000));
  const [state, setState] = useState(filters.state ?? "failed");
  const [event, setEvent] = useState(filters.event ?? "");
  const { busy, body, tried, submit, fault, problem } = useForm(["/from", "/to"]);
  const faultIn = (/** @type {string} */ typed) => (tried && !momentOf(typed) ? t("common.missing.time") : null);
  const backwards = from !== "" && to !== "" && from >= to ? t("webhooks.replay.backwards") : null;
  const replay = () => submit(Boolean(momentOf(from) && momentOf(to) && !backwards), async () => {
    const query = { from: momentOf(from), to: momentOf(to), state, eventType: event };
    const { replayed } = await api.send("POST", path`/v1/webhooks/${webhook.id}/deliveries/replay`, undefined, { query });
    toast(t("webhooks.replayed", { n: replayed }));
    onReplayed();
    onClose();
  });
  const actions = html`
    <${Button} onClick=${onClose}>${t("common.cancel")}<//>
    <${Button} kind="primary" type="submit" busy=${busy}>${t("webhooks.replay")}<//>
  `;
  const states = ["failed", "delivered", "waiting", ""].map((value) => ({ value, title: t(value ? `webhooks.delivery.${value}` : "webhooks.anyState") }));
  const events = ["", ...EVENTS].map((value) => ({ value, title: value ? titleOf(value) : t("webhooks.anyEvent") }));
  return html`
    <${Dialog} wide title=${t("webhooks.replay.period")} onClose=${onClose} onSubmit=${replay} actions=${actions}>
      <div class="form" ref=${body}>
        <p>${t("webhooks.replay.text")}</p>
        <div class="pair">
          <${TextField} type="datetime-local" label=${t("webhooks.from")} value=${from} onChange=${setFrom}
            fault=${faultIn(from) ?? fault("/from")} />
          <${TextField} type="datetime-local" label=${t("webhooks.to")} value=${to} onChange=${setTo}
            fault=${faultIn(to) ?? backwards ?? fault("/to")} />
        </div>
        <p class="hint">${t("webhooks.replay.zone", { zone: Intl.DateTimeFormat().resolvedOptions().timeZone })}</p>
        <div class="pair">
          <${Select} label=${t("webhooks.state")} value=${state} options=${states} onChange=${setState} />
          <${Select} label=${t("webhooks.event")} value=${event} options=${events} onChange=${setEvent} />
        </div>
        <${ProblemBox} problem=${problem} />
      </div>
    <//>
  `;
}

/** The instant of a date and time field, in the time zone of the browser. @param {string} typed */
function momentOf(typed) {
  const at = new Date(typed);
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
}

/** The value of a date and time field for an instant, in the time zone of the browser. @param {number} at */
function typedOf(at) {
  const local = new Date(at - new Date(at).getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}
