/** Starts the dashboard. */
import { html, render } from "htm/preact";
import { effect } from "@preact/signals";
import { useErrorBoundary } from "preact/hooks";

import { problemOf } from "./api.js";
import { areasAllowed, Frame } from "./frame.js";
import { loadTexts, t } from "./i18n.js";
import { place, replace } from "./location.js";
import { Button } from "./parts/button.js";
import { Empty } from "./parts/empty.js";
import { Page } from "./parts/page.js";
import { ProblemBox } from "./parts/problem.js";
import { Loading } from "./parts/progress.js";
import { shown } from "./routes.js";
import { hasLink, SignIn, signInByAddress } from "./screens/sign-in.js";
import { can, resume, session, unknownBy } from "./session.js";

/** What takes no longer is not waited for in sight: the first picture is the whole one. */
const SOON_MS = 300;
const AGAIN_MS = 1_000;
/** After the service has answered that it cannot say. */
const LATER_MS = 5_000;

async function start() {
  void identify();
  await Promise.all([loadTexts(["common"]), Promise.race([whole(), passed(SOON_MS)])]);
  render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
}

/**
 * Finds out who is signed in; while the service is away or out of order, that is asked again. A refusal, as of a suspended tenant, will
 * be the same each time: another key may be let in.
 */
async function identify() {
  await signInByAddress();
  while (session.peek() === undefined) {
    try {
      await resume();
      unknownBy.value = null;
    } catch (failure) {
      const problem = problemOf(failure);
      const lost = problem.code === "offline";
      unknownBy.value = lost ? null : problem;
      if (lost || problem.status >= 500) await passed(lost ? AGAIN_MS : LATER_MS);
      else session.value = null;
    }
  }
}

/** @param {number} ms */
function passed(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until there is more to show than that something loads. */
function whole() {
  return new Promise((resolve) => {
    effect(() => {
      if (session.value === null || (session.value && (shown.value || areasAllowed().length === 0))) resolve(undefined);
    });
  });
}

function App() {
  const user = session.value;
  if (!user) return html`<${SignIn} waiting=${user === undefined} />`;
  if (areasAllowed().length === 0 && place.value.path === "") return html`<${Frame}><${NotAllowed} scopes=${["coupon-sets:read"]} /><//>`;
  const now = shown.value;
  return html`<${Frame} area=${now?.route?.area}>${now ? html`<${Screen} key=${now.id} now=${now} />` : html`<${Loading} label=${t("common.loading")} />`}<//>`;
}

/** A screen that breaks is told of in its place, and the way to the others stays open. @param {{ now: import("./routes.js").Shown }} props */
function Screen({ now }) {
  const [broken] = useErrorBoundary();
  const { route, params, query } = now;
  if (now.problem || broken) {
    return html`<${Page} title=${t("common.broken")}><${ProblemBox} problem=${now.problem ?? problemOf(broken)} onRetry=${() => location.reload()} /><//>`;
  }
  if (!now.Screen || !route) return html`<${NotFound} />`;
  if (!route.scopes.some(can)) return html`<${NotAllowed} scopes=${route.scopes} />`;
  return html`<${now.Screen} params=${params} query=${query} />`;
}

function NotFound() {
  const action = html`<${Button} kind="primary" href="#/coupon-sets">${t("common.notFound.action")}<//>`;
  return html`
    <${Page} title=${t("common.notFound.title")}>
      <${Empty} icon="search" title=${t("common.notFound.text")} action=${action} />
    <//>
  `;
}

/** @param {{ scopes: string[] }} props */
function NotAllowed({ scopes }) {
  return html`
    <${Page} title=${t("common.notAllowed.title")}>
      <${Empty} icon="key" title=${t("common.notAllowed.text", { scope: scopes[0] })} />
    <//>
  `;
}

// Without a path one starts in the first area.
effect(() => {
  const [first] = session.value ? areasAllowed() : [];
  if (first && place.value.path === "") replace(first.path);
});

// A link that is pasted where the dashboard is open changes no more than the end of the address, so nothing would be loaded.
addEventListener("hashchange", () => {
  if (hasLink()) location.reload();
});

void start();
