import { href } from "../../address";
import { addressOf } from "../../api";
import { dateTime, number, percent } from "../../format";
import { t } from "../../i18n";
import { place } from "../../location";
import { Badge } from "../../parts/badge";
import { Menu, type Item } from "../../parts/menu";
import type { Column } from "../../parts/table";
import { Time } from "../../parts/time";
import type { Import } from "../../schemas";
import { can } from "../../session";
import { canBeUndone, isRunning, stateOf } from "./state";
import tableCss from "../../parts/table.module.css";
import css from "../imports.module.css";

export function columnsOf(act: (act: "cancel" | "undo" | "delete", one: Import) => void): Column<Import>[] {
  const count = (id: "total" | "success" | "errors" | "duplicates"): Column<Import> => ({
    id,
    title: t(`imports.${id}`),
    align: "end",
    cell: (one) => (isRunning(one) && id !== "total" ? "–" : number(one[id])),
  });
  return [
    { id: "set", title: t("imports.fact.set"), main: true, cell: (one) => <Name one={one} /> },
    { id: "state", title: t("imports.state"), cell: (one) => <State one={one} /> },
    count("total"),
    count("success"),
    count("errors"),
    count("duplicates"),
    { id: "origin", title: t("imports.fact.origin"), cell: (one) => <Origin one={one} /> },
    { id: "when", title: t("imports.fact.createdAt"), cell: (one) => <Time at={one.createdAt} as="ago" /> },
    { id: "menu", title: t("imports.actions"), bare: true, cell: (one) => <Actions one={one} act={act} /> },
  ];
}

function Name({ one }: { one: Import }) {
  const name = one.couponSetName;
  const title = t("imports.rowTitle", { name, when: dateTime(one.createdAt) });
  return (
    <a class={tableCss.rowLink} href={href("/imports", { ...place.value.query, import: one.id })} aria-label={title} title={title}>
      {name}
    </a>
  );
}

function State({ one }: { one: Import }) {
  const { word, kind } = stateOf(one);
  return (
    <span class={css.importState}>
      <Badge kind={kind}>{t(`imports.state.${word}`)}</Badge>
      {one.status === "inProgress" && (
        <>
          <progress max="100" value={one.progress.percent} aria-label={percent(one.progress.percent / 100)} />
          <span class="soft number">{percent(one.progress.percent / 100)}</span>
        </>
      )}
    </span>
  );
}

/** The source of an import and its API key. */
function Origin({ one }: { one: Import }) {
  return (
    <span class={tableCss.lines}>
      <span>{t(`imports.origin.${one.origin}`)}</span>
      <span class="soft" title={one.apiKeyName ?? undefined}>
        {one.apiKeyName ?? "–"}
      </span>
    </span>
  );
}

function Actions({ one, act }: { one: Import; act: (act: "cancel" | "undo" | "delete", one: Import) => void }) {
  const write = can("imports:write");
  const running = isRunning(one);
  const items: (Item | false)[] = [
    { title: t("imports.open"), icon: "info", href: href("/imports", { ...place.value.query, import: one.id }) },
    one.errorReportFileUrl !== null && {
      title: t("imports.download"),
      icon: "download",
      href: addressOf(one.errorReportFileUrl),
      download: true,
    },
    write && running && { title: t("imports.cancel"), icon: "close", onSelect: () => act("cancel", one) },
    write && canBeUndone(one) && { title: t("imports.undo"), icon: "undo", onSelect: () => act("undo", one) },
    write && !running && { title: t("imports.delete"), icon: "delete", danger: true, onSelect: () => act("delete", one) },
  ];
  return (
    <span class={tableCss.rowActions}>
      <Menu label={t("imports.actionsOf", { name: one.couponSetName, when: dateTime(one.createdAt) })} items={items} />
    </span>
  );
}
