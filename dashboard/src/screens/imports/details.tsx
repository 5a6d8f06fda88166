import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";

import { path } from "../../address";
import { useGet, usePolling } from "../../hooks";
import { t } from "../../i18n";
import { Badge } from "../../parts/badge";
import { Button } from "../../parts/button";
import { Copy } from "../../parts/copy";
import { Dialog } from "../../parts/dialog";
import { ProblemBox } from "../../parts/problem";
import { Loading } from "../../parts/progress";
import { SetName } from "../../parts/set-name";
import { Time } from "../../parts/time";
import type { Import } from "../../schemas";
import { can } from "../../session";
import { Report, RunningReport } from "./report";
import { canBeUndone, isRunning, stateOf } from "./state";
import layout from "../../parts/layout.module.css";
import css from "../imports.module.css";

const RUNNING_REFRESH_MS = 1_000;

/**
 * The details of an import, with its report and its actions.
 * @param props `changed` increases with each action on an import
 */
export function ImportDetails({
  id,
  changed,
  onClose,
  onAct,
}: {
  id: string;
  changed: number;
  onClose: () => void;
  onAct: (act: "cancel" | "undo" | "delete", one: Import) => void;
}) {
  const { value: one, problem, refresh } = useGet<Import>(path`/v1/imports/${id}`);
  usePolling(refresh, one && isRunning(one) ? RUNNING_REFRESH_MS : null);
  useEffect(() => {
    if (changed > 0) void refresh();
  }, [changed]);
  const write = can("imports:write");
  const actions = one && (
    <>
      {write && !isRunning(one) && (
        <Button kind="quiet" icon="delete" onClick={() => onAct("delete", one)}>
          {t("imports.delete")}
        </Button>
      )}
      {write && canBeUndone(one) && (
        <Button icon="undo" onClick={() => onAct("undo", one)}>
          {t("imports.undo")}
        </Button>
      )}
      {write && isRunning(one) && <Button onClick={() => onAct("cancel", one)}>{t("imports.cancel")}</Button>}
      <Button kind="primary" onClick={onClose}>
        {t("common.close")}
      </Button>
    </>
  );
  return (
    <Dialog wide title={t("imports.details")} onClose={onClose} actions={actions}>
      <ProblemBox problem={problem} onRetry={refresh} />
      {!one && !problem && <Loading label={t("common.loading")} />}
      {one && <Content one={one} />}
    </Dialog>
  );
}

function Content({ one }: { one: Import }) {
  const { word, kind } = stateOf(one);
  const { options } = one;
  const facts: [string, ComponentChildren][] = [
    ["set", <SetName id={one.couponSetId} name={one.couponSetName} />],
    ["origin", t(`imports.origin.${one.origin}`)],
    ["key", one.apiKeyName],
    ["createdAt", <Time at={one.createdAt} />],
    ["finishedAt", one.finishedAt && <Time at={one.finishedAt} />],
    ["cancelledAt", one.cancelledAt && <Time at={one.cancelledAt} />],
    ["codeColumn", options.codeColumn],
    ["expiresAtColumn", options.expiresAtColumn],
    ["attributeColumns", options.attributeColumns],
    ["delimiter", options.delimiter === "\t" ? t("imports.tab") : options.delimiter],
    ["header", options.header === null ? null : t(options.header ? "imports.yes" : "imports.no")],
    ["encoding", options.encoding],
    ["sheet", options.sheet],
    [
      "id",
      <>
        <code class={layout.code}>{one.id}</code> <Copy text={one.id} />
      </>,
    ],
  ];
  return (
    <>
      <p>
        <Badge kind={kind}>{t(`imports.state.${word}`)}</Badge>
      </p>
      {isRunning(one) ? <RunningReport one={one} /> : <Report one={one} />}
      <dl class={css.facts} data-part="facts">
        {facts
          .filter(([, value]) => value)
          .map(([fact, value]) => (
            <div key={fact} class={fact === "id" ? css.wide : undefined}>
              <dt>{t(`imports.fact.${fact}`)}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
    </>
  );
}
