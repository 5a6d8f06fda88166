import { useMemo, useState } from "preact/hooks";

import { path } from "../../address";
import { useGet, useList, usePolling } from "../../hooks";
import { t } from "../../i18n";
import { go, replace } from "../../location";
import { Button } from "../../parts/button";
import { Code } from "../../parts/copy";
import { Empty } from "../../parts/empty";
import { Choice, Select } from "../../parts/field";
import { Icon } from "../../parts/icon";
import { Menu } from "../../parts/menu";
import { Page } from "../../parts/page";
import { ProblemBox } from "../../parts/problem";
import { Loading } from "../../parts/progress";
import { Table } from "../../parts/table";
import { Time } from "../../parts/time";
import { can } from "../../session";
import { columnsOf, DeliveryDetails, replayOne, type Delivery } from "./deliveries";
import { EVENTS, titleOf } from "./events";
import { ReplayPeriod } from "./replay";
import { itemsOf, WebhookDialog, type Opened } from "./webhook-dialogs";
import { State, type Webhook } from "./webhooks";
import layout from "../../parts/layout.module.css";
import css from "../settings.module.css";

const REFRESH_MS = 5_000;
const LONG_LIST = 300;
const STATES = ["", "waiting", "delivered", "failed"];
/** Lengths of the periods in seconds. */
const PERIODS = ["", "3600", "86400", "604800"];

/**
 * The page of a webhook, with its deliveries.
 * @param props `query` are the filters of the deliveries
 */
export function WebhookPage({ id, query }: { id: string; query: Record<string, string> }) {
  const { value: webhook, problem, refresh } = useGet<Webhook>(path`/v1/webhooks/${id}`);
  usePolling(refresh, REFRESH_MS);
  const [open, setOpen] = useState<Opened | null>(null);
  const [replaying, setReplaying] = useState(false);
  const back = { href: "#/settings/webhooks", title: t("settings.tab.webhooks") };
  if (!webhook) {
    return (
      <Page title={t("webhooks.one")} back={back}>
        {problem ? <ProblemBox problem={problem} onRetry={refresh} /> : <Loading label={t("common.loading")} />}
      </Page>
    );
  }
  const items = itemsOf(webhook, setOpen);
  const [test, ...others] = items;
  const actions = items.length > 0 && (
    <>
      <Button onClick={test.onSelect}>{test.title}</Button>
      <Button icon="undo" onClick={() => setReplaying(true)}>
        {t("webhooks.replay.period")}
      </Button>
      <Menu kind="plain" label={t("settings.actionsOf", { name: webhook.description ?? webhook.url })} items={others} />
    </>
  );
  const note = webhook.description && <Code code={webhook.url} />;
  return (
    <Page fill title={webhook.description ?? webhook.url} note={note} back={back} actions={actions}>
      <ProblemBox problem={problem} onRetry={refresh} />
      <Facts webhook={webhook} />
      <Trouble webhook={webhook} onEnable={() => setOpen({ webhook, dialog: "enable" })} />
      <Deliveries {...{ webhook, query, replaying }} onReplayed={() => setReplaying(false)} />
      {open && <WebhookDialog opened={open} onClose={() => setOpen(null)} onChanged={refresh} onDeleted={() => go("/settings/webhooks")} />}
    </Page>
  );
}

function Facts({ webhook }: { webhook: Webhook }) {
  const { eventTypes, createdAt, maxBatch, previousSecretUntil } = webhook;
  return (
    <dl class={css.facts}>
      <div>
        <dt>{t("webhooks.state")}</dt>
        <dd>
          <State webhook={webhook} />
        </dd>
      </div>
      <div>
        <dt>{t("webhooks.events")}</dt>
        <dd>{eventTypes.map(titleOf).join(", ")}</dd>
      </div>
      {maxBatch > 1 && (
        <div>
          <dt>{t("webhooks.maxBatch")}</dt>
          <dd>{t("webhooks.upTo", { max: maxBatch })}</dd>
        </div>
      )}
      <div>
        <dt>{t("settings.created")}</dt>
        <dd>
          <Time at={createdAt} as="date" />
        </dd>
      </div>
      {previousSecretUntil && (
        <div>
          <dt>{t("webhooks.previousSecret")}</dt>
          <dd>
            {t("webhooks.until")} <Time at={previousSecretUntil} />
          </dd>
        </div>
      )}
    </dl>
  );
}

