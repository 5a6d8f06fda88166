import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";

import { Problem, problemOf } from "../api.js";
import { Connection, Mark, Preferences } from "../frame.js";
import { t } from "../i18n.js";
import { replace } from "../location.js";
import { Button } from "../parts/button.js";
import { SecretField } from "../parts/field.js";
import { ProblemBox } from "../parts/problem.js";
import { Loading } from "../parts/progress.js";
import { session, signedOutBy, signIn, unknownBy } from "../session.js";

const RETRY_MS = 1_000;
const LINK = /^#\/sign-in\/([^/?]+)$/;

/** True if the address is the sign-in link that the demo prints when it starts. */
export function hasSignInLink() {
  return LINK.test(location.hash);
}

/** Signs in with the link that the demo prints when it starts. The token is removed from the address first, so that nothing else sees it. */
export async function signInByAddress() {
  const token = LINK.exec(location.hash)?.[1];
  if (!token) return;
  replace("");
  for (;;) {
    try {
      return await signIn({ link: decodeURIComponent(token) });
    } catch (failure) {
      // A rejected link does not end an existing session. After a network failure the link is still valid.
      if (problemOf(failure).code !== "offline") return void (signedOutBy.value = "link");
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/** @param {{ waiting: boolean }} props `waiting` is true until the session is known */
export function SignIn({ waiting }) {
  const [key, setKey] = useState("");
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState("");
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  useEffect(() => {
    if (!waiting) document.title = `${t("common.signIn.title")} · ${t("common.product")}`;
  });

  /** @param {SubmitEvent} event */
  const submit = async (event) => {
    event.preventDefault();
    setProblem(null);
    unknownBy.value = null;
    if (busy) return;
    if (key.trim() === "") return setFault(t("common.signIn.missing"));
    setFault("");
    setBusy(true);
    try {
      await signIn({ key: key.trim() });
    } catch (failure) {
      setBusy(false);
      if (failure instanceof Problem && [400, 401, 422].includes(failure.status)) setFault(t("common.signIn.refused"));
      else setProblem(problemOf(failure));
    }
  };
  if (waiting) {
    return html`
      <main class="sign-in">
        <${Connection} />
        ${unknownBy.value && html`<h1 class="unseen">${t("common.product")}</h1>`}
        <${ProblemBox} problem=${unknownBy.value} />
        <${Loading} label=${t("common.loading")} />
      </main>
    `;
  }
  const notice = signedOutBy.value && session.value === null ? t(`common.signIn.${signedOutBy.value}`) : null;
  return html`
    <main class="sign-in">
      <${Connection} />
      <div class="card">
        <p class="brand"><${Mark} /><span>${t("common.product")}</span></p>
        <h1>${t("common.signIn.title")}</h1>
        ${notice && html`<p class="notice" role="status">${notice}</p>`}
        <form novalidate onSubmit=${submit}>
          <${SecretField} label=${t("common.signIn.key")} hint=${t("common.signIn.hint")} fault=${fault} value=${key} onChange=${setKey}
            autocomplete="current-password" autofocus required placeholder="cpk_…" />
          <${ProblemBox} problem=${problem ?? unknownBy.value} />
          <${Button} kind="primary" type="submit" busy=${busy}>${t("common.signIn.action")}<//>
        </form>
      </div>
      <div class="preferences"><${Preferences} /></div>
    </main>
  `;
}
