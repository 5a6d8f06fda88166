import { addressOf } from "../../api";
import { duration, number, percent as share } from "../../format";
import { has, t } from "../../i18n";
import { Button } from "../../parts/button";
import { Icon } from "../../parts/icon";
import { Progress } from "../../parts/progress";
import { Time } from "../../parts/time";
import type { Import } from "../../schemas";
import layout from "../../parts/layout.module.css";
import css from "../imports.module.css";

/** The progress of a running import. The text for screen readers changes only at each quarter. */
export function RunningReport({ one }: { one: Import }) {
  const { status, progress, total, errors } = one;
  const { processed, percent, rowsPerSecond, remainingSeconds } = progress;
  const waits = status === "queued";
  return (
    <>
      <Progress label={t(`imports.state.${status}`)} value={waits ? null : percent} />
      <p class="unseen" role="status">
        {t(`imports.state.${status}`)} {percent >= 25 && share(Math.floor(percent / 25) / 4)}
      </p>
      <p class="soft number">
        {waits ? t("imports.waits") : t("imports.processed", { n: total, processed: number(processed) })}
        {rowsPerSecond !== null && rowsPerSecond > 0 && ` · ${t("imports.rate", { n: rowsPerSecond })}`}
        {remainingSeconds !== null && remainingSeconds > 0 && ` · ${t("imports.remaining", { time: duration(remainingSeconds) })}`}
      </p>
      {errors > 0 && <p class="soft number">{t("imports.rejectedSoFar", { n: errors })}</p>}
    </>
  );
}

/** The report of an import that has ended. */
export function Report({ one }: { one: Import }) {
  const { total, success, errors, duplicates, errorsByReason, errorReportFileUrl, failure, status, mode, undoneAt, warnings, withdrawn } =
    one;
  const reasons = (Object.entries(errorsByReason) as [string, number][]).sort(([, a], [, b]) => b - a);
  const ended = status === "finished";
  return (
    <>
      {status === "error" && failure && (
        <p class={`${layout.notice} ${layout.bad}`} lang="en">
          {failure}
        </p>
      )}
      {status === "cancelled" && <p class={layout.notice}>{t("imports.cancelled.text")}</p>}
      {undoneAt && (
        <p class={layout.notice}>
          {t("imports.undone.text", { n: withdrawn ?? 0 })} <Time at={undoneAt} />
        </p>
      )}
      {warnings.map(({ kind, detail, count }) => (
        <p class={layout.notice} key={kind}>
          {has(`imports.warning.${kind}`) ? t(`imports.warning.${kind}`, { n: count ?? 0, encoding: one.options.encoding ?? "" }) : detail}
        </p>
      ))}
      <dl class={css.totals} data-part="totals">
        {ended && (
          <div>
            <dt>{t("imports.total")}</dt>
            <dd>{number(total)}</dd>
          </div>
        )}
        {ended && (
          <div class={css.good}>
            <dt>{t(mode === "validate" ? "imports.wouldSucceed" : "imports.success")}</dt>
            <dd>{number(success)}</dd>
          </div>
        )}
        <div class={errors ? css.bad : undefined}>
          <dt>{t("imports.errors")}</dt>
          <dd>{number(errors)}</dd>
        </div>
        <div>
          <dt>{t("imports.duplicates")}</dt>
          <dd>{number(duplicates)}</dd>
        </div>
      </dl>
      {reasons.length > 0 && (
        <div>
          <table class={css.reasons}>
            <caption>{t("imports.reasons")}</caption>
            <tbody>
              {reasons.map(([reason, n]) => (
                <tr key={reason}>
                  <td class="number">{number(n)}</td>
                  <th scope="row">
                    {has(`imports.reason.${reason}`) ? t(`imports.reason.${reason}`) : reason}
                    {has(`imports.reason.${reason}.why`) && <span class="soft">{t(`imports.reason.${reason}.why`)}</span>}
                  </th>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {errors === 0 && ended && (
        <p class={layout.fine}>
          <Icon name="check" />
          <span>{t("imports.noErrors")}</span>
        </p>
      )}
      {errorReportFileUrl && (
        <p>
          <Button icon="download" href={addressOf(errorReportFileUrl)} download={`rejected-${one.id}.csv`}>
            {t("imports.download")}
          </Button>
        </p>
      )}
    </>
  );
}
