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
import { hasSignInLink, SignIn, signInByAddress } from "./screens/sign-in.js";
import { can, resume, session, unknownBy } from "./session.js";

/** The first rendering waits this long for the first screen, so that a fast connection shows no loading state. */
const FIRST_RENDER_MS = 300;
const OFFLINE_RETRY_MS = 1_000;
/** Retry interval after the service answered with a 5xx. */
const ERROR_RETRY_MS = 5_000;

async function start() {
  void identify();
  await Promise.all([loadTexts(["common"]), Promise.race([firstScreen(), delay(FIRST_RENDER_MS)])]);
  render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
}

/**
 * Looks up the session. Retries while the service is unreachable or answers with a 5xx. Other refusals, such as a suspended tenant, are
 * final: the sign-in screen lets the user enter another key.
 */
async function identify() {
  await signInByAddress();
  while (session.peek() === undefined) {
    try {
      await resume();
      unknownBy.value = null;
    } catch (failure) {
      const problem = problemOf(failure);
      const isOffline = problem.code === "offline";
      unknownBy.value = isOffline ? null : problem;
      if (isOffline || problem.status >= 500) await delay(isOffline ? OFFLINE_RETRY_MS : ERROR_RETRY_MS);
      else session.value = null;
    }
  }
}

/** @param {number} ms */
function delay(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Resolves when there is a screen to show, or nobody is signed in. */
function firstScreen() {
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

/** Renders a screen, or a problem in its place if it could not be loaded or throws. The frame stays usable. @param {{ now: import("./routes.js").Shown }} props */
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

// An empty path leads to the first area that the key may see.
effect(() => {
  const [first] = session.value ? areasAllowed() : [];
  if (first && place.value.path === "") replace(first.path);
});

// A sign-in link that is pasted into an open dashboard changes only the hash, which does not load the page by itself.
addEventListener("hashchange", () => {
  if (hasSignInLink()) location.reload();
});

void start();
