/** The actions on a webhook, for the list and for its page. */
import { useEffect, useState } from "preact/hooks";

import { path } from "../../address";
import { api } from "../../api";
import { t } from "../../i18n";
import { Button } from "../../parts/button";
import { Confirm, Dialog } from "../../parts/dialog";
import { Icon } from "../../parts/icon";
import type { Item } from "../../parts/menu";
import { ProblemBox } from "../../parts/problem";
import { Loading } from "../../parts/progress";
import { Time } from "../../parts/time";
import { toast } from "../../parts/toast";
import type { Schema } from "../../schemas";
import { can } from "../../session";
import { answerOf } from "./deliveries";
import { SecretDialog } from "./secret";
import { useTask } from "./task";
import { EditWebhook } from "./webhook-form";
import type { Webhook } from "./webhooks";
import css from "../settings.module.css";

export type Opened = { webhook: Webhook; dialog: "test" | "edit" | "rotate" | "enable" | "disable" | "delete" };

export type Props = { webhook: Webhook; onClose: () => void; onChanged: () => void };

/** The actions that the key of the session allows. */
export function itemsOf(webhook: Webhook, open: (opened: Opened) => void): Item[] {
  if (!can("webhooks:write")) return [];
  const on = webhook.state === "enabled";
  return [
    { title: t("webhooks.test"), icon: "next", onSelect: () => open({ webhook, dialog: "test" }) },
    { title: t("webhooks.edit.action"), icon: "edit", onSelect: () => open({ webhook, dialog: "edit" }) },
    { title: t("webhooks.rotate"), icon: "key", onSelect: () => open({ webhook, dialog: "rotate" }) },
    on
      ? { title: t("webhooks.disable"), icon: "hide", onSelect: () => open({ webhook, dialog: "disable" }) }
      : { title: t("webhooks.enable"), icon: "check", onSelect: () => open({ webhook, dialog: "enable" }) },
    { title: t("webhooks.delete"), icon: "delete", danger: true, onSelect: () => open({ webhook, dialog: "delete" }) },
  ];
}

export function WebhookDialog({
  opened,
  onClose,
  onChanged,
  onDeleted,
}: {
  opened: Opened;
  onClose: () => void;
  onChanged: () => void;
  onDeleted: () => void;
}) {
  const { webhook, dialog } = opened;
  const props = { webhook, onClose, onChanged };
  if (dialog === "test") return <Test {...props} />;
  if (dialog === "edit") return <EditWebhook webhook={webhook} onClose={onClose} onSaved={onChanged} />;
  if (dialog === "rotate") return <Rotate {...props} />;
  if (dialog === "enable") return <Enable {...props} />;
  if (dialog === "disable") return <Disable {...props} />;
  return <Delete {...props} onChanged={onDeleted} />;
}

/** Sends a test message at once and shows its outcome. */
function Test({ webhook, onClose }: Props) {
  const [result, setResult] = useState<Schema<"WebhookTest"> | null>(null);
  const { busy, problem, run } = useTask();
  const send = () =>
    run(async () => {
      setResult(null);
      setResult(await api.send<Schema<"WebhookTest">>("POST", path`/v1/webhooks/${webhook.id}/test`));
    });
  useEffect(() => void send(), []);
  const actions = (
    <>
      <Button busy={busy} onClick={send}>
        {t("webhooks.test.again")}
      </Button>
      <Button kind="primary" onClick={onClose}>
        {t("common.close")}
      </Button>
    </>
  );
  return (
    <Dialog title={t("webhooks.test.title")} onClose={onClose} actions={actions}>
      <p class={`${css.breaking} soft`}>{webhook.url}</p>
      {busy && <Loading label={t("webhooks.test.running")} />}
      <div class={css.outcome} role="status">
        {result && (
          <>
            <p class={`${css.notice} ${result.delivered ? css.good : css.bad}`}>
              <Icon name={result.delivered ? "check" : "warning"} />
              <span>
                <strong>{t(result.delivered ? "webhooks.test.delivered" : "webhooks.test.failed")}</strong>
                <br />
                {answerOf(result)}
              </span>
            </p>
            {!result.delivered && <p>{t("webhooks.test.todo")}</p>}
          </>
        )}
      </div>
      <ProblemBox problem={problem} />
      <p class="hint">{t("webhooks.test.hint")}</p>
    </Dialog>
  );
}

