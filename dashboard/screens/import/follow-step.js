import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { dateTime } from "../../format.js";
import { t } from "../../i18n.js";
import { go } from "../../location.js";
import { Button } from "../../parts/button.js";
import { ProblemBox } from "../../parts/problem.js";
import { Loading } from "../../parts/progress.js";
import { can } from "../../session.js";
import { CancelImport } from "../imports/actions.js";
import { Report, RunningReport } from "../imports/report.js";
import { isRunning } from "../imports/state.js";
import { follow } from "./columns-step.js";
import { checkOnly, source } from "./store.js";
import { repeated, upload } from "./uploads.js";

/**
 * The progress of an import, and then its result.
 * @param {{ known: ReturnType<typeof import("../../hooks.js").useGet>, set: any }} props
 */
export function FollowStep({ known, set }) {
  const { value: one, problem, refresh } = known;
  const [cancelling, setCancelling] = useState(false);
  if (!one) return problem ? html`<${ProblemBox} problem=${problem} onRetry=${refresh} />` : html`<${Loading} label=${t("common.loading")} />`;
  const close = () => setCancelling(false);
  if (isRunning(one)) {
    return html`
      <section class="card form">
        <h2 class="step-head" tabindex="-1">${t(one.mode === "validate" ? "import.checking" : "import.importing")}</h2>
        <${RunningReport} one=${one} />
        <p class="hint">${t("import.running.hint")}</p>
        <div class="actions">
          <${Button} href="#/imports">${t("import.toHistory")}<//>
          <${Button} onClick=${() => setCancelling(true)}>${t("imports.cancel")}<//>
        </div>
        ${cancelling && html`<${CancelImport} one=${one} onClose=${close} onDone=${refresh} />`}
      </section>
    `;
  }
  return html`<${Result} one=${one} set=${set} />`;
}

/** @param {{ one: any, set: any }} props */
function Result({ one, set }) {
  const before = repeated.get(one.id);
  const kept = source.value;
  const checked = one.mode === "validate" && one.status === "finished";
  const back = can("coupon-sets:read") && html`<${Button} kind="primary" href="#/coupon-sets?new=${one.couponSetId}">${t("import.toList")}<//>`;
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
  return html`
    <section class="card form">
      <h2 class="step-head" tabindex="-1">${titleOf(one, Boolean(before), name)}</h2>
      ${before && html`<p class="notice">${t("import.repeated", { when: dateTime(one.createdAt) })}</p>`}
      <${Report} one=${one} />
      <div class="actions">
        ${checked && kept ? html`<${Button} kind="primary" onClick=${again}>${t("import.nowImport")}<//>` : back}
        ${before && html`<${Button} onClick=${force}>${t("import.force")}<//>`}
        ${!checked && html`<${Button} href=${`#/import?set=${one.couponSetId}`}>${t("import.another")}<//>`}
        ${checked && kept && back && html`<${Button} href="#/coupon-sets?new=${one.couponSetId}">${t("import.toList")}<//>`}
      </div>
    </section>
  `;
}

/** @param {any} one @param {boolean} repeat @param {string} name */
function titleOf(one, repeat, name) {
  const { status, mode, success } = one;
  if (status === "error") return t("import.result.error");
  if (status === "cancelled") return t("import.result.cancelled");
  if (repeat) return t("import.result.repeated");
  if (mode === "validate") return t("import.result.checked", { n: success });
  return success === 0 ? t("import.result.none", { name }) : t("import.result.finished", { n: success, name });
}
