/** Deliveries of a webhook: the columns of their list, and all attempts of one. */

import { path } from "../../address";
import { api, problemOf } from "../../api";
import { number } from "../../format";
import { t } from "../../i18n";
import { Badge } from "../../parts/badge";
import { Button } from "../../parts/button";
import { Code } from "../../parts/copy";
import { Dialog } from "../../parts/dialog";
import { Icon } from "../../parts/icon";
import { Menu, type Item } from "../../parts/menu";
import { ProblemBox } from "../../parts/problem";
import { SetName } from "../../parts/set-name";
import type { Column } from "../../parts/table";
import { Time } from "../../parts/time";
import { toast } from "../../parts/toast";
import { can } from "../../session";
import { titleOf } from "./events";
import { useTask } from "./task";
import type { Webhook } from "./webhooks";
import tableCss from "../../parts/table.module.css";
import css from "../settings.module.css";

export type Attempt = { startedAt: string; millis: number; status: number | null; error: string | null };

export type Delivery = {
  id: string;
  eventType: string;
  occurredAt: string;
  couponSetId: string | null;
  ledgerNumber: number | null;
  state: "waiting" | "delivered" | "failed";
  attemptCount: number;
  attempts: Attempt[];
  nextAttemptAt: string | null;
  endedAt: string | null;
};

const KINDS = { waiting: "info", delivered: "good", failed: "bad" } as const;

/** The response of an endpoint, with its duration. */
export function answerOf({ status, error, millis }: Attempt) {
  const took = millis < 1000 ? t("webhooks.millis", { n: millis }) : t("webhooks.seconds", { n: Math.round(millis / 100) / 10 });
  if (status !== null) return t("webhooks.answered", { status: String(status), took });
  return (
    <>
      {t("webhooks.noAnswer", { took })} <span lang="en">{error}</span>
    </>
  );
}

export async function replayOne(webhook: Webhook, delivery: Delivery) {
  try {
    await api.send("POST", path`/v1/webhooks/${webhook.id}/deliveries/${delivery.id}/replay`);
    toast(t("webhooks.replayed.one"));
  } catch (failure) {
    const { title, detail } = problemOf(failure);
    toast(detail || title || t("common.offline"), "bad");
  }
}

function lastAnswerOf({ attempts }: Delivery) {
  const last = attempts.at(-1);
  return last ? answerOf(last) : "–";
}

export function columnsOf(open: (delivery: Delivery) => void, replay: (delivery: Delivery) => void): Column<Delivery>[] {
  return [
    { id: "event", title: t("webhooks.event"), main: true, cell: (row) => <Event delivery={row} open={open} /> },
    { id: "state", title: t("webhooks.state"), cell: (row) => <State state={row.state} /> },
    { id: "set", title: t("webhooks.set"), cell: (row) => (row.couponSetId ? <SetName id={row.couponSetId} /> : "–") },
    { id: "happened", title: t("webhooks.happened"), cell: (row) => <Time at={row.occurredAt} /> },
    { id: "attempts", title: t("webhooks.attempts"), align: "end", cell: (row) => number(row.attemptCount) },
    { id: "answer", title: t("webhooks.lastAnswer"), cell: (row) => lastAnswerOf(row) },
    { id: "menu", title: t("settings.actions"), bare: true, cell: (row) => <Actions {...{ delivery: row, open, replay }} /> },
  ];
}

function Event({ delivery, open }: { delivery: Delivery; open: (delivery: Delivery) => void }) {
  return (
    <button type="button" class={tableCss.rowLink} onClick={() => open(delivery)}>
      {titleOf(delivery.eventType)}
    </button>
  );
}

function State({ state }: { state: Delivery["state"] }) {
  return <Badge kind={KINDS[state]}>{t(`webhooks.delivery.${state}`)}</Badge>;
}

