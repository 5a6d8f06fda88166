import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { isAbort, problemOf } from "../../api.js";
import { t } from "../../i18n.js";
import { go, place, replace } from "../../location.js";
import { Button } from "../../parts/button.js";
import { Checkbox } from "../../parts/field.js";
import { ProblemBox } from "../../parts/problem.js";
import { Loading } from "../../parts/progress.js";
import { toast } from "../../parts/toast.js";
import { can } from "../../session.js";
import { BlindFields, optionsOfWords } from "./blind-fields.js";
import { Columns } from "./columns.js";
import { FirstRows } from "./first-rows.js";
import { isBlind, look, optionsOf, typeOf } from "./preview.js";
import { Format } from "./reading.js";
import { checkOnly, forget, mapping, reading, source, words } from "./store.js";
import { upload } from "./uploads.js";

/**
 * The step that maps columns to fields. The guessed mapping can be changed by dragging or by the select of each column.
 * @param {{ set: any }} props
 */
export function ColumnsStep({ set }) {
  const from = /** @type {import("./store.js").Source} */ (source.value);
  const { seen, problem, loading, again } = usePreview(from);
  const [missing, setMissing] = useState(false);
  const columns = mapping.value;
  const as = columns?.as ?? "table";

  const send = () => {
    if (!seen?.blind && !columns?.code) return setMissing(true);
    const options = seen?.blind ? optionsOfWords(words.peek()) : optionsOf(as, reading.peek(), columns);
    start(set, from, { type: typeOf(as), options });
  };
  return html`
    <h2 class="step-head unseen" tabindex="-1">${t("import.step.columns")}</h2>
    ${!seen?.preview && html`<p><strong class="file-name">${from.name}</strong></p>`}
    ${problem && html`<${ProblemBox} problem=${problem} onRetry=${problem.code === "unreadable-file" ? undefined : again} />`}
    ${!seen && loading && html`<${Loading} label=${t("import.looking")} />`}
    ${seen?.blind && html`<${BlindFields} />`}
    ${seen?.preview && html`<${Format} name=${from.name} preview=${seen.preview} />`}
    ${seen?.preview && columns && !problem && html`
      <${Columns} columns=${seen.preview.columns} list=${as === "list"} unsure=${seen.unsure} missing=${missing && !columns.code} busy=${loading} />
      <${FirstRows} body=${from.body} preview=${seen.preview} columns=${columns} />
    `}
    ${seen && !problem && can("imports:read") && html`
      <${Checkbox} label=${t("import.checkOnly")} hint=${t("import.checkOnly.hint")} checked=${checkOnly.value}
        onChange=${(/** @type {boolean} */ checked) => (checkOnly.value = checked)} />
    `}
    <div class="actions">
      ${seen && !problem && html`<${Button} kind="primary" onClick=${send}>${t(checkOnly.value ? "import.check" : "import.import")}<//>`}
      <${Button} onClick=${() => go("/import", { set: set.id })}>${t("import.back")}<//>
    </div>
  `;
}

/**
 * @typedef {{ blind: boolean, preview: import("./preview.js").Preview | null, unsure: boolean }} Seen
 *
 * Loads the preview of the source, and loads it again when the user changes how it is read.
 * @param {import("./store.js").Source} from
 */
function usePreview(from) {
  const [state, setState] = useState({
    seen: /** @type {Seen | null} */ (null),
    problem: /** @type {import("../../api.js").Problem | null} */ (null),
    loading: true,
  });
  const [turn, setTurn] = useState(0);
  /** The mapping of the visible preview; null without a preview, such as after coming back to this step. */
  const asked = useRef(/** @type {import("./store.js").Mapping | null} */ (null));
  const columns = mapping.value;
  useEffect(() => {
    // Once there is a preview: without a code column the service has nothing to check, and the same mapping gives the same answer.
    if (columns && asked.current && (!columns.code || columns === asked.current)) return undefined;
    const stop = new AbortController();
    const how = reading.value;
    /** True if the user has changed something since the request. The answer must not overwrite that change. */
    const isStale = () => stop.signal.aborted || mapping.peek() !== columns || reading.peek() !== how;
    const run = async () => {
      setState((before) => ({ ...before, loading: true }));
      try {
        const blind = await isBlind(from);
        const found = blind ? null : await look(from, how, columns, stop.signal);
        if (isStale()) return;
        setState({ seen: { blind, preview: found?.preview ?? null, unsure: found?.unsure ?? false }, problem: null, loading: false });
        asked.current = found?.mapping ?? null;
        if (found) mapping.value = found.mapping;
      } catch (failure) {
        if (isAbort(failure) || isStale()) return;
        asked.current = null;
        setState((before) => ({ ...before, problem: problemOf(failure), loading: false }));
      }
    };
    void run();
    return () => {
      stop.abort();
      setState((before) => ({ ...before, loading: false }));
    };
  }, [from, reading.value, columns, turn]);
  return { ...state, again: () => setTurn(turn + 1) };
}

/**
 * Starts the upload. If the wizard is still open at the end, it continues with the import; otherwise a toast reports it.
 * @param {any} set
 * @param {import("./store.js").Source} from
 * @param {{ type: string, options: import("../../api.js").Query }} how
 */
function start(set, from, { type, options }) {
  const check = checkOnly.peek();
  const job = { set: { id: set.id, name: set.name }, name: from.name, body: from.body, type, options: { ...options, mode: check ? "validate" : undefined } };
  void upload(job, (arrived) => follow(job, arrived, () => !check && source.peek() === from && forget()));
  replace("/import", { set: set.id });
}

/**
 * @param {{ set: { id: string, name: string }, name: string }} job
 * @param {any} arrived
 * @param {() => void} [then]
 */
export function follow({ set, name }, arrived, then) {
  const { path, query } = place.peek();
  if (path === "/import" && query.set === set.id) replace("/import", { import: arrived.id });
  else toast(t("import.arrived", { name, set: set.name }));
  then?.();
}
