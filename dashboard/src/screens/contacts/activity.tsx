import { path } from "../../address";
import { t } from "../../i18n";
import { place, replace } from "../../location";
import { Button } from "../../parts/button";
import { Days, instantsOf } from "../../parts/days";
import { Empty } from "../../parts/empty";
import { Select } from "../../parts/field";
import { AssignmentList } from "./list";
import layout from "../../parts/layout.module.css";

const TYPES = ["coupon-assigned"];

/** The activity of a contact, newest first. */
export function Activity({ id, query }: { id: string; query: Record<string, string> }) {
  const { from = "", to = "" } = query;
  const type = TYPES.includes(query.type) ? query.type : "";
  const filtered = Boolean(type || from || to);
  const all = <Button onClick={() => change({ type: "", from: "", to: "" })}>{t("contacts.activity.all")}</Button>;
  const empty = filtered ? (
    <Empty icon="search" title={t("contacts.activity.nothing")} text={t("contacts.activity.nothing.text")} action={all} />
  ) : (
    <Empty icon="clock" title={t("contacts.activity.empty")} text={t("contacts.activity.empty.text")} />
  );
  return (
    <>
      <div class={layout.filters}>
        <Select
          label={t("contacts.filter.type")}
          hideLabel
          value={type}
          onChange={(wanted: string) => change({ type: wanted })}
          options={["", ...TYPES].map((value) => ({ value, title: t(value ? `contacts.type.${value}` : "contacts.filter.anyType") }))}
        />
        <Days from={from} to={to} onChange={change} />
      </div>
      <AssignmentList
        activity
        label={t("contacts.tab.activity")}
        address={path`/v1/contacts/${id}/activity`}
        query={{ type, ...instantsOf(query) }}
        empty={empty}
      />
    </>
  );
}

function change(changed: Record<string, string | undefined>) {
  const { path: here, query } = place.peek();
  replace(here, { ...query, ...changed });
}