function Actions({
  delivery,
  open,
  replay,
}: {
  delivery: Delivery;
  open: (delivery: Delivery) => void;
  replay: (delivery: Delivery) => void;
}) {
  const items: (Item | false)[] = [
    { title: t("settings.details"), icon: "info", onSelect: () => open(delivery) },
    can("webhooks:write") && { title: t("webhooks.replay"), icon: "undo", onSelect: () => replay(delivery) },
  ];
  return (
    <span class={tableCss.rowActions}>
      <Menu label={t("settings.actionsOf", { name: titleOf(delivery.eventType) })} items={items} />
    </span>
  );
}

export function DeliveryDetails({
  webhook,
  delivery,
  onClose,
  onReplayed,
}: {
  webhook: Webhook;
  delivery: Delivery;
  onClose: () => void;
  onReplayed: () => void;
}) {
  const { busy, problem, run } = useTask();
  const { id, eventType, occurredAt, couponSetId, ledgerNumber, state, attempts, attemptCount, nextAttemptAt, endedAt } = delivery;
  const replay = () =>
    run(async () => {
      await api.send("POST", path`/v1/webhooks/${webhook.id}/deliveries/${id}/replay`);
      toast(t("webhooks.replayed.one"));
      onReplayed();
    });
  const actions = (
    <>
      {can("webhooks:write") && (
        <Button icon="undo" busy={busy} onClick={replay}>
          {t("webhooks.replay")}
        </Button>
      )}
      <Button kind="primary" onClick={onClose}>
        {t("common.close")}
      </Button>
    </>
  );
  return (
    <Dialog wide title={titleOf(eventType)} onClose={onClose} actions={actions}>
      <dl class={css.facts}>
        <div>
          <dt>{t("webhooks.state")}</dt>
          <dd>
            <State state={state} />
          </dd>
        </div>
        <div>
          <dt>{t("webhooks.happened")}</dt>
          <dd>
            <Time at={occurredAt} />
          </dd>
        </div>
        {nextAttemptAt && (
          <div>
            <dt>{t("webhooks.nextAttempt")}</dt>
            <dd>
              <Time at={nextAttemptAt} />
            </dd>
          </div>
        )}
        {endedAt && (
          <div>
            <dt>{t(`webhooks.ended.${state}`)}</dt>
            <dd>
              <Time at={endedAt} />
            </dd>
          </div>
        )}
        {couponSetId && (
          <div>
            <dt>{t("webhooks.set")}</dt>
            <dd>
              <SetName id={couponSetId} />
            </dd>
          </div>
        )}
        {ledgerNumber !== null && (
          <div>
            <dt>
              <code>ledgerNumber</code>
            </dt>
            <dd>{number(ledgerNumber)}</dd>
          </div>
        )}
        <div>
          <dt>
            <code>webhook-id</code>
          </dt>
          <dd>
            <Code code={id} />
          </dd>
        </div>
        <div>
          <dt>
            <code>type</code>
          </dt>
          <dd>
            <code>{eventType}</code>
          </dd>
        </div>
      </dl>
      <ProblemBox problem={problem} />
      <h3>{t("webhooks.attempts")}</h3>
      {attemptCount > attempts.length && <p class="hint">{t("webhooks.attempts.last", { n: attempts.length, all: attemptCount })}</p>}
      {attempts.length === 0 ? (
        <p class="soft">{t("webhooks.attempts.none")}</p>
      ) : (
        <ol class={css.tries}>
          {attempts.map((attempt) => (
            <Tried key={attempt.startedAt} attempt={attempt} />
          ))}
        </ol>
      )}
    </Dialog>
  );
}

function Tried({ attempt }: { attempt: Attempt }) {
  const taken = attempt.status !== null && attempt.status >= 200 && attempt.status < 300;
  return (
    <li class={taken ? css.taken : css.refused}>
      <Icon name={taken ? "check" : "warning"} />
      <span>
        <Time at={attempt.startedAt} />
      </span>
      <span>{answerOf(attempt)}</span>
    </li>
  );
}
