/** The frame around every screen: the top bar, the navigation and the connection notice. */
import { html } from "htm/preact";
import { useLayoutEffect, useState } from "preact/hooks";

import { href } from "./address.js";
import { online, problemOf } from "./api.js";
import { t, useLanguage } from "./i18n.js";
import { go } from "./location.js";
import { Button } from "./parts/button.js";
import { Choice, Select } from "./parts/field.js";
import { Icon } from "./parts/icon.js";
import { later } from "./parts/later.js";
import { Popup } from "./parts/menu.js";
import { titleOf } from "./parts/problem.js";
import { Toasts, toast } from "./parts/toast.js";
import { can, session, signOut } from "./session.js";
import { chooseTheme, language, languages, theme } from "./settings.js";

const Confirm = later(async () => (await import("./parts/dialog.js")).Confirm);

/** @type {{ area: string, path: string, icon: import("./parts/icon.js").IconName, scopes: string[] }[]} */
const areas = [
  { area: "coupon-sets", path: "/coupon-sets", icon: "sets", scopes: ["coupon-sets:read"] },
  { area: "imports", path: "/imports", icon: "import", scopes: ["imports:read"] },
  { area: "contacts", path: "/contacts", icon: "contact", scopes: ["contacts:read"] },
  { area: "settings", path: "/settings", icon: "settings", scopes: ["api-keys:read", "webhooks:read", "workflows:read"] },
];

/** The areas that the key may see. The dashboard opens in the first one. */
export function areasAllowed() {
  return areas.filter(({ scopes }) => scopes.some(can));
}

/** @param {{ area?: string, children: any }} props `area` is marked as current in the navigation */
export function Frame({ area: current, children }) {
  const [confirming, setConfirming] = useState(false);
  // In a layout effect, so that a key pressed right after the first rendering is not lost.
  useLayoutEffect(() => {
    addEventListener("keydown", slash);
    return () => removeEventListener("keydown", slash);
  }, []);
  return html`
    <a class="skip" href="#main" onClick=${toContent}>${t("common.skip")}</a>
    <header class="bar">
      <a class="brand" href=${href("/coupon-sets")}><${Mark} /><span>${t("common.product")}</span></a>
      ${can("coupon-sets:read") && html`
        <${Button} kind="quiet" icon="search" class="find" onClick=${find}>${t("common.find")}<kbd aria-hidden="true">/</kbd><//>
      `}
      <${UserMenu} onUnfinished=${() => setConfirming(true)} />
    </header>
    <nav class="areas" aria-label=${t("common.navigation")}>
      ${areasAllowed().map(({ area, path, icon }) => html`
        <a key=${area} href=${href(path)} aria-current=${area === current ? "page" : undefined}>
          <${Icon} name=${icon} /><span>${t(`common.area.${area}`)}</span>
        </a>
      `)}
    </nav>
    <main id="main" tabindex="-1"><${Connection} />${children}</main>
    ${confirming && html`
      <${Confirm} danger title=${t("common.signOut.title")} action=${t("common.signOut")} onConfirm=${signOut} onClose=${() => setConfirming(false)}>
        <p>${t("common.signOut.unfinished")}</p>
      <//>
    `}
    <${Toasts} />
  `;
}

/** The logo: a ticket with a tick. */
export function Mark() {
  return html`
    <svg class="mark" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path class="ticket" d="M2 7a2 2 0 0 1 2-2h16a2 2 0 0 1 2 2v2.5a2.5 2.5 0 0 0 0 5V17a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2v-2.5a2.5 2.5 0 0 0 0-5z" />
      <path class="tick" d="m8 12.2 2.8 2.8 5.2-6" />
    </svg>
  `;
}

/** The notice that is shown while the service can't be reached. */
export function Connection() {
  return html`<div class="connection" role="status">${!online.value && html`<${Icon} name="warning" /><span>${t("common.offline")}</span>`}</div>`;
}

/** @param {{ onUnfinished: () => void }} props is called instead of signing out if unfinished work would be lost */
function UserMenu({ onUnfinished }) {
  const user = session.value;
  if (!user) return null;
  /** @param {() => void} close */
  const leave = async (close) => {
    // A component that blocks closing the window has unfinished work, which signing out would lose too.
    const unfinished = !dispatchEvent(new Event("beforeunload", { cancelable: true }));
    if (unfinished) {
      close();
      return onUnfinished();
    }
    try {
      await signOut();
    } catch (failure) {
      toast(t("common.notSignedOut", { why: titleOf(problemOf(failure)) }), "bad");
    }
  };
  const title = html`<span class="who"><${Icon} name="contact" /><span>${user.tenantName}</span><${Icon} name="down" /></span>`;
  return html`
    <${Popup} label=${t("common.user")} title=${title}>
      ${(/** @type {() => void} */ close) => html`
        <div class="user">
          <p><strong>${user.tenantName}</strong><br /><span class="soft">${t("common.signedInWith", { key: user.keyName })}</span></p>
          <${Preferences} />
          <${Button} icon="signOut" onClick=${() => leave(close)}>${t("common.signOut")}<//>
        </div>
      `}
    <//>
  `;
}

/** Choice of language and theme, for the user menu and the sign-in screen. */
export function Preferences() {
  const tongues = Object.entries(languages).map(([value, title]) => ({ value, title }));
  const themes = ["system", "light", "dark"].map((value) => ({ value, title: t(`common.theme.${value}`) }));
  return html`
    <${Select} label=${t("common.language")} value=${language.value} options=${tongues} onChange=${useLanguage} />
    <${Choice} label=${t("common.theme")} look="segments" value=${theme.value} options=${themes} onChange=${chooseTheme} />
  `;
}

/** Focuses the search field, or opens the list of sets, which has one. */
function find() {
  const field = /** @type {HTMLElement | null} */ (document.querySelector("main input[type=search][data-find]"));
  if (field) field.focus();
  else go("/coupon-sets", { find: 1 });
}

/** @param {KeyboardEvent} event */
function slash(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (target.closest("input, textarea, select, dialog, [contenteditable]") || !can("coupon-sets:read")) return;
  event.preventDefault();
  find();
}

/** @param {Event} event */
function toContent(event) {
  // The hash holds the route, so the browser must not follow the link.
  event.preventDefault();
  document.getElementById("main")?.focus();
}
