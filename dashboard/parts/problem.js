import { html } from "htm/preact";

import { has, t } from "../i18n.js";
import { Button } from "./button.js";
import { Copy } from "./copy.js";
import { Icon } from "./icon.js";

/** The title of a problem. @param {import("../api.js").Problem} problem */
export function titleOf({ code, title }) {
  return has(`common.problem.${code}`) ? t(`common.problem.${code}`) : title || t("common.problem.other");
}

/**
 * A problem with advice and the request ID, which finds it in the log of the service. Renders nothing for null.
 * @param {{ problem: import("../api.js").Problem | null, onRetry?: () => void }} props
 */
export function ProblemBox({ problem, onRetry }) {
  if (!problem) return null;
  const { code, requestId } = problem;
  const names = [...(problem.more.couponSets ?? []), ...(problem.more.workflows ?? []).map((/** @type {any} */ one) => one.name)];
  return html`
    <div class="problem" role="alert">
      <${Icon} name="warning" />
      <div>
        <strong>${titleOf(problem)}</strong>
        ${problem.detail && problem.errors.length === 0 && html`<p lang="en">${problem.detail}</p>`}
        ${names.length > 0 && html`<ul>${names.map((name) => html`<li>${name}</li>`)}</ul>`}
        ${problem.errors.length > 0 && html`
          <ul lang="en">${problem.errors.map(({ pointer, detail }) => html`<li><code>${pointer}</code> ${detail}</li>`)}</ul>
        `}
        ${has(`common.todo.${code}`) && html`<p>${t(`common.todo.${code}`)}</p>`}
        ${requestId && html`<p class="request">${t("common.requestId")} <code>${requestId}</code> <${Copy} text=${requestId} /></p>`}
        ${onRetry && html`<${Button} onClick=${onRetry}>${t("common.retry")}<//>`}
      </div>
    </div>
  `;
}
