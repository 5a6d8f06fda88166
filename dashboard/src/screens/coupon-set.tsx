/** The page of a coupon set: its properties, statistics, assignments and codes. */
import { useState } from "preact/hooks";

import { path } from "../address";
import { addressOf } from "../api";
import { useGet, usePolling } from "../hooks";
import { t } from "../i18n";
import { go, replace, type ScreenProps } from "../location";
import { Badge } from "../parts/badge";
import { Button } from "../parts/button";
import { Code } from "../parts/copy";
import { Empty } from "../parts/empty";
import { Menu, type Item } from "../parts/menu";
import { Page } from "../parts/page";
import { ProblemBox } from "../parts/problem";
import { Loading } from "../parts/progress";
import { StockBar } from "../parts/stock-bar";
import { Tabs } from "../parts/tabs";
import { Until } from "../parts/until";
import type { CouponSet } from "../schemas";
import { can } from "../session";
import { Assignments } from "./coupon-set/assignments";
import { Codes } from "./coupon-set/codes";
import { Statistics } from "./coupon-set/statistics";
import { DeleteSet } from "./coupon-sets/delete";
import { EditSet } from "./coupon-sets/edit";
import layout from "../parts/layout.module.css";

const REFRESH_MS = 5_000;
const TABS = { statistics: Statistics, assignments: Assignments, codes: Codes };

export type Tab = keyof typeof TABS;

export default function CouponSet({ params, query }: ScreenProps) {
  const { value: set, problem, refresh } = useGet<CouponSet>(path`/v1/coupon-sets/${params.id}`);
  usePolling(refresh, REFRESH_MS);
  const [dialog, setDialog] = useState<"edit" | "delete" | null>(null);
  const close = () => setDialog(null);
  const tabs = set ? tabsOf(set) : [];
  const tab = tabs.find((one) => one === params.tab) ?? tabs[0];
  const Panel = tab && TABS[tab];
  return (
    <Page
      fill={tab === "assignments" || tab === "codes"}
      title={set?.name ?? t("set.title")}
      back={{ href: "#/coupon-sets", title: t("sets.title") }}
      note={set && <Facts set={set} />}
      actions={set && <Actions set={set} open={setDialog} />}
    >
      <ProblemBox problem={problem} onRetry={problem?.status === 404 ? undefined : refresh} />
      {!set && !problem && <Loading label={t("common.loading")} />}
      {set && !Panel && <Empty icon="key" title={t("common.notAllowed.text", { scope: "statistics:read" })} />}
      {set && Panel && (
        <Tabs
          fill={tab !== "statistics"}
          label={t("set.tabs")}
          tabs={tabs.map((id) => ({ id, title: t(`set.tab.${id}`) }))}
          selected={tab}
          onSelect={(wanted: Tab) => replace(addressOfTab(set.id, wanted))}
        >
          <Panel key={tab} set={set} query={query} onChanged={refresh} />
        </Tabs>
      )}
      {set && dialog === "edit" && <EditSet set={set} onClose={close} onSaved={refresh} />}
      {set && dialog === "delete" && <DeleteSet set={set} onClose={close} onDeleted={() => go("/coupon-sets")} />}
    </Page>
  );
}

function tabsOf(set: CouponSet): Tab[] {
  const all: (Tab | false)[] = [
    can("statistics:read") && "statistics",
    can("assignments:read") && "assignments",
    set.type === "multiple" && "codes",
  ];
  return all.filter((tab) => tab !== false);
}

function addressOfTab(id: string, tab: Tab) {
  return tab === "statistics" ? path`/coupon-sets/${id}` : path`/coupon-sets/${id}/${tab}`;
}

function Facts({ set }: { set: CouponSet }) {
  return (
    <ul class={layout.facts}>
      <li>{t(`common.type.${set.type}`)}</li>
      {set.state === "active" && (
        <li>
          <Badge kind="good">{t("common.state.active")}</Badge>
        </li>
      )}
      <li>
        <StockBar set={set} />
      </li>
      {set.code !== null && (
        <li>
          <Code code={set.code} href={path`#/codes/${set.code}`} />
        </li>
      )}
      {set.expiresAt && (
        <li>
          {t("set.validUntil")} <Until at={set.expiresAt} timeZone={set.timezone} />
        </li>
      )}
      {set.childCouponSetId && (
        <li>
          <a href={path`#/coupon-sets/${set.childCouponSetId}`}>{t("set.fallback")}</a>
        </li>
      )}
    </ul>
  );
}

function Actions({ set, open }: { set: CouponSet; open: (dialog: "edit" | "delete") => void }) {
  const write = can("coupon-sets:write");
  const here = path`/v1/coupon-sets/${set.id}`;
  const items: (Item | false)[] = [
    can("statistics:read") && {
      title: t("set.exportAssignments"),
      icon: "download",
      href: addressOf(`${here}/statistics`, { format: "csv" }),
      download: true,
    },
    set.type === "multiple" && {
      title: t("set.exportCodes"),
      icon: "download",
      href: addressOf(`${here}/coupons`, { format: "csv" }),
      download: true,
    },
    write && { title: t("sets.action.delete"), icon: "delete", danger: true, onSelect: () => open("delete") },
  ];
  const more = items.filter((item) => item !== false);
  return (
    <>
      {write && (
        <Button icon="edit" onClick={() => open("edit")}>
          {t("sets.action.edit")}
        </Button>
      )}
      {set.type === "multiple" && can("imports:write") && (
        <Button kind="primary" icon="import" href={`#/import?set=${set.id}`}>
          {t("sets.action.import")}
        </Button>
      )}
      {more.length > 0 && <Menu kind="plain" label={t("sets.actionsOf", { name: set.name })} items={more} />}
    </>
  );
}
