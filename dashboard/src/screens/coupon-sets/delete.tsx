import { path } from "../../address";
import { api } from "../../api";
import { t } from "../../i18n";
import { Confirm } from "../../parts/dialog";
import { toast } from "../../parts/toast";
import type { CouponSet } from "../../schemas";

/** Asks for confirmation before a set is deleted. If workflows or other sets use it, the service rejects the deletion and names them. */
export function DeleteSet({ set, onClose, onDeleted }: { set: CouponSet; onClose: () => void; onDeleted: () => void }) {
  const confirm = async () => {
    await api.send("DELETE", path`/v1/coupon-sets/${set.id}`);
    toast(t("sets.deleted", { name: set.name }));
    onDeleted();
  };
  return (
    <Confirm
      danger
      title={t("sets.delete.title", { name: set.name })}
      action={t("sets.action.delete")}
      onConfirm={confirm}
      onClose={onClose}
    >
      <p>{t("sets.delete.text")}</p>
      {set.type === "multiple" && set.available !== null && set.available > 0 && <p>{t("sets.delete.left", { n: set.available })}</p>}
    </Confirm>
  );
}
