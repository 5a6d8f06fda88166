import { useState } from "preact/hooks";

import { path } from "../../address";
import { t } from "../../i18n";
import { Badge } from "../../parts/badge";
import { Button } from "../../parts/button";
import { Empty } from "../../parts/empty";
import { Menu, type Item } from "../../parts/menu";
import { ProblemBox } from "../../parts/problem";
import { Table, type Column } from "../../parts/table";
import { Time } from "../../parts/time";
import { can } from "../../session";
import { useAll } from "./all";
import { titleOf } from "./events";
import { Lead } from "./lead";
import { itemsOf, WebhookDialog, type Opened } from "./webhook-dialogs";
import { CreateWebhook } from "./webhook-form";
import tableCss from "../../parts/table.module.css";
import css from "../settings.module.css";

export type Webhook = {
  id: string;
  url: string;
  eventTypes: string[];
  description: string | null;
  maxBatch: number;
  state: "enabled" | "disabled" | "failed";
  failingSince: string | null;
  previousSecretUntil: string | null;
  createdAt: string;
};

export function Webhooks() {
  const list = useAll<Webhook>("/v1/webhooks");
  const [creating, setCreating] = useState(false);
  const [open, setOpen] = useState<Opened | null>(null);
  const write = can("webhooks:write");
  const create = (text: string) =>
    write && (
      <Button kind="primary" icon="plus" onClick={() => setCreating(true)}>
        {text}
      </Button>
    );
  const none = (
    <Empty icon="webhook" title={t("webhooks.none")} text={t("webhooks.none.text")} action={create(t("webhooks.createFirst"))} />
  );
  return (
    <>
      <Lead text={t("webhooks.lead")} action={list.rows.length > 0 && create(t("webhooks.create"))} />
      <ProblemBox problem={list.problem} onRetry={list.refresh} />
      <Table
        class={css.table}
        label={t("settings.tab.webhooks")}
        columns={columnsOf(setOpen)}
        rows={list.rows}
        loading={list.loading}
        empty={!list.problem && none}
      />
      {creating && <CreateWebhook onClose={() => setCreating(false)} onCreated={list.refresh} />}
      {open && <WebhookDialog opened={open} onClose={() => setOpen(null)} onChanged={list.refresh} onDeleted={list.refresh} />}
    </>
  );
}

function columnsOf(open: (opened: Opened) => void): Column<Webhook>[] {
  return [
    { id: "endpoint", title: t("webhooks.endpoint"), main: true, cell: (webhook) => <Endpoint webhook={webhook} /> },
    { id: "events", title: t("webhooks.events"), cell: (webhook) => <Events types={webhook.eventTypes} /> },
    { id: "state", title: t("webhooks.state"), cell: (webhook) => <State webhook={webhook} /> },
    { id: "failing", title: t("webhooks.failingSince"), cell: (webhook) => <Time at={webhook.failingSince} /> },
    { id: "menu", title: t("settings.actions"), bare: true, cell: (webhook) => <Actions {...{ webhook, open }} /> },
  ];
}

function Endpoint({ webhook }: { webhook: Webhook }) {
  const { id, url, description } = webhook;
  return (
    <span class={tableCss.lines}>
      <a class={tableCss.rowLink} href={path`#/settings/webhooks/${id}`} title={url}>
        {description ?? url}
      </a>
      {description && (
        <span class="soft" title={url}>
          {url}
        </span>
      )}
    </span>
  );
}

function Events({ types }: { types: string[] }) {
  const all = types.map(titleOf).join(", ");
  return <span title={all}>{types.length === 1 ? all : t("webhooks.eventCount", { n: types.length })}</span>;
}

export function State({ webhook }: { webhook: Webhook }) {
  const { state, failingSince } = webhook;
  if (state === "failed") return <Badge kind="bad">{t("webhooks.state.failed")}</Badge>;
  if (state === "disabled") return <Badge>{t("webhooks.state.disabled")}</Badge>;
  if (failingSince) return <Badge kind="warn">{t("webhooks.state.failing")}</Badge>;
  return <Badge kind="good">{t("webhooks.state.enabled")}</Badge>;
}

function Actions({ webhook, open }: { webhook: Webhook; open: (opened: Opened) => void }) {
  const look: Item = { title: t("webhooks.deliveries"), icon: "clock", href: path`#/settings/webhooks/${webhook.id}` };
  const items: Item[] = [look, ...itemsOf(webhook, open)];
  return (
    <span class={tableCss.rowActions}>
      <Menu label={t("settings.actionsOf", { name: webhook.description ?? webhook.url })} items={items} />
    </span>
  );
}
