import { href } from "../../address";
import { t } from "../../i18n";
import { Progress } from "../../parts/progress";
import { chosen, source, lastAddress } from "../import/store";
import { uploads } from "../import/uploads";
import layout from "../../parts/layout.module.css";

/** Unfinished work that is not an import yet: uploads, and a chosen source that is not uploaded. */
export function Waiting() {
  const sending = uploads.value;
  const kept = source.value;
  const sent = sending.some((one) => one.body === kept?.body);
  return (
    <>
      {sending.map(({ key, name, set, sent: bytes, body, state }) => (
        <a key={key} class={layout.underWay} href={href("/import", { set: set.id })}>
          <Progress
            label={t(state === "failed" ? "imports.upload.failed" : "imports.upload", { name, set: set.name })}
            max={1}
            value={state === "sending" ? Math.min(bytes / body.size, 1) : state === "failed" ? 0 : null}
          />
        </a>
      ))}
      {kept && !sent && (
        <p class={layout.notice}>
          {t(`imports.kept.${chosen.value.kind}`, { name: kept.name })} <a href={lastAddress.value}>{t("imports.kept.action")}</a>
        </p>
      )}
    </>
  );
}
