/**
 * The import wizard: choosing a file or pasting codes, mapping the columns, uploading, and the result. The address has the current
 * position: `set` and `step` before the upload, `import` after it.
 */
import { useEffect, useRef } from "preact/hooks";

import { href, path } from "../address";
import { useGet, usePolling } from "../hooks";
import { t } from "../i18n";
import { Button } from "../parts/button";
import { Empty } from "../parts/empty";
import { Page } from "../parts/page";
import { ProblemBox } from "../parts/problem";
import { Loading } from "../parts/progress";
import type { CouponSet, Import as ImportRecord } from "../schemas";
import { can } from "../session";
import { ColumnsStep } from "./import/columns-step";
import { useNoDrop } from "./import/drop-zone";
import { FileStep } from "./import/file-step";
import { FollowStep } from "./import/follow-step";
import { lastAddress, source, type TargetSet } from "./import/store";
import { UploadStep } from "./import/upload-step";
import { uploads } from "./import/uploads";
import { isRunning } from "./imports/state";
import layout from "../parts/layout.module.css";
import css from "./import.module.css";

const RUNNING_REFRESH_MS = 700;

export default function Import({ query }: { query: Record<string, string> }) {
  const unseen = query.import && !can("imports:read");
  const known = useGet<ImportRecord>(query.import && !unseen ? path`/v1/imports/${query.import}` : null);
  const running = known.value !== null && isRunning(known.value);
  // False while the import is loading: the step of the result takes the focus, so it must not be shown before there is one.
  const ended = known.value !== null && !running;
  usePolling(known.refresh, running ? RUNNING_REFRESH_MS : null);
  const setId = query.import ? known.value?.couponSetId : query.set;
  const set = useGet<CouponSet>(setId && can("coupon-sets:read") ? path`/v1/coupon-sets/${setId}` : null);
  // A key without permission to read sets can still import into them.
  const target: TargetSet | null =
    set.value ?? (setId && !can("coupon-sets:read") ? { id: setId, name: known.value?.couponSetName ?? setId } : null);
  const sending = query.import ? undefined : uploads.value.findLast((one) => one.set.id === query.set);
  const step = query.import ? "result" : sending ? "upload" : query.step === "columns" && source.value && target ? "columns" : "file";
  useEffect(() => {
    if (!query.import) lastAddress.value = href("/import", query);
  }, [query]);
  useNoDrop();
  const note = target && step !== "file" && t("import.into", { name: target.name });
  const content = () => {
    if (unseen) return <Unseen />;
    if (query.import) return <FollowStep known={known} set={target} />;
    if (sending) return <UploadStep one={sending} />;
    if (set.problem)
      return (
        <>
          <ProblemBox problem={set.problem} />
          <div class={layout.actions}>
            <OtherSet />
          </div>
        </>
      );
    if (set.loading) return <Loading label={t("common.loading")} />;
    if (set.value?.type === "single") {
      return (
        <Empty icon="sets" title={t("import.single", { name: set.value.name })} text={t("import.single.text")} action={<OtherSet />} />
      );
    }
    if (step === "columns" && target) return <ColumnsStep set={target} />;
    return <FileStep set={target} />;
  };
  return (
    <Page title={t("import.title")} note={note} back={{ href: "#/imports", title: t("imports.title") }}>
      <Steps current={step === "upload" || (step === "result" && !unseen && !ended) ? "import" : step} />
      {content()}
    </Page>
  );
}

const STEPS = ["file", "columns", "import", "result"];

/** The steps of the wizard, with the current one marked. */
function Steps({ current }: { current: string }) {
  const here = STEPS.indexOf(current);
  // The heading of a new step takes the focus, as on a new page.
  const before = useRef(here);
  useEffect(() => {
    if (before.current === here) return;
    before.current = here;
    (document.querySelector("[data-part=step-head]") as HTMLElement | null)?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [here]);
  return (
    <ol class={css.steps} aria-label={t("import.steps")}>
      {STEPS.map((name, i) => (
        <li key={name} class={i < here ? css.done : undefined} aria-current={i === here ? "step" : undefined}>
          <span class={css.stepNumber} aria-hidden="true">
            {i < here ? "✓" : i + 1}
          </span>
          <span>{t(`import.step.${name}`)}</span>
          {i < here && <span class="unseen"> ({t("import.step.done")})</span>}
        </li>
      ))}
    </ol>
  );
}

/** The end of the wizard for a key without permission to read imports. */
function Unseen() {
  return (
    <section class={`${layout.card} ${layout.form}`}>
      <h2 class={css.stepHead} data-part="step-head" tabindex={-1}>
        {t("import.unseen")}
      </h2>
      <p>{t("import.unseen.text")}</p>
      <div class={layout.actions}>
        <Button kind="primary" href="#/import">
          {t("import.another")}
        </Button>
      </div>
    </section>
  );
}

function OtherSet() {
  return <Button href="#/import">{t("import.otherSet")}</Button>;
}
