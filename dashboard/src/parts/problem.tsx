import type { Problem } from "../api";
import { has, t } from "../i18n";
import { Button } from "./button";
import { Copy } from "./copy";
import { Icon } from "./icon";
import css from "./problem.module.css";

/** The title of a problem. */
export function titleOf({ code, title }: Problem) {
  return has(`common.problem.${code}`) ? t(`common.problem.${code}`) : title || t("common.problem.other");
}

/** A problem with advice and the request ID, which finds it in the log of the service. Renders nothing for null. */
export function ProblemBox({ problem, onRetry }: { problem: Problem | null; onRetry?: () => void }) {
  if (!problem) return null;
  const { code, requestId } = problem;
  const names = [...(problem.more.couponSets ?? []), ...(problem.more.workflows ?? []).map((one) => one.name)];
  return (
    <div class={css.problem} role="alert">
      <Icon name="warning" />
      <div>
        <strong>{titleOf(problem)}</strong>
        {problem.detail && problem.errors.length === 0 && <p lang="en">{problem.detail}</p>}
        {names.length > 0 && (
          <ul>
            {names.map((name) => (
              <li>{name}</li>
            ))}
          </ul>
        )}
        {problem.errors.length > 0 && (
          <ul lang="en">
            {problem.errors.map(({ pointer, detail }) => (
              <li>
                <code>{pointer}</code> {detail}
              </li>
            ))}
          </ul>
        )}
        {has(`common.todo.${code}`) && <p>{t(`common.todo.${code}`)}</p>}
        {requestId && (
          <p class={css.request}>
            {t("common.requestId")} <code>{requestId}</code> <Copy text={requestId} />
          </p>
        )}
        {onRetry && <Button onClick={onRetry}>{t("common.retry")}</Button>}
      </div>
    </div>
  );
}
