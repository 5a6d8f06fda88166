import { html } from "htm/preact";
import { useEffect } from "preact/hooks";

import { path } from "../../address.js";
import { useGet, usePolling } from "../../hooks.js";
import { t } from "../../i18n.js";
import { Badge } from "../../parts/badge.js";
import { Button } from "../../parts/button.js";
import { Copy } from "../../parts/copy.js";
import { Dialog } from "../../parts/dialog.js";
import { ProblemBox } from "../../parts/problem.js";
import { Loading } from "../../parts/progress.js";
import { SetName } from "../../parts/set-name.js";
import { Time } from "../../parts/time.js";
import { can } from "../../session.js";
import { Report, RunningReport } from "./report.js";
import { canBeUndone, isRunning, stateOf } from "./state.js";

const RUNNING_REFRESH_MS = 1_000;

/**
 * The details of an import, with its report and its actions.
 * @param {{
 *   id: string,
 *   changed: number,
 *   onClose: () => void,
 *   onAct: (act: "cancel" | "undo" | "delete", one: any) => void,
 * }} props `changed` increases with each action on an import
 */
export function ImportDetails({ id, changed, onClose, onAct }) {
  const { value: one, problem, refresh } = useGet(path`/v1/imports/${id}`);
  usePolling(refresh, one && isRunning(one) ? RUNNING_REFRESH_MS : null);
  useEffect(() => {
    if (changed > 0) void refresh();
  }, [changed]);
  const write = can("imports:write");
  const actions = one && html`
    ${write && !isRunning(one) && html`<${Button} kind="quiet" icon="delete" onClick=${() => onAct("delete", one)}>${t("imports.delete")}<//>`}
    ${write && canBeUndone(one) && html`<${Button} icon="undo" onClick=${() => onAct("undo", one)}>${t("imports.undo")}<//>`}
    ${write && isRunning(one) && html`<${Button} onClick=${() => onAct("cancel", one)}>${t("imports.cancel")}<//>`}
    <${Button} kind="primary" onClick=${onClose}>${t("common.close")}<//>
  `;
  return html`
    <${Dialog} wide title=${t("imports.details")} onClose=${onClose} actions=${actions}>
      <${ProblemBox} problem=${problem} onRetry=${refresh} />
      ${!one && !problem && html`<${Loading} label=${t("common.loading")} />`}
      ${one && html`<${Content} one=${one} />`}
    <//>
  `;
}

/** @param {{ one: any }} props */
function Content({ one }) {
  const { word, kind } = stateOf(one);
  const { options } = one;
  /** @type {[string, any][]} */
  const facts = [
    ["set", html`<${SetName} id=${one.couponSetId} name=${one.couponSetName} />`],
    ["origin", t(`imports.origin.${one.origin}`)],
    ["key", one.apiKeyName],
    ["createdAt", html`<${Time} at=${one.createdAt} />`],
    ["finishedAt", one.finishedAt && html`<${Time} at=${one.finishedAt} />`],
    ["cancelledAt", one.cancelledAt && html`<${Time} at=${one.cancelledAt} />`],
    ["codeColumn", options.codeColumn],
    ["expiresAtColumn", options.expiresAtColumn],
    ["attributeColumns", options.attributeColumns],
    ["delimiter", options.delimiter === "\t" ? t("imports.tab") : options.delimiter],
    ["header", options.header === null ? null : t(options.header ? "imports.yes" : "imports.no")],
    ["encoding", options.encoding],
    ["sheet", options.sheet],
    ["id", html`<code class="code">${one.id}</code> <${Copy} text=${one.id} />`],
  ];
  return html`
    <p><${Badge} kind=${kind}>${t(`imports.state.${word}`)}<//></p>
    ${isRunning(one) ? html`<${RunningReport} one=${one} />` : html`<${Report} one=${one} />`}
    <dl class="facts">
      ${facts.filter(([, value]) => value).map(([fact, value]) => html`<div key=${fact} class=${fact === "id" ? "wide" : undefined}><dt>${t(`imports.fact.${fact}`)}</dt><dd>${value}</dd></div>`)}
    </dl>
  `;
}
