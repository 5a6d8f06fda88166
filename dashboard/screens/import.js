/**
 * The import of codes into a set: choosing a file or pasting, saying what its columns are, uploading it, and what became of it. The address
 * says where somebody is: `set` and `step` until it is sent, `import` from then on.
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
import { source, whereabouts } from "./import/store.js";
import { UploadStep } from "./import/upload-step.js";
import { uploads } from "./import/uploads.js";
import { isRunning } from "./imports/state.js";

const OFTEN_MS = 700;

/** @param {{ query: Record<string, string> }} props */
export default function Import({ query }) {
  const unseen = query.import && !can("imports:read");
  const known = useGet(query.import && !unseen ? path`/v1/imports/${query.import}` : null);
  const running = known.value !== null && isRunning(known.value);
  // As long as nothing is known of it: it would lead to the result, which takes the focus, before there is one.
  const ended = known.value !== null && !running;
  usePolling(known.refresh, running ? OFTEN_MS : null);
  const setId = query.import ? known.value?.couponSetId : query.set;
  const set = useGet(setId && can("coupon-sets:read") ? path`/v1/coupon-sets/${setId}` : null);
  // A key that may not read sets still fills them.
  const target = set.value ?? (setId && !can("coupon-sets:read") ? { id: setId, name: known.value?.couponSetName ?? setId } : null);
  const sending = query.import ? undefined : uploads.value.findLast((one) => one.set.id === query.set);
  const step = query.import ? "result" : sending ? "upload" : query.step === "columns" && source.value && target ? "columns" : "file";
  useEffect(() => {
    if (!query.import) whereabouts.value = href("/import", query);
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

/** Where somebody is on the way. @param {{ current: string }} props */
function Steps({ current }) {
  const here = STEPS.indexOf(current);
  // What a step begins with takes the focus, as a new page would.
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

/** All there is to say of an upload that has arrived to a key that may not read imports. */
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
