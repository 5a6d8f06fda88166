import { path } from "../../address";
import { t } from "../../i18n";
import { Empty } from "../../parts/empty";
import { AssignmentList } from "./list";

/** The valid coupons of a contact. */
export function Coupons({ id }: { id: string }) {
  const empty = <Empty icon="sets" title={t("contacts.coupons.empty")} text={t("contacts.coupons.empty.text")} />;
  return <AssignmentList label={t("contacts.tab.coupons")} address={path`/v1/contacts/${id}/coupons`} empty={empty} />;
}