function Rotate({ webhook, onClose, onChanged }: Props) {
  const [issued, setIssued] = useState<Schema<"IssuedWebhook"> | null>(null);
  const { busy, problem, run } = useTask();
  if (issued) {
    return (
      <SecretDialog title={t("webhooks.rotated")} name={t("webhooks.secret")} secret={issued.secret} onClose={onClose}>
        <p>{t("webhooks.secret.use")}</p>
        <p>
          {t("webhooks.rotated.until")}{" "}
          <strong>
            <Time at={issued.previousSecretUntil} />
          </strong>
        </p>
      </SecretDialog>
    );
  }
  const rotate = () =>
    run(async () => {
      setIssued(await api.send<Schema<"IssuedWebhook">>("POST", path`/v1/webhooks/${webhook.id}/rotate-secret`));
      onChanged();
    });
  const actions = (
    <>
      <Button disabled={busy} onClick={onClose}>
        {t("common.cancel")}
      </Button>
      <Button kind="primary" busy={busy} onClick={rotate}>
        {t("webhooks.rotate.action")}
      </Button>
    </>
  );
  return (
    <Dialog busy={busy} title={t("webhooks.rotate.title")} onClose={onClose} actions={actions}>
      <p class={`${css.breaking} soft`}>{webhook.url}</p>
      <ol class={css.steps}>
        <li>{t("webhooks.rotate.first")}</li>
        <li>{t("webhooks.rotate.second")}</li>
        <li>{t("webhooks.rotate.third")}</li>
      </ol>
      {webhook.previousSecretUntil && (
        <p class={`${css.notice} ${css.warn}`}>
          <Icon name="warning" />
          <span>
            {t("webhooks.rotate.running")} <Time at={webhook.previousSecretUntil} />. {t("webhooks.rotate.drops")}
          </span>
        </p>
      )}
      <ProblemBox problem={problem} />
    </Dialog>
  );
}

function Enable({ webhook, onClose, onChanged }: Props) {
  const enable = () => put(webhook, "enabled", "webhooks.isEnabled", onChanged);
  return (
    <Confirm title={t("webhooks.enable.title")} action={t("webhooks.enable")} onConfirm={enable} onClose={onClose}>
      <p class={`${css.breaking} soft`}>{webhook.url}</p>
      <p>{t("webhooks.enable.text")}</p>
    </Confirm>
  );
}

function Disable({ webhook, onClose, onChanged }: Props) {
  const disable = () => put(webhook, "disabled", "webhooks.isDisabled", onChanged);
  return (
    <Confirm title={t("webhooks.disable.title")} action={t("webhooks.disable")} onConfirm={disable} onClose={onClose}>
      <p class={`${css.breaking} soft`}>{webhook.url}</p>
      <p>{t("webhooks.disable.text")}</p>
    </Confirm>
  );
}

function Delete({ webhook, onClose, onChanged }: Props) {
  const confirm = async () => {
    await api.send("DELETE", path`/v1/webhooks/${webhook.id}`);
    toast(t("webhooks.deleted"));
    onChanged();
  };
  return (
    <Confirm danger title={t("webhooks.delete.title")} action={t("webhooks.delete")} onConfirm={confirm} onClose={onClose}>
      <p class={`${css.breaking} soft`}>{webhook.url}</p>
      <p>{t("webhooks.delete.text")}</p>
    </Confirm>
  );
}

/** @param message key of a text */
async function put(webhook: Webhook, state: "enabled" | "disabled", message: string, onChanged: () => void) {
  await api.send("PATCH", path`/v1/webhooks/${webhook.id}`, { state });
  toast(t(message));
  onChanged();
}
