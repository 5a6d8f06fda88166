import { html } from "htm/preact";

import { path } from "../../address.js";
import { t } from "../../i18n.js";
import { Empty } from "../../parts/empty.js";
import { AssignmentList } from "./list.js";

/** The valid coupons of a contact. @param {{ id: string }} props */
export function Coupons({ id }) {
  const empty = html`<${Empty} icon="sets" title=${t("contacts.coupons.empty")} text=${t("contacts.coupons.empty.text")} />`;
  return html`<${AssignmentList} label=${t("contacts.tab.coupons")} address=${path`/v1/contacts/${id}/coupons`} empty=${empty} />`;
}
