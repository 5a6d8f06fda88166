import { useEffect, useRef, useState } from "preact/hooks";

import type { Query } from "../../address";
import { isAbort, problemOf, type Problem } from "../../api";
import { t } from "../../i18n";
import { go, place, replace } from "../../location";
import { Button } from "../../parts/button";
import { Checkbox } from "../../parts/field";
import { ProblemBox } from "../../parts/problem";
import { Loading } from "../../parts/progress";
import { toast } from "../../parts/toast";
import { can } from "../../session";
import { BlindFields, optionsOfWords } from "./blind-fields";
import { Columns } from "./columns";
import { FirstRows } from "./first-rows";
import { isBlind, look, optionsOf, typeOf, type Preview } from "./preview";
import { Format } from "./reading";
import { checkOnly, forget, mapping, reading, source, words, type Mapping, type Source, type TargetSet } from "./store";
import { upload, type Arrived } from "./uploads";
import layout from "../../parts/layout.module.css";
import css from "../import.module.css";

/** The step that maps columns to fields. The guessed mapping can be changed by dragging or by the select of each column. */
export function ColumnsStep({ set }: { set: TargetSet }) {
  const from = source.value as Source;
  const { seen, problem, loading, again } = usePreview(from);
  const [missing, setMissing] = useState(false);
  const columns = mapping.value;
  const as = columns?.as ?? "table";

  const send = () => {
    if (!seen?.blind && !columns?.code) return setMissing(true);
    const options = seen?.blind ? optionsOfWords(words.peek()) : optionsOf(as, reading.peek(), columns);
    start(set, from, { type: typeOf(as), options });
  };
  return (
    <>
      <h2 class={`${css.stepHead} unseen`} data-part="step-head" tabindex={-1}>
        {t("import.step.columns")}
      </h2>
      {!seen?.preview && (
        <p>
          <strong class={css.fileName}>{from.name}</strong>
        </p>
      )}
      {problem && <ProblemBox problem={problem} onRetry={problem.code === "unreadable-file" ? undefined : again} />}
      {!seen && loading && <Loading label={t("import.looking")} />}
      {seen?.blind && <BlindFields />}
      {seen?.preview && <Format name={from.name} preview={seen.preview} />}
      {seen?.preview && columns && !problem && (
        <>
          <Columns
            columns={seen.preview.columns}
            list={as === "list"}
            unsure={seen.unsure}
            missing={missing && !columns.code}
            busy={loading}
          />
          <FirstRows body={from.body} preview={seen.preview} columns={columns} />
        </>
      )}
      {seen && !problem && can("imports:read") && (
        <Checkbox
          label={t("import.checkOnly")}
          hint={t("import.checkOnly.hint")}
          checked={checkOnly.value}
          onChange={(checked: boolean) => (checkOnly.value = checked)}
        />
      )}
      <div class={layout.actions}>
        {seen && !problem && (
          <Button kind="primary" onClick={send}>
            {t(checkOnly.value ? "import.check" : "import.import")}
          </Button>
        )}
        <Button onClick={() => go("/import", { set: set.id })}>{t("import.back")}</Button>
      </div>
    </>
  );
}

export type Seen = { blind: boolean; preview: Preview | null; unsure: boolean };

/** Loads the preview of the source, and loads it again when the user changes how it is read. */
function usePreview(from: Source) {
  const [state, setState] = useState({
    seen: null as Seen | null,
    problem: null as Problem | null,
    loading: true,
  });
  const [turn, setTurn] = useState(0);
  /** The mapping of the visible preview; null without a preview, such as after coming back to this step. */
  const asked = useRef<Mapping | null>(null);
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

/** Starts the upload. If the wizard is still open at the end, it continues with the import; otherwise a toast reports it. */
function start(set: TargetSet, from: Source, { type, options }: { type: string; options: Query }) {
  const check = checkOnly.peek();
  const job = {
    set: { id: set.id, name: set.name },
    name: from.name,
    body: from.body,
    type,
    options: { ...options, mode: check ? "validate" : undefined },
  };
  void upload(job, (arrived) => follow(job, arrived, () => !check && source.peek() === from && forget()));
  replace("/import", { set: set.id });
}

export function follow({ set, name }: { set: { id: string; name: string }; name: string }, arrived: Arrived, then?: () => void) {
  const { path, query } = place.peek();
  if (path === "/import" && query.set === set.id) replace("/import", { import: arrived.id });
  else toast(t("import.arrived", { name, set: set.name }));
  then?.();
}
