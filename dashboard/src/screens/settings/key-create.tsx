import { useState } from "preact/hooks";

import { api } from "../../api";
import { t } from "../../i18n";
import { Button } from "../../parts/button";
import { Dialog } from "../../parts/dialog";
import { Choice, TextField } from "../../parts/field";
import { Icon } from "../../parts/icon";
import { ProblemBox } from "../../parts/problem";
import type { Schema } from "../../schemas";
import { can } from "../../session";
import { useForm } from "./form";
import { ownScopes, ScopeTable } from "./scopes";
import { SecretDialog } from "./secret";
import fieldCss from "../../parts/field.module.css";
import layout from "../../parts/layout.module.css";
import css from "../settings.module.css";

/** The dialog that creates a key and then shows it once. */
export function CreateKey({ onClose, onCreated }: { onClose: () => void; onCreated: () => void }) {
  const [name, setName] = useState("");
  const [extent, setExtent] = useState("some");
  const [scopes, setScopes] = useState<string[]>([]);
  const [issued, setIssued] = useState<{ key: string; name: string } | null>(null);
  const { busy, body, tried, submit, fault, problem } = useForm(["/name", "/scopes"]);
  const wanted = extent === "all" ? ["*"] : scopes;
  const nameless = tried && name.trim() === "" ? t("common.missing.name") : null;
  const powerless = tried && wanted.length === 0 ? t("settings.keys.noScope") : fault("/scopes");

  const create = () =>
    submit(name.trim() !== "" && wanted.length > 0, async () => {
      setIssued(await api.send<Schema<"IssuedApiKey">>("POST", "/v1/api-keys", { name: name.trim(), scopes: wanted }));
      onCreated();
    });
  if (issued) {
    return (
      <SecretDialog
        title={t("settings.keys.issued", { name: issued.name })}
        name={t("settings.keys.key")}
        secret={issued.key}
        onClose={onClose}
      >
        <p>{t("settings.keys.use")}</p>
        <code class={css.sample}>Authorization: Bearer cpk_…</code>
      </SecretDialog>
    );
  }
  const actions = (
    <>
      <Button disabled={busy} onClick={onClose}>
        {t("common.cancel")}
      </Button>
      <Button kind="primary" type="submit" busy={busy}>
        {t("settings.keys.create")}
      </Button>
    </>
  );
  const extents = ["some", "all"].map((value) => ({ value, title: t(`settings.scopes.${value}`) }));
  return (
    <Dialog wide busy={busy} title={t("settings.keys.create")} onClose={onClose} onSubmit={create} actions={actions}>
      <div class={layout.form} ref={body}>
        <ProblemBox problem={problem} />
        <TextField
          label={t("settings.keys.name")}
          hint={t("settings.keys.name.hint")}
          maxlength="200"
          value={name}
          onChange={setName}
          fault={nameless ?? fault("/name")}
        />
        <div class={css.scopeChoice}>
          {can("*") ? (
            <Choice look="segments" label={t("settings.scopes.choose")} value={extent} onChange={setExtent} options={extents} />
          ) : (
            <>
              <h3>{t("settings.scopes.choose")}</h3>
              <p class="hint">{t("settings.scopes.own")}</p>
            </>
          )}
          {powerless && (
            <p class={fieldCss.fault} role="alert">
              <Icon name="warning" />
              <span>{powerless}</span>
            </p>
          )}
          {extent === "all" ? (
            <p class="hint">{t("settings.scopes.all.hint")}</p>
          ) : (
            <ScopeTable offered={ownScopes()} scopes={scopes} onChange={setScopes} />
          )}
        </div>
      </div>
    </Dialog>
  );
}
