import { html } from "htm/preact";
import { useState } from "preact/hooks";

import { t } from "../../i18n.js";
import { Button } from "../../parts/button.js";
import { Copy } from "../../parts/copy.js";
import { Dialog } from "../../parts/dialog.js";
import { Icon } from "../../parts/icon.js";

/**
 * Shows a key or a secret once. It can't be shown again, so closing without copying needs a confirmation.
 * @param {{ title: string, name: string, secret: string, onClose: () => void, children: any }} props `name` is the kind of secret; `children`
 *   explain its use
 */
export function SecretDialog({ title, name, secret, onClose, children }) {
  const [copied, setCopied] = useState(false);
  const [asked, setAsked] = useState(false);
  const close = () => (copied || asked ? onClose() : setAsked(true));
  const actions = html`
    <${Copy} text=${secret} kind=${copied ? "plain" : "primary"} label=${t("settings.secret.copy", { name })} onCopied=${() => setCopied(true)}>
      ${t("settings.secret.copy", { name })}
    <//>
    <${Button} kind=${copied ? "primary" : "plain"} onClick=${close}>
      ${t(asked && !copied ? "settings.secret.closeAnyway" : "settings.secret.done")}
    <//>
  `;
  return html`
    <${Dialog} title=${title} onClose=${close} actions=${actions}>
      <p class="notice warn"><${Icon} name="warning" /><span>${t("settings.secret.once")}</span></p>
      <code class="secret" onCopy=${() => setCopied(true)}>${secret}</code>
      ${children}
      <p class="fault" role="status">
        ${asked && !copied && html`<${Icon} name="warning" /><span>${t("settings.secret.notCopied")}</span>`}
      </p>
    <//>
  `;
}
