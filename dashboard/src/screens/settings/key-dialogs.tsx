import { path } from "../../address";
import { api } from "../../api";
import { t } from "../../i18n";
import { Button } from "../../parts/button";
import { Code } from "../../parts/copy";
import { Confirm, Dialog } from "../../parts/dialog";
import { Time } from "../../parts/time";
import { toast } from "../../parts/toast";
import { can, session } from "../../session";
import type { Key } from "./keys";
import { ScopeTable } from "./scopes";
import css from "../settings.module.css";

/** The details of a key. The key itself is not stored and can't be shown. */
export function KeyDetails({ apiKey, onClose, onRevoke }: { apiKey: Key; onClose: () => void; onRevoke: () => void }) {
  const { id, name, scopes, createdAt, lastUsedAt, revokedAt } = apiKey;
  const revocable = can("api-keys:write") && !revokedAt;
  const actions = (
    <>
      <Button onClick={onClose}>{t("common.close")}</Button>
      {revocable && (
        <Button kind="danger" onClick={onRevoke}>
          {t("settings.keys.revoke")}
        </Button>
      )}
    </>
  );
  return (
    <Dialog wide title={name} onClose={onClose} actions={actions}>
      <dl class={css.facts}>
        <div>
          <dt>{t("settings.keys.id")}</dt>
          <dd>
            <Code code={id} />
          </dd>
        </div>
        <div>
          <dt>{t("settings.created")}</dt>
          <dd>
            <Time at={createdAt} />
          </dd>
        </div>
        <div>
          <dt>{t("settings.keys.lastUsed")}</dt>
          <dd>{lastUsedAt ? <Time at={lastUsedAt} /> : t("settings.keys.neverUsed")}</dd>
        </div>
        {revokedAt && (
          <div>
            <dt>{t("settings.keys.revoked")}</dt>
            <dd>
              <Time at={revokedAt} />
            </dd>
          </div>
        )}
      </dl>
      <h3>{t("settings.scopes")}</h3>
      {scopes.includes("*") ? (
        <p>
          <strong>{t("settings.scopes.all")}.</strong> <span class="soft">{t("settings.scopes.all.hint")}</span>
        </p>
      ) : (
        <ScopeTable offered={scopes} scopes={scopes} />
      )}
    </Dialog>
  );
}

/** Asks for confirmation before a key is revoked. If it is the key of this session, the next request finds the session ended. */
export function RevokeKey({ apiKey, onClose, onRevoked }: { apiKey: Key; onClose: () => void; onRevoked: () => void }) {
  const own = apiKey.id === session.value?.keyId;
  const confirm = async () => {
    await api.send("DELETE", path`/v1/api-keys/${apiKey.id}`);
    toast(t("settings.keys.isRevoked", { name: apiKey.name }));
    onRevoked();
  };
  return (
    <Confirm
      danger
      title={t("settings.keys.revoke.title", { name: apiKey.name })}
      onConfirm={confirm}
      onClose={onClose}
      action={t(own ? "settings.keys.revoke.own" : "settings.keys.revoke")}
    >
      {own && (
        <p>
          <strong>{t("settings.keys.revoke.ownText")}</strong>
        </p>
      )}
      <p>{t("settings.keys.revoke.text")}</p>
      <p class="soft">
        {apiKey.lastUsedAt ? (
          <>
            {t("settings.keys.lastUsed")}: <Time at={apiKey.lastUsedAt} as="ago" />
          </>
        ) : (
          t("settings.keys.revoke.unused")
        )}
      </p>
    </Confirm>
  );
}
