/** The frame around every screen: the top bar, the navigation and the connection notice. */
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useState } from "preact/hooks";

import { href } from "./address";
import { online, problemOf } from "./api";
import { hasUnfinishedWork } from "./chunks";
import { t, useLanguage } from "./i18n";
import { languages, type Language } from "./languages";
import { go } from "./location";
import { Button } from "./parts/button";
import { Confirm } from "./parts/dialog";
import { Choice, Select } from "./parts/field";
import { Icon, type IconName } from "./parts/icon";
import { Popup } from "./parts/menu";
import { titleOf } from "./parts/problem";
import { Toasts, toast } from "./parts/toast";
import { can, session, signOut } from "./session";
import { chooseTheme, language, theme, type Theme } from "./settings";
import css from "./frame.module.css";

const areas: { area: string; path: string; icon: IconName; scopes: string[] }[] = [
  { area: "coupon-sets", path: "/coupon-sets", icon: "sets", scopes: ["coupon-sets:read"] },
  { area: "imports", path: "/imports", icon: "import", scopes: ["imports:read"] },
  { area: "contacts", path: "/contacts", icon: "contact", scopes: ["contacts:read"] },
  { area: "settings", path: "/settings", icon: "settings", scopes: ["api-keys:read", "webhooks:read", "workflows:read"] },
];

/** The areas that the key may see. The dashboard opens in the first one. */
export function areasAllowed() {
  return areas.filter(({ scopes }) => scopes.some(can));
}

/** @param props `area` is marked as current in the navigation */
export function Frame({ area: current, children }: { area?: string; children: ComponentChildren }) {
  const [confirming, setConfirming] = useState(false);
  // In a layout effect, so that a key pressed right after the first rendering is not lost.
  useLayoutEffect(() => {
    addEventListener("keydown", slash);
    return () => removeEventListener("keydown", slash);
  }, []);
  return (
    <>
      <a class={css.skip} href="#main" onClick={toContent}>
        {t("common.skip")}
      </a>
      <header class={css.bar}>
        <a class={css.brand} href={href("/coupon-sets")}>
          <Mark />
          <span>{t("common.product")}</span>
        </a>
        {can("coupon-sets:read") && (
          <Button kind="quiet" icon="search" class={css.find} onClick={find}>
            {t("common.find")}
            <kbd aria-hidden="true">/</kbd>
          </Button>
        )}
        <UserMenu onUnfinished={() => setConfirming(true)} />
      </header>
      <nav class={css.areas} aria-label={t("common.navigation")}>
        {areasAllowed().map(({ area, path, icon }) => (
          <a key={area} href={href(path)} aria-current={area === current ? "page" : undefined}>
            <Icon name={icon} />
            <span>{t(`common.area.${area}`)}</span>
          </a>
        ))}
      </nav>
      <main id="main" tabindex={-1}>
        <Connection />
        {children}
      </main>
      {confirming && (
        <Confirm
          danger
          title={t("common.signOut.title")}
          action={t("common.signOut")}
          onConfirm={signOut}
          onClose={() => setConfirming(false)}
        >
          <p>{t("common.signOut.unfinished")}</p>
        </Confirm>
      )}
      <Toasts />
    </>
  );
}

/** The logo: a ticket with a tick. */
export function Mark() {
  return (
    <svg class={css.mark} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path
        class={css.ticket}
        d="M2 7a2 2 0 0 1 2-2h16a2 2 0 0 1 2 2v2.5a2.5 2.5 0 0 0 0 5V17a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2v-2.5a2.5 2.5 0 0 0 0-5z"
      />
      <path class={css.tick} d="m8 12.2 2.8 2.8 5.2-6" />
    </svg>
  );
}

/** The notice that is shown while the service can't be reached. */
export function Connection() {
  return (
    <div class={css.connection} role="status">
      {!online.value && (
        <>
          <Icon name="warning" />
          <span>{t("common.offline")}</span>
        </>
      )}
    </div>
  );
}

/** @param props is called instead of signing out if unfinished work would be lost */
function UserMenu({ onUnfinished }: { onUnfinished: () => void }) {
  const user = session.value;
  if (!user) return null;
  const leave = async (close: () => void) => {
    if (hasUnfinishedWork()) {
      close();
      return onUnfinished();
    }
    try {
      await signOut();
    } catch (failure) {
      toast(t("common.notSignedOut", { why: titleOf(problemOf(failure)) }), "bad");
    }
  };
  const title = (
    <span class={css.who}>
      <Icon name="contact" />
      <span>{user.tenantName}</span>
      <Icon name="down" />
    </span>
  );
  return (
    <Popup label={t("common.user")} title={title}>
      {(close: () => void) => (
        <div class={css.user}>
          <p>
            <strong>{user.tenantName}</strong>
            <br />
            <span class="soft">{t("common.signedInWith", { key: user.keyName })}</span>
          </p>
          <Preferences />
          <Button icon="signOut" onClick={() => leave(close)}>
            {t("common.signOut")}
          </Button>
        </div>
      )}
    </Popup>
  );
}

/** Choice of language and theme, for the user menu and the sign-in screen. */
export function Preferences() {
  const tongues = (Object.keys(languages) as Language[]).map((value) => ({ value, title: languages[value] }));
  const themes = (["system", "light", "dark"] as Theme[]).map((value) => ({ value, title: t(`common.theme.${value}`) }));
  return (
    <>
      <Select label={t("common.language")} value={language.value} options={tongues} onChange={useLanguage} />
      <Choice label={t("common.theme")} look="segments" value={theme.value} options={themes} onChange={chooseTheme} />
    </>
  );
}

/** Focuses the search field, or opens the list of sets, which has one. */
function find() {
  const field = document.querySelector("main input[type=search][data-find]") as HTMLElement | null;
  if (field) field.focus();
  else go("/coupon-sets", { find: 1 });
}

function slash(event: KeyboardEvent) {
  const target = event.target as HTMLElement;
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (target.closest("input, textarea, select, dialog, [contenteditable]") || !can("coupon-sets:read")) return;
  event.preventDefault();
  find();
}

function toContent(event: Event) {
  // The hash holds the route, so the browser must not follow the link.
  event.preventDefault();
  document.getElementById("main")?.focus();
}
