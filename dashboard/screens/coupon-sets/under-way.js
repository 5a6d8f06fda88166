import { html } from "htm/preact";
import { useEffect, useRef } from "preact/hooks";

import { useGet, usePolling } from "../../hooks.js";
import { t } from "../../i18n.js";
import { Progress } from "../../parts/progress.js";
import { can } from "../../session.js";

const RECENT = 50;

/**
 * The progress of running imports, with a link to the import history.
 * @param {{ onEnd: () => void }} props `onEnd` is called when an import has ended, because its codes are available then
 */
export function ImportsUnderWay({ onEnd }) {
  const { value, refresh } = useGet(can("imports:read") ? "/v1/imports" : null, { limit: RECENT });
  const running = /** @type {any[]} */ (value?.results ?? []).filter(({ status }) => status === "queued" || status === "inProgress");
  usePolling(refresh, running.length > 0 ? 1_500 : 10_000);
  const before = useRef(0);
  useEffect(() => {
    if (running.length < before.current) onEnd();
    before.current = running.length;
  }, [running.length]);
  if (running.length === 0) return null;
  const percent = running.reduce((sum, one) => sum + one.progress.percent, 0) / running.length;
  return html`
    <a class="under-way" href="#/imports"><${Progress} label=${t("sets.underWay", { n: running.length })} value=${percent} /></a>
  `;
}
