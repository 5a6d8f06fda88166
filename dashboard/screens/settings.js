/** Settings: keys, webhooks and workflows, each in a tab, and a webhook's own page with its deliveries. */
import { html } from "htm/preact";

import { t } from "../i18n.js";
import { replace } from "../location.js";
import { Page } from "../parts/page.js";
import { Tabs } from "../parts/tabs.js";
import { can } from "../session.js";
import { Keys } from "./settings/keys.js";
import { WebhookPage } from "./settings/webhook.js";
import { Webhooks } from "./settings/webhooks.js";
import { Workflows } from "./settings/workflows.js";

const TABS = [
  { id: "keys", scope: "api-keys:read", Panel: Keys },
  { id: "webhooks", scope: "webhooks:read", Panel: Webhooks },
  { id: "workflows", scope: "workflows:read", Panel: Workflows },
];

/** @param {{ params: Record<string, string>, query: Record<string, string> }} props */
export default function Settings({ params, query }) {
  const tabs = TABS.filter(({ scope }) => can(scope));
  const now = tabs.find(({ id }) => id === params.tab) ?? tabs[0];
  if (now.id === "webhooks" && params.id) return html`<${WebhookPage} id=${params.id} query=${query} />`;
  return html`
    <${Page} title=${t("settings.title")}>
      <${Tabs} label=${t("settings.title")} tabs=${tabs.map(({ id }) => ({ id, title: t(`settings.tab.${id}`) }))} selected=${now.id}
        onSelect=${(/** @type {string} */ id) => replace(`/settings/${id}`)}>
        <${now.Panel} />
      <//>
    <//>
  `;
}
