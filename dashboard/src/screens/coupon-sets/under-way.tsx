import { useEffect, useRef } from "preact/hooks";

import { useGet, usePolling, type Page } from "../../hooks";
import { t } from "../../i18n";
import { Progress } from "../../parts/progress";
import type { Import } from "../../schemas";
import { can } from "../../session";
import layout from "../../parts/layout.module.css";

const RECENT = 50;

/**
 * The progress of running imports, with a link to the import history.
 * @param props `onEnd` is called when an import has ended, because its codes are available then
 */
export function ImportsUnderWay({ onEnd }: { onEnd: () => void }) {
  const { value, refresh } = useGet<Page<Import>>(can("imports:read") ? "/v1/imports" : null, { limit: RECENT });
  const running = (value?.results ?? []).filter(({ status }) => status === "queued" || status === "inProgress");
  usePolling(refresh, running.length > 0 ? 1_500 : 10_000);
  const before = useRef(0);
  useEffect(() => {
    if (running.length < before.current) onEnd();
    before.current = running.length;
  }, [running.length]);
  if (running.length === 0) return null;
  const percent = running.reduce((sum, one) => sum + one.progress.percent, 0) / running.length;
  return (
    <a class={layout.underWay} href="#/imports">
      <Progress label={t("sets.underWay", { n: running.length })} value={percent} />
    </a>
  );
}
