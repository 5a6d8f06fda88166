import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { path } from "../../address.js";
import { useGet, usePolling } from "../../hooks.js";
import { t } from "../../i18n.js";
import { replace } from "../../location.js";
import { Button } from "../../parts/button.js";
import { Icon } from "../../parts/icon.js";
import { Page } from "../../parts/page.js";
import { Tabs } from "../../parts/tabs.js";
import { can } from "../../session.js";
import { Activity } from "./activity.js";
import { Coupons } from "./coupons.js";
import { Erase } from "./erase.js";
import { Merge } from "./merge.js";

const REFRESH_MS = 15_000;
const TABS = { coupons: Coupons, activity: Activity };

/** @typedef {keyof typeof TABS} Tab */

/** @param {{ id: string, query: Record<string, string> }} props */
export function Contact({ id, query }) {
  // The list of coupons also reports a merge; one row is enough to read it.
  const { value, refresh } = useGet(path`/v1/contacts/${id}/coupons`, { limit: 1 });
  usePolling(refresh, REFRESH_MS);
  const [dialog, setDialog] = useState(/** @type {"merge" | "erase" | null} */ (null));
  const tab = query.tab === "activity" ? "activity" : "coupons";
  const Panel = TABS[tab];
  const mergedInto = /** @type {string | null} */ (value?.mergedInto ?? null);
  const actions = can("contacts:write") && !mergedInto && html`
    <${Button} icon="contact" onClick=${() => setDialog("merge")}>${t("contacts.merge")}<//>
    <${Button} icon="delete" onClick=${() => setDialog("erase")}>${t("contacts.erase")}<//>
  `;
  return html`
    <${Page} fill title=${id} back=${{ href: "#/contacts", title: t("contacts.title") }} actions=${actions}>
      ${mergedInto && html`
        <p class="notice-line">
          <${Icon} name="info" />
          <span>${t("contacts.mergedInto")} <a href=${path`#/contacts/${mergedInto}`}>${mergedInto}</a>. ${t("contacts.mergedInto.shown")}</span>
        </p>
      `}
      <${Tabs} label=${t("contacts.tabs")} tabs=${Object.keys(TABS).map((one) => ({ id: one, title: t(`contacts.tab.${one}`) }))} selected=${tab}
        onSelect=${(/** @type {Tab} */ wanted) => replace(path`/contacts/${id}`, { tab: wanted === "coupons" ? "" : wanted })}>
        <${Panel} key=${tab} id=${id} query=${query} />
      <//>
      ${dialog === "merge" && html`<${Merge} id=${id} onClose=${() => setDialog(null)} />`}
      ${dialog === "erase" && html`<${Erase} id=${id} onClose=${() => setDialog(null)} />`}
    <//>
  `;
}
