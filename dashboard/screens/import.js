/**
 * The import wizard: choosing a file or pasting codes, mapping the columns, uploading, and the result. The address has the current
 * position: `set` and `step` before the upload, `import` after it.
 */
import { html } from "htm/preact";
import { useEffect, useRef } from "preact/hooks";

import { href, path } from "../address.js";
import { useGet, usePolling } from "../hooks.js";
import { t } from "../i18n.js";
import { Button } from "../parts/button.js";
import { Empty } from "../parts/empty.js";
import { Page } from "../parts/page.js";
import { ProblemBox } from "../parts/problem.js";
import { Loading } from "../parts/progress.js";
import { can } from "../session.js";
import { ColumnsStep } from "./import/columns-step.js";
import { useNoDrop } from "./import/drop-zone.js";
import { FileStep } from "./import/file-step.js";
import { FollowStep } from "./import/follow-step.js";
import { source, lastAddress } from "./import/store.js";
import { UploadStep } from "./import/upload-step.js";
import { uploads } from "./import/uploads.js";
import { isRunning } from "./imports/state.js";

const RUNNING_REFRESH_MS = 700;

/** @param {{ query: Record<string, string> }} props */
export default function Import({ query }) {
  const unseen = query.import && !can("imports:read");
  const known = useGet(query.import && !unseen ? path`/v1/imports/${query.import}` : null);
  const running = known.value !== null && isRunning(known.value);
  // False while the import is loading: the step of the result takes the focus, so it must not be shown before there is one.
  const ended = known.value !== null && !running;
  usePolling(known.refresh, running ? RUNNING_REFRESH_MS : null);
  const setId = query.import ? known.value?.couponSetId : query.set;
  const set = useGet(setId && can("coupon-sets:read") ? path`/v1/coupon-sets/${setId}` : null);
  // A key without permission to read sets can still import into them.
  const target = set.value ?? (setId && !can("coupon-sets:read") ? { id: setId, name: known.value?.couponSetName ?? setId } : null);
  const sending = query.import ? undefined : uploads.value.findLast((one) => one.set.id === query.set);
  const step = query.import ? "result" : sending ? "upload" : query.step === "columns" && source.value && target ? "columns" : "file";
  useEffect(() => {
    if (!query.import) lastAddress.value = href("/import", query);
  }, [query]);
  useNoDrop();
  const note = target && step !== "file" && t("import.into", { name: target.name });
  const content = () => {
    if (unseen) return html`<${Unseen} />`;
    if (query.import) return html`<${FollowStep} known=${known} set=${target} />`;
    if (sending) return html`<${UploadStep} one=${sending} />`;
    if (set.problem) return html`<${ProblemBox} problem=${set.problem} /><div class="actions"><${OtherSet} /></div>`;
    if (set.loading) return html`<${Loading} label=${t("common.loading")} />`;
    if (set.value?.type === "single") {
      return html`<${Empty} icon="sets" title=${t("import.single", { name: set.value.name })} text=${t("import.single.text")} action=${html`<${OtherSet} />`} />`;
    }
    if (step === "columns") return html`<${ColumnsStep} set=${target} />`;
    return html`<${FileStep} set=${target} />`;
  };
  return html`
    <${Page} title=${t("import.title")} note=${note} back=${{ href: "#/imports", title: t("imports.title") }}>
      <${Steps} current=${step === "upload" || (step === "result" && !unseen && !ended) ? "import" : step} />
      ${content()}
    <//>
  `;
}

const STEPS = ["file", "columns", "import", "result"];

/** The steps of the wizard, with the current one marked. @param {{ current: string }} props */
function Steps({ current }) {
  const here = STEPS.indexOf(current);
  // The heading of a new step takes the focus, as on a new page.
  const before = useRef(here);
  useEffect(() => {
    if (before.current === here) return;
    before.current = here;
    /** @type {HTMLElement | null} */ (document.querySelector(".step-head"))?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [here]);
  return html`
    <ol class="steps" aria-label=${t("import.steps")}>
      ${STEPS.map((name, i) => html`
        <li key=${name} class=${i < here ? "done" : undefined} aria-current=${i === here ? "step" : undefined}>
          <span class="step-number" aria-hidden="true">${i < here ? "✓" : i + 1}</span>
          <span>${t(`import.step.${name}`)}</span>${i < here && html`<span class="unseen"> (${t("import.step.done")})</span>`}
        </li>
      `)}
    </ol>
  `;
}

/** The end of the wizard for a key without permission to read imports. */
function Unseen() {
  return html`
    <section class="card form">
      <h2 class="step-head" tabindex="-1">${t("import.unseen")}</h2>
      <p>${t("import.unseen.text")}</p>
      <div class="actions"><${Button} kind="primary" href="#/import">${t("import.another")}<//></div>
    </section>
  `;
}

function OtherSet() {
  return html`<${Button} href="#/import">${t("import.otherSet")}<//>`;
}
