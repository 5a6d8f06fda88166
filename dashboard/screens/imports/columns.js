import { html } from "htm/preact";

import { href } from "../../address.js";
import { addressOf } from "../../api.js";
import { dateTime, number, percent } from "../../format.js";
import { t } from "../../i18n.js";
import { place } from "../../location.js";
import { Badge } from "../../parts/badge.js";
import { Menu } from "../../parts/menu.js";
import { Time } from "../../parts/time.js";
import { can } from "../../session.js";
import { canBeUndone, isRunning, stateOf } from "./state.js";

/**
 * @param {(act: "cancel" | "undo" | "delete", one: any) => void} act
 * @returns {import("../../parts/table.js").Column[]}
 */
export function columnsOf(act) {
  /** @type {(id: string) => import("../../parts/table.js").Column} */
  const count = (id) => ({ id, title: t(`imports.${id}`), align: "end", cell: (one) => (isRunning(one) && id !== "total" ? "–" : number(one[id])) });
  return [
    { id: "set", title: t("imports.fact.set"), main: true, cell: (one) => html`<${Name} one=${one} />` },
    { id: "state", title: t("imports.state"), cell: (one) => html`<${State} one=${one} />` },
    count("total"),
    count("success"),
    count("errors"),
    count("duplicates"),
    { id: "origin", title: t("imports.fact.origin"), cell: (one) => html`<${Origin} one=${one} />` },
    { id: "when", title: t("imports.fact.createdAt"), cell: (one) => html`<${Time} at=${one.createdAt} as="ago" />` },
    { id: "menu", title: t("imports.actions"), bare: true, cell: (one) => html`<${Actions} one=${one} act=${act} />` },
  ];
}

/** @param {{ one: any }} props */
function Name({ one }) {
  const name = one.couponSetName;
  const title = t("imports.rowTitle", { name, when: dateTime(one.createdAt) });
  return html`<a class="row-link" href=${href("/imports", { ...place.value.query, import: one.id })} aria-label=${title} title=${title}>${name}</a>`;
}

/** @param {{ one: any }} props */
function State({ one }) {
  const { word, kind } = stateOf(one);
  return html`
    <span class="import-state">
      <${Badge} kind=${kind}>${t(`imports.state.${word}`)}<//>
      ${one.status === "inProgress" && html`
        <progress max="100" value=${one.progress.percent} aria-label=${percent(one.progress.percent / 100)}></progress>
        <span class="soft number">${percent(one.progress.percent / 100)}</span>
      `}
    </span>
  `;
}

/** The source of an import and its API key. @param {{ one: any }} props */
function Origin({ one }) {
  return html`
    <span class="lines">
      <span>${t(`imports.origin.${one.origin}`)}</span>
      <span class="soft" title=${one.apiKeyName}>${one.apiKeyName ?? "–"}</span>
    </span>
  `;
}

/** @param {{ one: any, act: (act: "cancel" | "undo" | "delete", one: any) => void }} props */
function Actions({ one, act }) {
  const write = can("imports:write");
  const running = isRunning(one);
  /** @type {(import("../../parts/menu.js").Item | false)[]} */
  const items = [
    { title: t("imports.open"), icon: "info", href: href("/imports", { ...place.value.query, import: one.id }) },
    one.errorReportFileUrl && { title: t("imports.download"), icon: "download", href: addressOf(one.errorReportFileUrl), download: true },
    write && running && { title: t("imports.cancel"), icon: "close", onSelect: () => act("cancel", one) },
    write && canBeUndone(one) && { title: t("imports.undo"), icon: "undo", onSelect: () => act("undo", one) },
    write && !running && { title: t("imports.delete"), icon: "delete", danger: true, onSelect: () => act("delete", one) },
  ];
  return html`<span class="row-actions"><${Menu} label=${t("imports.actionsOf", { name: one.couponSetName, when: dateTime(one.createdAt) })} items=${items.filter(Boolean)} /></span>`;
}
