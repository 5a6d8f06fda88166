import { useState } from "preact/hooks";

import { t } from "../../i18n";
import { Badge } from "../../parts/badge";
import { Button } from "../../parts/button";
import { Empty } from "../../parts/empty";
import { Checkbox } from "../../parts/field";
import { Menu, type Item } from "../../parts/menu";
import { ProblemBox } from "../../parts/problem";
import { Table, type Column } from "../../parts/table";
import { Time } from "../../parts/time";
import type { Schema } from "../../schemas";
import { can, session } from "../../session";
import { useAll } from "./all";
import { CreateKey } from "./key-create";
import { KeyDetails, RevokeKey } from "./key-dialogs";
import { Lead } from "./lead";
import { summaryOf } from "./scopes";
import tableCss from "../../parts/table.module.css";
import css from "../settings.module.css";

export type Key = Schema<"ApiKey">;

export type KeyDialog = "details" | "revoke";

/** The keys of the account, newest first. */
export function Keys() {
  const list = useAll<Key>("/v1/api-keys");
  const [revoked, setRevoked] = useState(false);
  const [creating, setCreating] = useState(false);
  const [open, setOpen] = useState<{ key: Key; dialog: KeyDialog } | null>(null);
  const gone = list.rows.filter((key) => key.revokedAt);
  const rows = list.rows.filter((key) => revoked || !key.revokedAt).reverse();
  const close = () => setOpen(null);
  const create = can("api-keys:write") && (
    <Button kind="primary" icon="plus" onClick={() => setCreating(true)}>
      {t("settings.keys.create")}
    </Button>
  );
  return (
    <>
      <Lead text={t("settings.keys.lead")} action={create} />
      <ProblemBox problem={list.problem} onRetry={list.refresh} />
      <Table
        class={css.table}
        label={t("settings.tab.keys")}
        columns={columnsOf((key, dialog) => setOpen({ key, dialog }))}
        rows={rows}
        loading={list.loading}
        empty={!list.problem && <Empty icon="key" title={t("settings.keys.none")} />}
      />
      {gone.length > 0 && <Checkbox label={t("settings.keys.showRevoked", { n: gone.length })} checked={revoked} onChange={setRevoked} />}
      {creating && <CreateKey onClose={() => setCreating(false)} onCreated={list.refresh} />}
      {open?.dialog === "details" && (
        <KeyDetails key={open.key.id} apiKey={open.key} onClose={close} onRevoke={() => setOpen({ ...open, dialog: "revoke" })} />
      )}
      {open?.dialog === "revoke" && <RevokeKey apiKey={open.key} onClose={close} onRevoked={list.refresh} />}
    </>
  );
}

function columnsOf(open: (key: Key, dialog: KeyDialog) => void): Column<Key>[] {
  return [
    { id: "name", title: t("settings.keys.name"), main: true, cell: (key) => <Name apiKey={key} open={open} /> },
    {
      id: "scopes",
      title: t("settings.scopes"),
      cell: ({ scopes }) => (
        <span class={css.cut} title={summaryOf(scopes)}>
          {summaryOf(scopes)}
        </span>
      ),
    },
    {
      id: "used",
      title: t("settings.keys.lastUsed"),
      cell: (key) => (key.lastUsedAt ? <Time at={key.lastUsedAt} as="ago" /> : t("settings.keys.neverUsed")),
    },
    { id: "created", title: t("settings.created"), cell: (key) => <Time at={key.createdAt} as="date" /> },
    { id: "menu", title: t("settings.actions"), bare: true, cell: (key) => <Actions apiKey={key} open={open} /> },
  ];
}

function Name({ apiKey, open }: { apiKey: Key; open: (key: Key, dialog: KeyDialog) => void }) {
  return (
    <span class={css.named}>
      <button type="button" class={tableCss.rowLink} title={apiKey.name} onClick={() => open(apiKey, "details")}>
        {apiKey.name}
      </button>
      {apiKey.id === session.value?.keyId && <Badge kind="info">{t("settings.keys.own")}</Badge>}
      {apiKey.revokedAt && <Badge>{t("settings.keys.revoked")}</Badge>}
    </span>
  );
}

function Actions({ apiKey, open }: { apiKey: Key; open: (key: Key, dialog: KeyDialog) => void }) {
  const items: (Item | false)[] = [
    { title: t("settings.details"), icon: "info", onSelect: () => open(apiKey, "details") },
    can("api-keys:write") &&
      !apiKey.revokedAt && { title: t("settings.keys.revoke"), icon: "delete", danger: true, onSelect: () => open(apiKey, "revoke") },
  ];
  return (
    <span class={tableCss.rowActions}>
      <Menu label={t("settings.actionsOf", { name: apiKey.name })} items={items} />
    </span>
  );
}
