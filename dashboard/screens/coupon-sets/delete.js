import { html } from "htm/preact";

import { path } from "../../address.js";
import { api } from "../../api.js";
import { t } from "../../i18n.js";
import { Confirm } from "../../parts/dialog.js";
import { toast } from "../../parts/toast.js";

/**
 * Asks for confirmation before a set is deleted. If workflows or other sets use it, the service rejects the deletion and names them.
 * @param {{ set: any, onClose: () => void, onDeleted: () => void }} props
 */
export function DeleteSet({ set, onClose, onDeleted }) {
  const confirm = async () => {
    await api.send("DELETE", path`/v1/coupon-sets/${set.id}`);
    toast(t("sets.deleted", { name: set.name }));
    onDeleted();
  };
  return html`
    <${Confirm} danger title=${t("sets.delete.title", { name: set.name })} action=${t("sets.action.delete")} onConfirm=${confirm} onClose=${onClose}>
      <p>${t("sets.delete.text")}</p>
      ${set.type === "multiple" && set.available > 0 && html`<p>${t("sets.delete.left", { n: set.available })}</p>`}
    <//>
  `;
}
