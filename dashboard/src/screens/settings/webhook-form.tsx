import { useId, useState } from "preact/hooks";

import { path } from "../../address";
import { api } from "../../api";
import { t } from "../../i18n";
import { Button } from "../../parts/button";
import { Dialog } from "../../parts/dialog";
import { Checkbox, TextField } from "../../parts/field";
import { Icon } from "../../parts/icon";
import { ProblemBox } from "../../parts/problem";
import { toast } from "../../parts/toast";
import type { Schema } from "../../schemas";
import { EVENTS, titleOf } from "./events";
import { useForm } from "./form";
import { SecretDialog } from "./secret";
import type { Webhook } from "./webhooks";
import fieldCss from "../../parts/field.module.css";
import layout from "../../parts/layout.module.css";

export type Draft = { url: string; description: string | null; eventTypes: string[]; maxBatch: number };

/** The most events that a message can have. */
const MAX_BATCH = 100;

/** The dialog that creates a webhook and then shows its secret once. */
export function CreateWebhook({ onClose, onCreated }: { onClose: () => void; onCreated: () => void }) {
  const [secret, setSecret] = useState<string | null>(null);
  const send = async (draft: Draft) => {
    const made = await api.send<Schema<"IssuedWebhook">>("POST", "/v1/webhooks", draft);
    setSecret(made.secret);
    onCreated();
  };
  if (secret !== null) {
    return (
      <SecretDialog title={t("webhooks.created")} name={t("webhooks.secret")} secret={secret} onClose={onClose}>
        <p>{t("webhooks.secret.use")}</p>
      </SecretDialog>
    );
  }
  const empty = { url: "", description: null, eventTypes: [], maxBatch: 1 };
  return <Form title={t("webhooks.create")} action={t("webhooks.create.action")} initial={empty} send={send} onClose={onClose} />;
}

/** The dialog that edits a webhook. Only changed fields are sent. */
export function EditWebhook({ webhook, onClose, onSaved }: { webhook: Webhook; onClose: () => void; onSaved: () => void }) {
  const send = async (draft: Draft) => {
    const patch: Partial<Draft> = {};
    if (draft.url !== webhook.url) patch.url = draft.url;
    if (draft.description !== webhook.description) patch.description = draft.description;
    if (draft.maxBatch !== webhook.maxBatch) patch.maxBatch = draft.maxBatch;
    if (draft.eventTypes.toSorted().join() !== webhook.eventTypes.toSorted().join()) patch.eventTypes = draft.eventTypes;
    if (Object.keys(patch).length > 0) {
      await api.send("PATCH", path`/v1/webhooks/${webhook.id}`, patch);
      toast(t("webhooks.saved"));
      onSaved();
    }
    onClose();
  };
  return <Form title={t("webhooks.edit")} action={t("common.save")} initial={webhook} send={send} onClose={onClose} />;
}

function Form({
  title,
  action,
  initial,
  send,
  onClose,
}: {
  title: string;
  action: string;
  initial: Draft;
  send: (draft: Draft) => Promise<void>;
  onClose: () => void;
}) {
  const id = useId();
  const [url, setUrl] = useState(initial.url);
  const [description, setDescription] = useState(initial.description ?? "");
  const [types, setTypes] = useState(initial.eventTypes);
  const [batch, setBatch] = useState(String(initial.maxBatch));
  const { busy, body, tried, submit, fault, problem } = useForm(["/url", "/description", "/eventTypes", "/maxBatch"]);
  const missing = tried && url.trim() === "" ? t("common.missing.url") : null;
  const noEvent = tried && types.length === 0 ? t("webhooks.noEvent") : fault("/eventTypes");
  const maxBatch = /^\d{1,3}$/.test(batch.trim()) ? Number(batch) : 0;
  const fits = maxBatch >= 1 && maxBatch <= MAX_BATCH;
  const save = () =>
    submit(url.trim() !== "" && types.length > 0 && fits, () => {
      return send({ url: url.trim(), description: description.trim() || null, eventTypes: types, maxBatch });
    });
  const actions = (
    <>
      <Button disabled={busy} onClick={onClose}>
        {t("common.cancel")}
      </Button>
      <Button kind="primary" type="submit" busy={busy}>
        {action}
      </Button>
    </>
  );
  return (
    <Dialog busy={busy} title={title} onClose={onClose} onSubmit={save} actions={actions}>
      <div class={layout.form} ref={body}>
        <ProblemBox problem={problem} />
        <TextField
          type="url"
          label={t("webhooks.url")}
          hint={t("webhooks.url.hint")}
          placeholder="https://"
          maxlength="2000"
          spellcheck={false}
          value={url}
          onChange={setUrl}
          fault={missing ?? fault("/url")}
        />
        <TextField
          label={t("webhooks.description")}
          hint={t("webhooks.description.hint")}
          maxlength="500"
          value={description}
          onChange={setDescription}
          fault={fault("/description")}
        />
        <fieldset class={`${fieldCss.choices} ${fieldCss.list}`} aria-describedby={noEvent ? `${id}-fault` : undefined}>
          <legend>{t("webhooks.sendWhen")}</legend>
          <div class={fieldCss.options}>
            {EVENTS.map((type) => (
              <Checkbox
                key={type}
                label={titleOf(type)}
                hint={
                  <>
                    {t(`webhooks.event.${type}.hint`)} <code>{type}</code>
                  </>
                }
                checked={types.includes(type)}
                onChange={(on: boolean) => setTypes(on ? [...types, type] : types.filter((other) => other !== type))}
              />
            ))}
          </div>
          {noEvent && (
            <p class={fieldCss.fault} id={`${id}-fault`} role="alert">
              <Icon name="warning" />
              <span>{noEvent}</span>
            </p>
          )}
        </fieldset>
        <TextField
          label={t("webhooks.maxBatch")}
          hint={t("webhooks.maxBatch.hint")}
          inputmode="numeric"
          value={batch}
          onChange={setBatch}
          fault={tried && !fits ? t("webhooks.maxBatch.range", { max: MAX_BATCH }) : fault("/maxBatch")}
        />
      </div>
    </Dialog>
  );
}
