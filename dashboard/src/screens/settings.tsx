/** Settings: keys, webhooks and workflows, each in a tab, and a webhook's own page with its deliveries. */

import { t } from "../i18n";
import { replace } from "../location";
import { Page } from "../parts/page";
import { Tabs } from "../parts/tabs";
import { can } from "../session";
import { Keys } from "./settings/keys";
import { WebhookPage } from "./settings/webhook";
import { Webhooks } from "./settings/webhooks";
import { Workflows } from "./settings/workflows";

const TABS = [
  { id: "keys", scope: "api-keys:read", Panel: Keys },
  { id: "webhooks", scope: "webhooks:read", Panel: Webhooks },
  { id: "workflows", scope: "workflows:read", Panel: Workflows },
];

export default function Settings({ params, query }: { params: Record<string, string>; query: Record<string, string> }) {
  const tabs = TABS.filter(({ scope }) => can(scope));
  const now = tabs.find(({ id }) => id === params.tab) ?? tabs[0];
  if (now.id === "webhooks" && params.id) return <WebhookPage id={params.id} query={query} />;
  return (
    <Page title={t("settings.title")}>
      <Tabs
        label={t("settings.title")}
        tabs={tabs.map(({ id }) => ({ id, title: t(`settings.tab.${id}`) }))}
        selected={now.id}
        onSelect={(id: string) => replace(`/settings/${id}`)}
      >
        <now.Panel />
      </Tabs>
    </Page>
  );
}
