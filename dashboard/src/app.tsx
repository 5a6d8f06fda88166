/** Starts the dashboard. */
import "./start";
import "./style/tokens.css";
import "./style/base.css";

import { effect } from "@preact/signals";
import { render } from "preact";
import { useErrorBoundary } from "preact/hooks";

import { problemOf } from "./api";
import { areasAllowed, Frame } from "./frame";
import { loadTexts, t } from "./i18n";
import { place, replace } from "./location";
import { Button } from "./parts/button";
import { Empty } from "./parts/empty";
import { Page } from "./parts/page";
import { ProblemBox } from "./parts/problem";
import { Loading } from "./parts/progress";
import { recover, STARTED } from "./reload";
import { shown, type Shown } from "./routes";
import { hasSignInLink, SignIn, signInByAddress } from "./screens/sign-in";
import { can, resume, session, unknownBy } from "./session";

/** The first rendering waits this long for the first screen, so that a fast connection shows no loading state. */
const FIRST_RENDER_MS = 300;
const OFFLINE_RETRY_MS = 1_000;
/** Retry interval after the service answered with a 5xx. */
const ERROR_RETRY_MS = 5_000;

async function start() {
  document.documentElement.dataset[STARTED] = "";
  void identify();
  try {
    await Promise.all([loadTexts(), Promise.race([firstScreen(), delay(FIRST_RENDER_MS)])]);
  } catch {
    return recover();
  }
  render(<App />, document.getElementById("app") as HTMLElement);
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

function delay(ms: number) {
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
  if (!user) return <SignIn waiting={user === undefined} />;
  if (areasAllowed().length === 0 && place.value.path === "")
    return (
      <Frame>
        <NotAllowed scopes={["coupon-sets:read"]} />
      </Frame>
    );
  const now = shown.value;
  return <Frame area={now?.route?.area}>{now ? <Screen key={now.id} now={now} /> : <Loading label={t("common.loading")} />}</Frame>;
}

/** Renders a screen, or a problem in its place if it could not be loaded or throws. The frame stays usable. */
function Screen({ now }: { now: Shown }) {
  const [broken] = useErrorBoundary();
  const { route, params, query } = now;
  if (now.problem || broken) {
    return (
      <Page title={t("common.broken")}>
        <ProblemBox problem={now.problem ?? problemOf(broken)} onRetry={() => location.reload()} />
      </Page>
    );
  }
  if (!now.Screen || !route) return <NotFound />;
  if (!route.scopes.some(can)) return <NotAllowed scopes={route.scopes} />;
  return <now.Screen params={params} query={query} />;
}

function NotFound() {
  const action = (
    <Button kind="primary" href="#/coupon-sets">
      {t("common.notFound.action")}
    </Button>
  );
  return (
    <Page title={t("common.notFound.title")}>
      <Empty icon="search" title={t("common.notFound.text")} action={action} />
    </Page>
  );
}

function NotAllowed({ scopes }: { scopes: string[] }) {
  return (
    <Page title={t("common.notAllowed.title")}>
      <Empty icon="key" title={t("common.notAllowed.text", { scope: scopes[0] })} />
    </Page>
  );
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
