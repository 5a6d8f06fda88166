import { useState } from "preact/hooks";

import { dateTime } from "../../format";
import type { useGet } from "../../hooks";
import { t } from "../../i18n";
import { go } from "../../location";
import { Button } from "../../parts/button";
import { ProblemBox } from "../../parts/problem";
import { Loading } from "../../parts/progress";
import type { Import } from "../../schemas";
import { can } from "../../session";
import { CancelImport } from "../imports/actions";
import { Report, RunningReport } from "../imports/report";
import { isRunning } from "../imports/state";
import { follow } from "./columns-step";
import { checkOnly, source, type TargetSet } from "./store";
import { repeated, upload } from "./uploads";
import layout from "../../parts/layout.module.css";
import css from "../import.module.css";

/** The progress of an import, and then its result. */
export function FollowStep({ known, set }: { known: ReturnType<typeof useGet<Import>>; set: TargetSet | null }) {
  const { value: one, problem, refresh } = known;
  const [cancelling, setCancelling] = useState(false);
  if (!one) return problem ? <ProblemBox problem={problem} onRetry={refresh} /> : <Loading label={t("common.loading")} />;
  const close = () => setCancelling(false);
  if (isRunning(one)) {
    return (
      <section class={`${layout.card} ${layout.form}`}>
        <h2 class={css.stepHead} data-part="step-head" tabindex={-1}>
          {t(one.mode === "validate" ? "import.checking" : "import.importing")}
        </h2>
        <RunningReport one={one} />
        <p class="hint">{t("import.running.hint")}</p>
        <div class={layout.actions}>
          <Button href="#/imports">{t("import.toHistory")}</Button>
          <Button onClick={() => setCancelling(true)}>{t("imports.cancel")}</Button>
        </div>
        {cancelling && <CancelImport one={one} onClose={close} onDone={refresh} />}
      </section>
    );
  }
  return <Result one={one} set={set} />;
}

function Result({ one, set }: { one: Import; set: TargetSet | null }) {
  const before = repeated.get(one.id);
  const kept = source.value;
  const checked = one.mode === "validate" && one.status === "finished";
  const back = can("coupon-sets:read") && (
    <Button kind="primary" href={`#/coupon-sets?new=${one.couponSetId}`}>
      {t("import.toList")}
    </Button>
  );
  const again = () => {
    checkOnly.value = false;
    go("/import", { set: one.couponSetId, step: "columns" });
  };
  // The same file is imported a second time only on explicit request.
  const force = () => {
    if (!before) return;
    repeated.delete(one.id);
    const job = { ...before, options: { ...before.options, force: true } };
    void upload(job, (arrived) => follow(job, arrived));
    go("/import", { set: one.couponSetId });
  };
  const name = set?.name ?? t("imports.thisSet");
  return (
    <section class={`${layout.card} ${layout.form}`}>
      <h2 class={css.stepHead} data-part="step-head" tabindex={-1}>
        {titleOf(one, Boolean(before), name)}
      </h2>
      {before && <p class={layout.notice}>{t("import.repeated", { when: dateTime(one.createdAt) })}</p>}
      <Report one={one} />
      <div class={layout.actions}>
        {checked && kept ? (
          <Button kind="primary" onClick={again}>
            {t("import.nowImport")}
          </Button>
        ) : (
          back
        )}
        {before && <Button onClick={force}>{t("import.force")}</Button>}
        {!checked && <Button href={`#/import?set=${one.couponSetId}`}>{t("import.another")}</Button>}
        {checked && kept && back && <Button href={`#/coupon-sets?new=${one.couponSetId}`}>{t("import.toList")}</Button>}
      </div>
    </section>
  );
}

function titleOf(one: Import, repeat: boolean, name: string) {
  const { status, mode, success } = one;
  if (status === "error") return t("import.result.error");
  if (status === "cancelled") return t("import.result.cancelled");
  if (repeat) return t("import.result.repeated");
  if (mode === "validate") return t("import.result.checked", { n: success });
  return success === 0 ? t("import.result.none", { name }) : t("import.result.finished", { n: success, name });
}
