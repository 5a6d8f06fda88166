import { useState } from "preact/hooks";

import { path } from "../../address";
import { api } from "../../api";
import { t } from "../../i18n";
import { Button } from "../../parts/button";
import { Dialog } from "../../parts/dialog";
import { Select, TextField } from "../../parts/field";
import { ProblemBox } from "../../parts/problem";
import { toast } from "../../parts/toast";
import type { Schema } from "../../schemas";
import { EVENTS, titleOf } from "./events";
import { useForm } from "./form";
import type { Webhook } from "./webhooks";
import layout from "../../parts/layout.module.css";

const DAY_S = 86_400;

/**
 * The dialog that resends the messages of a period.
 * @param props `filters` are those of the list, used as initial values
 */
export function ReplayPeriod({
  webhook,
  filters,
  onClose,
  onReplayed,
}: {
  webhook: Webhook;
  filters: Record<string, string>;
  onClose: () => void;
  onReplayed: () => void;
}) {
  const [from, setFrom] = useState(() => typedOf(Date.now() - 1000 * Number(filters.since || DAY_S)));
  const [to, setTo] = useState(() => typedOf(Date.now() + 60_000));
  const [state, setState] = useState(filters.state ?? "failed");
  const [event, setEvent] = useState(filters.event ?? "");
  const { busy, body, tried, submit, fault, problem } = useForm(["/from", "/to"]);
  const faultIn = (typed: string) => (tried && !momentOf(typed) ? t("common.missing.time") : null);
  const backwards = from !== "" && to !== "" && from >= to ? t("webhooks.replay.backwards") : null;
  const replay = () =>
    submit(Boolean(momentOf(from) && momentOf(to) && !backwards), async () => {
      const query = { from: momentOf(from), to: momentOf(to), state, eventType: event };
      const { replayed } = await api.send<Schema<"Replayed">>("POST", path`/v1/webhooks/${webhook.id}/deliveries/replay`, undefined, {
        query,
      });
      toast(t("webhooks.replayed", { n: replayed }));
      onReplayed();
      onClose();
    });
  const actions = (
    <>
      <Button onClick={onClose}>{t("common.cancel")}</Button>
      <Button kind="primary" type="submit" busy={busy}>
        {t("webhooks.replay")}
      </Button>
    </>
  );
  const states = ["failed", "delivered", "waiting", ""].map((value) => ({
    value,
    title: t(value ? `webhooks.delivery.${value}` : "webhooks.anyState"),
  }));
  const events = ["", ...EVENTS].map((value) => ({ value, title: value ? titleOf(value) : t("webhooks.anyEvent") }));
  return (
    <Dialog wide title={t("webhooks.replay.period")} onClose={onClose} onSubmit={replay} actions={actions}>
      <div class={layout.form} ref={body}>
        <p>{t("webhooks.replay.text")}</p>
        <div class={layout.pair}>
          <TextField
            type="datetime-local"
            label={t("webhooks.from")}
            value={from}
            onChange={setFrom}
            fault={faultIn(from) ?? fault("/from")}
          />
          <TextField
            type="datetime-local"
            label={t("webhooks.to")}
            value={to}
            onChange={setTo}
            fault={faultIn(to) ?? backwards ?? fault("/to")}
          />
        </div>
        <p class="hint">{t("webhooks.replay.zone", { zone: Intl.DateTimeFormat().resolvedOptions().timeZone })}</p>
        <div class={layout.pair}>
          <Select label={t("webhooks.state")} value={state} options={states} onChange={setState} />
          <Select label={t("webhooks.event")} value={event} options={events} onChange={setEvent} />
        </div>
        <ProblemBox problem={problem} />
      </div>
    </Dialog>
  );
}

/** The instant of a date and time field, in the time zone of the browser. */
function momentOf(typed: string) {
  const at = new Date(typed);
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
}

/** The value of a date and time field for an instant, in the time zone of the browser. */
function typedOf(at: number) {
  const local = new Date(at - new Date(at).getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}
