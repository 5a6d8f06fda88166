import { useState } from "preact/hooks";

import { path } from "../../address";
import { useGet, usePolling } from "../../hooks";
import { t } from "../../i18n";
import { replace } from "../../location";
import { Button } from "../../parts/button";
import { Icon } from "../../parts/icon";
import { Page } from "../../parts/page";
import { Tabs } from "../../parts/tabs";
import type { Schema } from "../../schemas";
import { can } from "../../session";
import { Activity } from "./activity";
import { Coupons } from "./coupons";
import { Erase } from "./erase";
import { Merge } from "./merge";
import css from "../contacts.module.css";

const REFRESH_MS = 15_000;
const TABS = { coupons: Coupons, activity: Activity };

export type Tab = keyof typeof TABS;

export function Contact({ id, query }: { id: string; query: Record<string, string> }) {
  // The list of coupons also reports a merge; one row is enough to read it.
  const { value, refresh } = useGet<Schema<"ContactCouponPage">>(path`/v1/contacts/${id}/coupons`, { limit: 1 });
  usePolling(refresh, REFRESH_MS);
  const [dialog, setDialog] = useState<"merge" | "erase" | null>(null);
  const tab = query.tab === "activity" ? "activity" : "coupons";
  const Panel = TABS[tab];
  const mergedInto = (value?.mergedInto ?? null) as string | null;
  const actions = can("contacts:write") && !mergedInto && (
    <>
      <Button icon="contact" onClick={() => setDialog("merge")}>
        {t("contacts.merge")}
      </Button>
      <Button icon="delete" onClick={() => setDialog("erase")}>
        {t("contacts.erase")}
      </Button>
    </>
  );
  return (
    <Page fill title={id} back={{ href: "#/contacts", title: t("contacts.title") }} actions={actions}>
      {mergedInto && (
        <p class={css.noticeLine}>
          <Icon name="info" />
          <span>
            {t("contacts.mergedInto")} <a href={path`#/contacts/${mergedInto}`}>{mergedInto}</a>. {t("contacts.mergedInto.shown")}
          </span>
        </p>
      )}
      <Tabs
        fill
        label={t("contacts.tabs")}
        tabs={(Object.keys(TABS) as Tab[]).map((one) => ({ id: one, title: t(`contacts.tab.${one}`) }))}
        selected={tab}
        onSelect={(wanted: Tab) => replace(path`/contacts/${id}`, { tab: wanted === "coupons" ? "" : wanted })}
      >
        <Panel key={tab} id={id} query={query} />
      </Tabs>
      {dialog === "merge" && <Merge id={id} onClose={() => setDialog(null)} />}
      {dialog === "erase" && <Erase id={id} onClose={() => setDialog(null)} />}
    </Page>
  );
}
