import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { t } from "../../i18n";
import { Button } from "../../parts/button";
import { Copy } from "../../parts/copy";
import { Dialog } from "../../parts/dialog";
import { Icon } from "../../parts/icon";
import fieldCss from "../../parts/field.module.css";
import css from "../settings.module.css";

/**
 * Shows a key or a secret once. It can't be shown again, so closing without copying needs a confirmation.
 * @param props `name` is the kind of secret; `children`
 * explain its use
 */
export function SecretDialog({
  title,
  name,
  secret,
  onClose,
  children,
}: {
  title: string;
  name: string;
  secret: string;
  onClose: () => void;
  children: ComponentChildren;
}) {
  const [copied, setCopied] = useState(false);
  const [asked, setAsked] = useState(false);
  const close = () => (copied || asked ? onClose() : setAsked(true));
  const actions = (
    <>
      <Copy text={secret} kind={copied ? "plain" : "primary"} label={t("settings.secret.copy", { name })} onCopied={() => setCopied(true)}>
        {t("settings.secret.copy", { name })}
      </Copy>
      <Button kind={copied ? "primary" : "plain"} onClick={close}>
        {t(asked && !copied ? "settings.secret.closeAnyway" : "settings.secret.done")}
      </Button>
    </>
  );
  return (
    <Dialog title={title} onClose={close} actions={actions}>
      <p class={`${css.notice} ${css.warn}`}>
        <Icon name="warning" />
        <span>{t("settings.secret.once")}</span>
      </p>
      <code class={css.secret} data-part="secret" onCopy={() => setCopied(true)}>
        {secret}
      </code>
      {children}
      <p class={fieldCss.fault} role="status">
        {asked && !copied && (
          <>
            <Icon name="warning" />
            <span>{t("settings.secret.notCopied")}</span>
          </>
        )}
      </p>
    </Dialog>
  );
}
