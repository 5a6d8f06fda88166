import { html } from "htm/preact";

import { bytes, percent } from "../../format.js";
import { t } from "../../i18n.js";
import { go } from "../../location.js";
import { Button } from "../../parts/button.js";
import { ProblemBox } from "../../parts/problem.js";
import { Progress } from "../../parts/progress.js";
import { toast } from "../../parts/toast.js";
import { cancelUpload, retry } from "./uploads.js";

/**
 * The progress of an upload.
 * @param {{ one: import("./uploads.js").Upload }} props
 */
export function UploadStep({ one }) {
  const { key, name, body, state, sent, problem, set } = one;
  const share = body.size ? Math.min(sent / body.size, 1) : 1;
  const cancel = () => {
    // The service may have received the whole file already.
    if (state === "reading") toast(t("import.upload.late"));
    cancelUpload(key);
    go("/import", { set: set.id, step: "columns" });
  };
  return html`
    <section class="card form">
      <h2 class="step-head file-name" tabindex="-1">${name}</h2>
      ${state === "failed"
        ? html`<${ProblemBox} problem=${problem} />`
        : html`
            <${Progress} label=${t(`import.upload.${state}`)} value=${state === "sending" ? share : null} max=${1} />
            <p class="soft number">${t("import.upload.bytes", { sent: bytes(Math.min(sent, body.size)), total: bytes(body.size) })}</p>
          `}
      <p class="unseen" role="status">${t(`import.upload.${state}`)} ${state === "sending" && share >= 0.25 && percent(Math.floor(share * 4) / 4)}</p>
      <p class="hint">${t("import.upload.hint")}</p>
      <div class="actions">
        ${state === "failed" && problem?.code !== "file-gone" && html`<${Button} kind="primary" onClick=${() => retry(key)}>${t("import.upload.retry")}<//>`}
        <${Button} onClick=${cancel}>${t(state === "failed" ? "import.back" : "import.upload.cancel")}<//>
      </div>
    </section>
  `;
}
