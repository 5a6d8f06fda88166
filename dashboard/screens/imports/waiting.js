import { html } from "htm/preact";

import { href } from "../../address.js";
import { t } from "../../i18n.js";
import { Progress } from "../../parts/progress.js";
import { chosen, source, lastAddress } from "../import/store.js";
import { uploads } from "../import/uploads.js";

/** Unfinished work that is not an import yet: uploads, and a chosen source that is not uploaded. */
export function Waiting() {
  const sending = uploads.value;
  const kept = source.value;
  const sent = sending.some((one) => one.body === kept?.body);
  return html`
    ${sending.map(({ key, name, set, sent: bytes, body, state }) => html`
      <a key=${key} class="under-way" href=${href("/import", { set: set.id })}>
        <${Progress} label=${t(state === "failed" ? "imports.upload.failed" : "imports.upload", { name, set: set.name })} max=${1}
          value=${state === "sending" ? Math.min(bytes / body.size, 1) : state === "failed" ? 0 : null} />
      </a>
    `)}
    ${kept && !sent && html`
      <p class="notice">${t(`imports.kept.${chosen.value.kind}`, { name: kept.name })} <a href=${lastAddress.value}>${t("imports.kept.action")}</a></p>
    `}
  `;
}
