import { html } from "htm/preact";

import { addressOf } from "../../api.js";
import { duration, number, percent as share } from "../../format.js";
import { has, t } from "../../i18n.js";
import { Button } from "../../parts/button.js";
import { Icon } from "../../parts/icon.js";
import { Progress } from "../../parts/progress.js";
import { Time } from "../../parts/time.js";

/**
 * The progress of a running import. The text for screen readers changes only at each quarter.
 * @param {{ one: any }} props
 */
export function RunningReport({ one }) {
  const { status, progress, total, errors } = one;
  const { processed, percent, rowsPerSecond, remainingSeconds } = progress;
  const waits = status === "queued";
  return html`
    <${Progress} label=${t(`imports.state.${status}`)} value=${waits ? null : percent} />
    <p class="unseen" role="status">${t(`imports.state.${status}`)} ${percent >= 25 && share(Math.floor(percent / 25) / 4)}</p>
    <p class="soft number">
      ${waits ? t("imports.waits") : t("imports.processed", { n: total, processed: number(processed) })}
      ${rowsPerSecond !== null && rowsPerSecond > 0 && ` · ${t("imports.rate", { n: rowsPerSecond })}`}
      ${remainingSeconds !== null && remainingSeconds > 0 && ` · ${t("imports.remaining", { time: duration(remainingSeconds) })}`}
    </p>
    ${errors > 0 && html`<p class="soft number">${t("imports.rejectedSoFar", { n: errors })}</p>`}
  `;
}

/**
 * The report of an import that has ended.
 * @param {{ one: any }} props
 */
export function Report({ one }) {
  const { total, success, errors, duplicates, errorsByReason, errorReportFileUrl, failure, status, mode, undoneAt, warnings, withdrawn } = one;
  const reasons = /** @type {[string, number][]} */ (Object.entries(errorsByReason)).sort(([, a], [, b]) => b - a);
  const ended = status === "finished";
  return html`
    ${status === "error" && failure && html`<p class="notice bad" lang="en">${failure}</p>`}
    ${status === "cancelled" && html`<p class="notice">${t("imports.cancelled.text")}</p>`}
    ${undoneAt && html`<p class="notice">${t("imports.undone.text", { n: withdrawn ?? 0 })} <${Time} at=${undoneAt} /></p>`}
    ${warnings.map((/** @type {any} */ { kind, detail, count }) => html`
      <p class="notice" key=${kind}>${has(`imports.warning.${kind}`) ? t(`imports.warning.${kind}`, { n: count ?? 0, encoding: one.options.encoding ?? "" }) : detail}</p>
    `)}
    <dl class="totals">
      ${ended && html`<div><dt>${t("imports.total")}</dt><dd>${number(total)}</dd></div>`}
      ${ended && html`<div class="good"><dt>${t(mode === "validate" ? "imports.wouldSucceed" : "imports.success")}</dt><dd>${number(success)}</dd></div>`}
      <div class=${errors ? "bad" : undefined}><dt>${t("imports.errors")}</dt><dd>${number(errors)}</dd></div>
      <div><dt>${t("imports.duplicates")}</dt><dd>${number(duplicates)}</dd></div>
    </dl>
    ${reasons.length > 0 && html`
      <div class="reasons-box">
        <table class="reasons">
          <caption>${t("imports.reasons")}</caption>
          <tbody>
            ${reasons.map(([reason, n]) => html`
              <tr key=${reason}>
                <td class="end number">${number(n)}</td>
                <th scope="row">
                  ${has(`imports.reason.${reason}`) ? t(`imports.reason.${reason}`) : reason}
                  ${has(`imports.reason.${reason}.why`) && html`<span class="soft">${t(`imports.reason.${reason}.why`)}</span>`}
                </th>
              </tr>
            `)}
          </tbody>
        </table>
      </div>
    `}
    ${errors === 0 && ended && html`<p class="fine"><${Icon} name="check" /><span>${t("imports.noErrors")}</span></p>`}
    ${errorReportFileUrl && html`
      <p><${Button} icon="download" href=${addressOf(errorReportFileUrl)} download=${`rejected-${one.id}.csv`}>${t("imports.download")}<//></p>
    `}
  `;
}