/** The notice about an endpoint that fails, or a webhook that is disabled. */
function Trouble({ webhook, onEnable }: { webhook: Webhook; onEnable: () => void }) {
  const { state, failingSince } = webhook;
  if (state === "enabled" && !failingSince) return null;
  const kind = state === "failed" ? "bad" : state === "disabled" ? "info" : "warn";
  return (
    <div class={`${css.notice} ${css[kind]}`}>
      <Icon name={kind === "info" ? "info" : "warning"} />
      <span>
        {state !== "disabled" && failingSince && (
          <>
            <strong>
              {t("webhooks.trouble.since")} <Time at={failingSince} />.
            </strong>{" "}
          </>
        )}
        {t(`webhooks.trouble.${state}`)}
      </span>
      {state !== "enabled" && can("webhooks:write") && <Button onClick={onEnable}>{t("webhooks.enable")}</Button>}
    </div>
  );
}

/**
 * @param props `replaying` is true while
 * the dialog that resends a period is open
 */
function Deliveries({
  webhook,
  query,
  replaying,
  onReplayed,
}: {
  webhook: Webhook;
  query: Record<string, string>;
  replaying: boolean;
  onReplayed: () => void;
}) {
  const { state, event } = query;
  const since = PERIODS.includes(query.since) ? query.since : "";
  const from = useMemo(() => (since ? new Date(Date.now() - 1000 * Number(since)).toISOString() : undefined), [since]);
  const list = useList<Delivery>(path`/v1/webhooks/${webhook.id}/deliveries`, { state, eventType: event, from });
  usePolling(list.refresh, list.rows.length > LONG_LIST ? 4 * REFRESH_MS : REFRESH_MS);
  const [open, setOpen] = useState<string | null>(null);
  const change = (changed: Record<string, string>) => replace(path`/settings/webhooks/${webhook.id}`, { ...query, ...changed });
  const opened = list.rows.find((row) => row.id === open);
  const filtered = Boolean(state || event || from);
  const events = ["", ...EVENTS].map((value) => ({ value, title: value ? titleOf(value) : t("webhooks.anyEvent") }));
  const none = filtered ? (
    <Empty
      icon="search"
      title={t("webhooks.noDeliveryFits")}
      action={<Button onClick={() => replace(path`/settings/webhooks/${webhook.id}`)}>{t("webhooks.allDeliveries")}</Button>}
    />
  ) : (
    <Empty icon="clock" title={t("webhooks.noDelivery")} text={t("webhooks.noDelivery.text")} />
  );
  return (
    <>
      <div class={`${layout.toolbar} ${css.deliveries}`}>
        <h2>{t("webhooks.deliveries")}</h2>
        <Choice
          label={t("webhooks.state")}
          hideLabel
          look="segments"
          value={state ?? ""}
          options={STATES.map((value) => ({ value, title: t(value ? `webhooks.delivery.${value}` : "webhooks.anyState") }))}
          onChange={(wanted: string) => change({ state: wanted })}
        />
        <Select
          label={t("webhooks.event")}
          hideLabel
          value={event ?? ""}
          options={events}
          onChange={(wanted: string) => change({ event: wanted })}
        />
        <Select
          label={t("webhooks.period")}
          hideLabel
          value={since}
          options={PERIODS.map((value) => ({ value, title: t(`webhooks.period.${value || "all"}`) }))}
          onChange={(wanted: string) => change({ since: wanted })}
        />
      </div>
      <ProblemBox problem={list.problem} onRetry={list.refresh} />
      <Table
        class={css.table}
        fill
        label={t("webhooks.deliveries")}
        rows={list.rows}
        more={list.more}
        loading={list.loading}
        onMore={list.loadMore}
        columns={columnsOf(
          (row) => setOpen(row.id),
          (row) => replayOne(webhook, row).then(list.refresh),
        )}
        empty={!list.problem && none}
      />
      {opened && <DeliveryDetails webhook={webhook} delivery={opened} onClose={() => setOpen(null)} onReplayed={list.refresh} />}
      {replaying && <ReplayPeriod webhook={webhook} filters={{ ...query, since }} onClose={onReplayed} onReplayed={list.refresh} />}
    </>
  );
}
