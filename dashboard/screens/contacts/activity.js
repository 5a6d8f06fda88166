import { html } from "htm/preact";

import { path } from "../../address.js";
import { t } from "../../i18n.js";
import { place, replace } from "../../location.js";
import { Button } from "../../parts/button.js";
import { Days, instantsOf } from "../../parts/days.js";
import { Empty } from "../../parts/empty.js";
import { Select } from "../../parts/field.js";
import { AssignmentList } from "./list.js";

const TYPES = ["coupon-assigned"];

/**
 * The activity of a contact, newest first.
 * @param {{ id: string, query: Record<string, string> }} props
 */
export function Activity({ id, query }) {
  const { from = "", to = "" } = query;
  const type = TYPES.includes(query.type) ? query.type : "";
  const filtered = Boolean(type || from || to);
  const all = html`<${Button} onClick=${() => change({ type: "", from: "", to: "" })}>${t("contacts.activity.all")}<//>`;
  const empty = filtered
    ? html`<${Empty} icon="search" title=${t("contacts.activity.nothing")} text=${t("contacts.activity.nothing.text")} action=${all} />`
    : html`<${Empty} icon="clock" title=${t("contacts.activity.empty")} text=${t("contacts.activity.empty.text")} />`;
  return html`
    <div class="filters">
      <${Select} label=${t("contacts.filter.type")} hideLabel value=${type} onChange=${(/** @type {string} */ wanted) => change({ type: wanted })}
        options=${["", ...TYPES].map((value) => ({ value, title: t(value ? `contacts.type.${value}` : "contacts.filter.anyType") }))} />
      <${Days} from=${from} to=${to} onChange=${change} />
    </div>
    <${AssignmentList} activity label=${t("contacts.tab.activity")} address=${path`/v1/contacts/${id}/activity`}
      query=${{ type, ...instantsOf(query) }} empty=${empty} />
  `;
}

/** @param {Record<string, string | undefined>} changed */
function change(changed) {
  const { path: here, query } = place.peek();
  replace(here, { ...query, ...changed });
}
