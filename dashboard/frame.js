/** What stands around every screen: the bar at the top, the navigation, and what is told about the connection. */
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

/** The areas that the key may see, the first of which is where one starts. */
export function areasAllowed() {
  return areas.filter(({ scopes }) => scopes.some(can));
}

/** @param {{ area?: string, children: any }} props `area` is marked as current in the navigation */
export function Frame({ area: current, children }) {
  const [asked, setAsked] = useState(false);
  // With the first picture, so that no key that is pressed then is lost.
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
      <${UserMenu} onUnfinished=${() => setAsked(true)} />
    </header>
    <nav class="areas" aria-label=${t("common.navigation")}>
      ${areasAllowed().map(({ area, path, icon }) => html`
        <a key=${area} href=${href(path)} aria-current=${area === current ? "page" : undefined}>
          <${Icon} name=${icon} /><span>${t(`common.area.${area}`)}</span>
        </a>
      `)}
    </nav>
    <main id="main" tabindex="-1"><${Connection} />${children}</main>
    ${asked && html`
      <${Confirm} danger title=${t("common.signOut.title")} action=${t("common.signOut")} onConfirm=${signOut} onClose=${() => setAsked(false)}>
        <p>${t("common.signOut.unfinished")}</p>
      <//>
    `}
    <${Toasts} />
  `;
}

/** The sign of the product: a ticket with a tick. */
export function Mark() {
  return html`
    <svg class="mark" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path class="ticket" d="M2 7a2 2 0 0 1 2-2h16a2 2 0 0 1 2 2v2.5a2.5 2.5 0 0 0 0 5V17a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2v-2.5a2.5 2.5 0 0 0 0-5z" />
      <path class="tick" d="m8 12.2 2.8 2.8 5.2-6" />
    </svg>
  `;
}

/** Says that the service cannot be reached, for as long as that is so. */
export function Connection() {
  return html`<div class="connection" role="status">${!online.value && html`<${Icon} name="warning" /><span>${t("common.offline")}</span>`}</div>`;
}

/** @param {{ onUnfinished: () => void }} props asks before something is lost by signing out */
function UserMenu({ onUnfinished }) {
  const user = session.value;
  if (!user) return null;
  /** @param {() => void} close */
  const leave = async (close) => {
    // Whatever asks before the window is closed has something that would be lost here too.
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

/** Language and theme, for the menu and for the screen that asks for the key. */
export function Preferences() {
  const tongues = Object.entries(languages).map(([value, title]) => ({ value, title }));
  const themes = ["system", "light", "dark"].map((value) => ({ value, title: t(`common.theme.${value}`) }));
  return html`
    <${Select} label=${t("common.language")} value=${language.value} options=${tongues} onChange=${useLanguage} />
    <${Choice} label=${t("common.theme")} look="segments" value=${theme.value} options=${themes} onChange=${chooseTheme} />
  `;
}

/** Searching is the list's: this leads there, or to its field if that is on the screen. */
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
  // The part behind the # is the route's, so the browser must not follow it.
  event.preventDefault();
  document.getElementById("main")?.focus();
}
