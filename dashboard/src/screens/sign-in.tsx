import { useEffect, useState } from "preact/hooks";

import { Problem, problemOf } from "../api";
import { Connection, Mark, Preferences } from "../frame";
import { t } from "../i18n";
import { replace } from "../location";
import { Button } from "../parts/button";
import { SecretField } from "../parts/field";
import { ProblemBox } from "../parts/problem";
import { Loading } from "../parts/progress";
import { session, signedOutBy, signIn, unknownBy } from "../session";
import frameCss from "../frame.module.css";
import layout from "../parts/layout.module.css";
import css from "./sign-in.module.css";

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

/** @param props `waiting` is true until the session is known */
export function SignIn({ waiting }: { waiting: boolean }) {
  const [key, setKey] = useState("");
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => {
    if (!waiting) document.title = `${t("common.signIn.title")} · ${t("common.product")}`;
  });

  const submit = async (event: SubmitEvent) => {
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
    return (
      <main class={css.signIn}>
        <Connection />
        {unknownBy.value && <h1 class="unseen">{t("common.product")}</h1>}
        <ProblemBox problem={unknownBy.value} />
        <Loading label={t("common.loading")} />
      </main>
    );
  }
  const notice = signedOutBy.value && session.value === null ? t(`common.signIn.${signedOutBy.value}`) : null;
  return (
    <main class={css.signIn}>
      <Connection />
      <div class={`${layout.card} ${css.card}`}>
        <p class={frameCss.brand}>
          <Mark />
          <span>{t("common.product")}</span>
        </p>
        <h1>{t("common.signIn.title")}</h1>
        {notice && (
          <p class={layout.notice} role="status">
            {notice}
          </p>
        )}
        <form novalidate onSubmit={submit}>
          <SecretField
            label={t("common.signIn.key")}
            hint={t("common.signIn.hint")}
            fault={fault}
            value={key}
            onChange={setKey}
            autocomplete="current-password"
            autofocus
            required
            placeholder="cpk_…"
          />
          <ProblemBox problem={problem ?? unknownBy.value} />
          <Button kind="primary" type="submit" busy={busy}>
            {t("common.signIn.action")}
          </Button>
        </form>
      </div>
      <div class={css.preferences}>
        <Preferences />
      </div>
    </main>
  );
}
