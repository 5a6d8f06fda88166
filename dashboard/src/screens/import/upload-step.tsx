import { bytes, percent } from "../../format";
import { t } from "../../i18n";
import { go } from "../../location";
import { Button } from "../../parts/button";
import { ProblemBox } from "../../parts/problem";
import { Progress } from "../../parts/progress";
import { toast } from "../../parts/toast";
import { cancelUpload, retry, type Upload } from "./uploads";
import layout from "../../parts/layout.module.css";
import css from "../import.module.css";

/** The progress of an upload. */
export function UploadStep({ one }: { one: Upload }) {
  const { key, name, body, state, sent, problem, set } = one;
  const share = body.size ? Math.min(sent / body.size, 1) : 1;
  const cancel = () => {
    // The service may have received the whole file already.
    if (state === "reading") toast(t("import.upload.late"));
    cancelUpload(key);
    go("/import", { set: set.id, step: "columns" });
  };
  return (
    <section class={`${layout.card} ${layout.form}`}>
      <h2 class={`${css.stepHead} ${css.fileName}`} data-part="step-head" tabindex={-1}>
        {name}
      </h2>
      {state === "failed" ? (
        <ProblemBox problem={problem} />
      ) : (
        <>
          <Progress label={t(`import.upload.${state}`)} value={state === "sending" ? share : null} max={1} />
          <p class="soft number">{t("import.upload.bytes", { sent: bytes(Math.min(sent, body.size)), total: bytes(body.size) })}</p>
        </>
      )}
      <p class="unseen" role="status">
        {t(`import.upload.${state}`)} {state === "sending" && share >= 0.25 && percent(Math.floor(share * 4) / 4)}
      </p>
      <p class="hint">{t("import.upload.hint")}</p>
      <div class={layout.actions}>
        {state === "failed" && problem?.code !== "file-gone" && (
          <Button kind="primary" onClick={() => retry(key)}>
            {t("import.upload.retry")}
          </Button>
        )}
        <Button onClick={cancel}>{t(state === "failed" ? "import.back" : "import.upload.cancel")}</Button>
      </div>
    </section>
  );
}
